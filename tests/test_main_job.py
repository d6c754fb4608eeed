"""The main job on real data, as a user types it: through the queue and alone, on folders and on S3, the same bytes."""

import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from repro.stages.own_files import OWN_FILES
from repro.tools import digits
from tests.processes import environment_of_a_run

CONFIGS = Path(__file__).parent.parent / "configs"
CHAIN = ("data", "augmentation", "model", "evaluate", "predict", "export")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert digits.write(folder) == 1797
    return folder


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    """Name -> path -> bytes, of the chain without a queue."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(CONFIGS, folder / "configs")
    # `repro run` of each, in one process.
    code = "from pathlib import Path; from repro.stages.running.standalone import Options, run_alone\n"
    code += "from repro.stages.running.warming import warm_up_fully; warm_up_fully()\n"
    code += f"for name in {CHAIN}: run_alone(Path(f'configs/{{name}}.json'), Options())"
    environment = environment_of_a_run() | {"REPRO_DATA": str(images)}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True)
    return {name: outputs_of(folder / "runs" / name) for name in CHAIN}


@pytest.fixture(params=["S3", pytest.param("folders", marks=pytest.mark.slow)])
def places(request, images, monkeypatch):
    """Where the data are and the results go to, as the environment tells it."""
    if request.param == "folders":
        return {"REPRO_DATA": str(images)}
    server = request.getfixturevalue("seaweedfs")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = server.bucket()
    fsspec.filesystem("s3", skip_instance_cache=True).put(f"{images}/", f"{bucket}/raw/", recursive=True)
    return server.environment | {"REPRO_DATA": f"s3://{bucket}/raw", "REPRO_STORE": f"s3://{bucket}/runs"}


def test_the_whole_chain_on_real_digits(cli, database, tmp_path, places, undisturbed):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    files = [str(tmp_path / "configs" / f"{name}.json") for name in ("evaluate", "predict", "export")]
    assert cli("repro-submit", *files, **places).returncode == 0
    worked = cli("repro-worker", "--burst", "--gpus", "none", "--cpus", "2", timeout=800, **places)
    assert worked.returncode == 0, worked.stderr
    # The documented query for finished runs.
    done = {run["_id"]: run["location"] for run in database.runs.find({"state": "done"}, {"location": 1})}
    assert done.keys() == set(CHAIN), worked.stderr
    assert database.runs.find_one({"_id": "evaluate"})["metrics"]["accuracy"] >= 0.98
    for name in CHAIN:
        assert recorded(database, name) == undisturbed[name], name
    logs = cli("repro", "logs", "model", **places)
    assert logs.returncode == 0, logs.stderr
    shown = cli("repro", "show", "model", "--json", **places).stdout
    for text in (shown, worked.stderr, *(str(run) for run in database.runs.find())):
        assert places.get("AWS_SECRET_ACCESS_KEY", "no secret here") not in text


def outputs_of(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in OWN_FILES}


def recorded(database, name):
    run = database.runs.find_one({"_id": name})
    urls = {o["path"]: o.get("location") or f"{run['location']}/{o['path']}" for o in run["outputs"]}
    contents = {}
    for path, url in urls.items():
        with fsspec.open(url, "rb", skip_instance_cache=True) as file:
            contents[path] = file.read()
    return contents
