"""How long the tools take over many configs, from the command's start to its end.

python -m benchmarks.tools
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIGS = 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as text:
        folder, draw = Path(text), random.Random(0)
        files = [str(write(folder, number, draw)) for number in range(CONFIGS)]
        for words in (["diff"], ["diff", "--json"], ["diff", "--lineage"]):
            seconds = sorted(call([*words, *files]) for _ in range(5))
            print(f"repro {' '.join(words):15} {CONFIGS} files: {seconds[2]:.2f} s (bound: 2 s)")


def write(folder: Path, number: int, draw: random.Random) -> Path:
    config = {"stage": "train", "lr": draw.random(), "epochs": draw.randrange(5, 50), "note": f"a remark {number}"}
    config |= {f"option_{key}": draw.random() for key in range(draw.randrange(40))}
    path = folder / f"model{number}.json"
    path.write_text(json.dumps(config))
    return path


def call(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "repro", *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
