"""`make demo`: the main job on real data, through the commands that a user would type."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from repro.tools import digits
from repro.views.tables import duration, place

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TARGETS = ("evaluate", "predict", "export")  # their sources come along by themselves
DATA = Path("demo")


def main() -> int:
    """Write the digits, submit the chain, run a worker until the queue is empty, say what came of it."""
    began = time.monotonic()
    count = digits.write(DATA)
    print(f"{count} real handwritten digits lie as PNG files in {DATA / 'digits'}, a folder a class\n")
    os.environ.setdefault("REPRO_DATA", str(DATA.resolve()))
    _type("submit", *(os.path.relpath(CONFIGS / f"{name}.json") for name in TARGETS))
    _type("worker", "--burst", "--gpus", "none", "--cpus", str(min(2, os.cpu_count() or 1)))
    return _summary(time.monotonic() - began)


def _type(command: str, *words: str) -> None:
    print(f"$ repro-{command} {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "repro", command, *words], check=True)
    print()


def _summary(seconds: float) -> int:
    from repro.readers.queue_access import connect

    # The documented query for finished runs.
    done = {run["_id"]: run for run in connect().runs.find({"state": "done"}, {"location": 1, "metrics": 1})}
    for name, run in done.items():
        print(f"{name:14} {place(run['location'])}")
    if missing := [name for name in TARGETS if name not in done]:
        print(f"\nnot done: {', '.join(missing)}; see repro status", file=sys.stderr)
        return 1
    accuracy = done["evaluate"]["metrics"]["accuracy"]
    print(f"\nvalidation accuracy {accuracy:.4f}, after {duration(seconds)}\n\n{NEXT}")
    return 0


NEXT = """Try next (. .venv/bin/activate; export REPRO_DATA=demo):
  repro show model                                     # the config, the defaults it used, its result
  repro-submit configs/model.json --set lr=1e-2        # a variation, under the next letter: modela
  repro-worker --burst                                 # computes only what is new
  repro-submit configs/model.json --set learning_rat=1 # a mistyped key is caught before it costs a GPU-hour
  repro ui                                             # all of it as a web page
  repro server stop                                    # ends the embedded MongoDB; its data stay"""


if __name__ == "__main__":
    sys.exit(main())
