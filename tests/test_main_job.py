"""The main job on real data, as a user types it: through the queue, and alone, with the same bytes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repro import digits
from stages.run import OWN_FILES

CONFIGS = Path(__file__).parent.parent / "configs"
CHAIN = {
    "data": "make_dataset",
    "augmentation": "augment",
    "model": "train",
    "evaluate": "evaluate",
    "predict": "predict",
    "export": "export",
}


@pytest.mark.timeout(300)
def test_the_whole_chain_on_real_digits_with_and_without_the_queue(cli, settings_environment, database, tmp_path):
    data = Path(settings_environment["REPRO_DATA"])
    assert digits.write(data) == 1797
    shutil.copytree(CONFIGS, tmp_path / "configs")
    files = [str(tmp_path / "configs" / f"{name}.json") for name in ("evaluate", "predict", "export")]
    assert cli("repro-submit", *files).returncode == 0
    worked = cli("repro-worker", "--burst", "--gpus", "none", "--cpus", "2", timeout=240)
    assert worked.returncode == 0, worked.stderr
    # The documented query for finished runs.
    done = {run["_id"]: run["location"] for run in database.runs.find({"state": "done"}, {"location": 1})}
    assert done.keys() == CHAIN.keys(), worked.stderr
    assert database.runs.find_one({"_id": "evaluate"})["metrics"]["accuracy"] >= 0.98
    for name, stage in CHAIN.items():
        alone(name, stage, tmp_path, settings_environment)
        assert outputs_of(tmp_path / "runs" / name) == recorded(database, name), name


def alone(name, stage, folder, environment):
    words = [sys.executable, "-m", f"stages.{stage}", "-c", f"configs/{name}.json"]
    subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)


def outputs_of(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in OWN_FILES}


def recorded(database, name):
    run = database.runs.find_one({"_id": name})
    places = {o["path"]: o.get("location") or f"{run['location']}/{o['path']}" for o in run["outputs"]}
    return {path: Path(url.removeprefix("file://")).read_bytes() for path, url in places.items()}
