"""What NVML tells of GPUs: through the real binding, on a stand-in of the driver's library, and on real GPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repro.worker.gpus import Load, Nvml
from tests.worker.test_worker import wait_for

GIB = 1 << 30
TELL = """
import dataclasses, json, sys
from repro.worker.gpus import Nvml
nvml = Nvml()
loads = {gpu.uuid: nvml.load(gpu.uuid) for gpu in nvml.gpus()}
loads = {uuid: load and dataclasses.asdict(load) for uuid, load in loads.items()}
print(json.dumps([[dataclasses.asdict(gpu) for gpu in nvml.gpus()], loads, nvml.load("GPU-none")]))
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(folder / "libnvidia-ml.so.1")]
    subprocess.run([*command, str(Path(__file__).with_name("driver.c"))], check=True)
    return folder


@pytest.fixture
def driver(library, tmp_path, monkeypatch):
    """Say what GPUs there are and how they are used; for processes that are started after the first time."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("CARDS", str(tmp_path / "cards"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def say(*lines):
        (tmp_path / "new").write_text("".join(f"{line}\n" for line in lines))
        (tmp_path / "new").rename(tmp_path / "cards")

    return say


def tell(**environment):
    command = [sys.executable, "-c", TELL]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_gpus_and_their_use(driver):
    driver(f"GPU-aa 93 {5 * GIB} 11:{2 * GIB} 12:7", "GPU-bb 0 0")
    gpus, loads, of_none = tell()
    assert gpus == [{"uuid": uuid, "name": "a card", "memory": 80 * GIB} for uuid in ("GPU-aa", "GPU-bb")]
    busy = {"utilisation": 93, "memory": 5 * GIB, "computing": {"11": 2 * GIB, "12": 7}, "others": 0}
    assert loads == {"GPU-aa": busy, "GPU-bb": {"utilisation": 0, "memory": 0, "computing": {}, "others": 0}}
    assert of_none is None
    assert [gpu["uuid"] for gpu in tell(CUDA_VISIBLE_DEVICES="1")[0]] == ["GPU-bb"]


def test_a_gpu_that_does_not_answer_is_one_line(driver, cli, settings_environment):
    driver("GPU-aa 0 0", "GPU-bb lost")
    done = cli("repro-worker", "--burst", **{key: os.environ[key] for key in ("LD_LIBRARY_PATH", "CARDS")})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: card 1 does not answer: GPU is lost; see nvidia-smi\n"


def test_a_worker_on_a_machine_with_gpus(bench, driver, settings_environment, toy_path, tmp_path):
    """All of it: the GPUs by number, shares, what others use, what runs use; the driver alone is not real."""
    enough = tmp_path / "enough"
    idle = ("GPU-cc 0 0", "GPU-dd 50 0 1:7")  # the last one is not ours to take
    driver("GPU-aa 0 0", f"GPU-bb 99 {9 * GIB} 1:{9 * GIB}", *idle)
    for number in range(2):
        bench.submit(f"small{number}", "paces", enough=str(enough), gpus=1, seed=number)
    bench.submit("big", "environment", gpus=2)
    words = ["worker", "--gpus", "2,0,1", "--cpus", "0", "--per-gpu", "2", "--only-idle", "--burst", "--lease", "1"]
    environment = settings_environment | {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "CARDS")}
    environment |= {"PYTHONPATH": str(toy_path), "REPRO_STORE": bench.store.url, "REPRO_DATA": str(tmp_path)}
    command = [sys.executable, "-m", "repro", *words]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        try:
            runs = wait_for(lambda: list(bench.db.runs.find({"cards": {"$exists": True}}))[1:])  # both
            cards = sorted(card for run in bench.db.runs.find({"state": "running"}) for card in run["cards"])
            assert cards == ["GPU-aa", "GPU-cc"], runs
            (document,) = wait_for(lambda: list(bench.db.workers.find({"avoided": {"$ne": []}})))
            assert document["cards"] == ["GPU-cc", "GPU-aa", "GPU-bb"]
            assert (document["numbers"], document["avoided"]) == ([2, 0, 1], ["GPU-bb"])
            driver(f"GPU-aa 88 {3 * GIB}", f"GPU-bb 99 {9 * GIB} 1:{9 * GIB}", f"GPU-cc 88 {3 * GIB}", idle[1])
            wait_for(lambda: bench.db.runs.count_documents({"telemetry.cards.utilisation": 88}) == 2)
            driver("GPU-aa 0 0", "GPU-bb 0 0", *idle)
            enough.touch()
            assert worker.wait(300) == 0
        finally:
            worker.kill()
    seen = json.loads((bench.folder_of("big") / "environment.json").read_text())["CUDA_VISIBLE_DEVICES"]
    assert len(set(seen.split(","))) == 2
    assert set(seen.split(",")) <= {"GPU-aa", "GPU-bb", "GPU-cc"}
    assert {bench.get(f"small{number}")["usage"]["cards"][0]["memory"] for number in range(2)} == {3 * GIB}


def test_without_a_driver_there_are_no_gpus(monkeypatch):
    if Nvml().has_driver:
        pytest.skip("here is a driver")
    assert Nvml().gpus() == []
    assert Nvml().load("GPU-aa") is None


@pytest.mark.cuda
def test_a_real_gpu_is_seen_at_work():
    inventory = Nvml()
    if not inventory.gpus():
        pytest.skip("needs a CUDA device")
    gpu = inventory.gpus()[0]
    before = inventory.load(gpu.uuid)
    code = "import torch; a = torch.ones(1 << 28, device='cuda'); print(a.sum().item(), flush=True); input()"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpu.uuid}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert float(process.stdout.readline()) == 1 << 28
        during = inventory.load(gpu.uuid)
        process.communicate("\n")
    assert isinstance(during, Load)
    assert during.memory >= before.memory + GIB
    assert process.pid in during.computing or set(during.computing) >= set(before.computing)  # a container hides it
