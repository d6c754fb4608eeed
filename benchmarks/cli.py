"""How long a command takes to answer, over the interpreter's own start.

python -m benchmarks.cli
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 15
COMMANDS = {"--help": ["--help"], "status": ["status"], "status --json": ["status", "--json"]}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"REPRO_HOME": home}
        environment.pop("REPRO_MONGO_URL", None)
        call([sys.executable, "-m", "repro", "status"], environment)  # starts the embedded MongoDB
        try:
            compare(environment)
        finally:
            call([sys.executable, "-m", "repro", "server", "stop"], environment)


def compare(environment: dict[str, str]) -> None:
    """Alternate the commands, so that a noisy moment of the machine meets all of them."""
    calls = {"interpreter": [sys.executable, "-c", "pass"]}
    calls |= {name: [sys.executable, "-m", "repro", *words] for name, words in COMMANDS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, words in calls.items():
            seconds[name].append(call(words, environment))
    own = statistics.median(seconds["interpreter"])
    print(f"interpreter alone     {own:.3f} s")
    for name in COMMANDS:
        print(f"repro {name:15} {statistics.median(seconds[name]) - own:.3f} s more (bound: 0.3 s)")


def call(words: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
