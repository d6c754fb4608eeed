"""What it costs that code travels: the upload of a project, and the time from a submit to the stage's first line.

    python -m benchmarks.shipping [--files 300] [--rounds 15]

A worker that is warm computes runs of a project of so many source files, in alternation: with the code that came
through the store, and with that in its folder (`--here`). The store is SeaweedFS on the same machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from repro.readers.shipping import shipper
from repro.scheduler.queue import submission, workers
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.stages.source import packing
from repro.worker.store import code_archives
from repro.worker.store.store import Store
from tests import s3

STAGE = "import time\n{imports}\n\ndef stage(run):\n    return {{'began': time.time(), 'seed': run.params['seed']}}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        server = s3.Server("seaweedfs", s3.start_seaweedfs(folder / "s3"), folder / "s3")
        project = write(folder / "project", options.files)
        os.environ |= server.environment
        os.environ |= {"REPRO_HOME": str(folder / "home"), "REPRO_STORE": f"s3://{server.bucket()}/runs"}
        os.environ.pop("REPRO_MONGO_URL", None)
        os.chdir(project)
        try:
            measure_upload(options.files)
            measure_runs(project, options.rounds)
        finally:
            embedded.stop(folder / "home")
            s3.stop_seaweedfs(server.port)


def write(project: Path, files: int) -> Path:
    """A package of so many modules of 100 lines; the stage imports ten of them."""
    (project / "lib").mkdir(parents=True)
    (project / "lib/__init__.py").touch()
    for number in range(files):
        lines = "".join(f"value_{line} = {line}  # of module {number}\n" for line in range(100))
        (project / f"lib/m{number}.py").write_text(lines)
    imports = "\n".join(f"import lib.m{number}" for number in range(10))
    (project / "mine.py").write_text(STAGE.format(imports=imports))
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    subprocess.run(["git", "add", "--all"], cwd=project, check=True)
    return project


def measure_upload(files: int) -> None:
    settings = Settings.read()
    store = Store.open(settings.store, settings.home)
    began = time.perf_counter()
    packed = packing.pack("mine")
    assert packed is not None
    made = time.perf_counter()
    code_archives.keep(store, packed)
    kept = time.perf_counter()
    packing.pack("mine")
    again = time.perf_counter()
    code_archives.keep(store, packed)
    found = time.perf_counter()
    print(f"{files} source files: packed in {made - began:.3f} s, in the store after {kept - began:.3f} s (bound 1 s); "
          f"once more, unchanged: {again - kept:.3f} s and {found - again:.3f} s")  # fmt: skip


def measure_runs(project: Path, rounds: int) -> None:
    db = connect(Settings.read())
    worker = subprocess.Popen(
        [sys.executable, "-m", "repro", "worker", "--gpus", "none"], cwd=project, stderr=subprocess.DEVNULL
    )
    try:
        while not workers.is_any_alive(db):
            time.sleep(0.05)
        ships = {"through the store": shipper(db), "in the worker's folder": shipper(db, here=True)}
        seconds: dict[str, list[float]] = {how: [] for how in ships}
        for number in range(rounds + 5):  # the first ones warm it up
            for how, ship in ships.items():
                waited = first_line(db, project, f"r{number}{how[0]}", 2 * number + (how[0] == "t"), ship)
                if number >= 5:
                    seconds[how].append(waited)
        medians = {how: statistics.median(found) * 1e3 for how, found in seconds.items()}
        through, here = medians.values()
        print("from the submit's call to the stage's first line: " + ", ".join(f"{how} {ms:.0f} ms" for how, ms in
              medians.items()) + f"; {through - here:.0f} ms more (bound 50 ms)")  # fmt: skip
    finally:
        worker.terminate()
        worker.wait(60)


def first_line(db: Any, project: Path, name: str, seed: int, ship: Any) -> float:
    path = project.parent / f"{name}.json"  # beside the project: a config in it would make another archive
    path.write_text(json.dumps({"stage": "mine:stage", "seed": seed}))
    began = time.time()
    submission.submit(db, [path], None, None, ship)
    while (run := db.runs.find_one({"_id": name}, {"state": 1, "metrics": 1, "error": 1}))["state"] != "done":
        assert run["state"] != "failed", run
        time.sleep(0.01)
    return float(run["metrics"]["began"]) - began


if __name__ == "__main__":
    main()
