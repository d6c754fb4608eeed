"""The scripts and units of `deploy/`: linted, and the sbatch script run with a real worker."""

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from repro.commands.ui import ui
from repro.commands.worker import worker
from repro.scheduler import runs
from tests import toy
from tests.deploy.engine import ROOT

DEPLOY = ROOT / "deploy"
SBATCH = DEPLOY / "slurm" / "worker.sbatch"
UNIT = DEPLOY / "systemd" / "repro-worker@.service"
SCRIPTS = [*sorted(DEPLOY.rglob("*.sh")), SBATCH, *sorted((ROOT / "tests/deploy/standins").glob("*.sh"))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--shell", "bash", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_secrets_are_made_once_and_are_nobody_elses(tmp_path):
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / ".env.example", tmp_path)
    for name in ("make-env.sh", "environment.sh"):
        shutil.copy(DEPLOY / name, tmp_path / "deploy")
    missing = subprocess.run([tmp_path / "deploy/environment.sh"], capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "deploy/make-env.sh" in missing.stderr
    subprocess.run([tmp_path / "deploy/make-env.sh"], check=True, capture_output=True)
    made = (tmp_path / ".env").read_text()
    values = re.findall(r"^[A-Z_0-9]+=(.*)$", made, re.MULTILINE)
    assert len(values) == len(set(values)) == 6
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in values)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    told = subprocess.run([tmp_path / "deploy/environment.sh"], capture_output=True, text=True, check=True).stdout
    assert all(value in told for value in values[2:5])
    subprocess.run([tmp_path / "deploy/make-env.sh"], check=True, capture_output=True)
    assert (tmp_path / ".env").read_text() == made
    # One of before there was a page gets its token, and keeps the others.
    (tmp_path / ".env").write_text(re.sub("REPRO_UI_TOKEN=.*\n", "", made))
    said = subprocess.run([tmp_path / "deploy/make-env.sh"], check=True, capture_output=True, text=True).stdout
    assert said == ".env is there already; added to it: REPRO_UI_TOKEN\n"
    again = re.findall(r"^[A-Z_0-9]+=(.*)$", (tmp_path / ".env").read_text(), re.MULTILINE)
    assert again[:5] == values[:5]
    assert re.fullmatch("[0-9a-f]{48}", again[5])


def test_an_example_of_settings_has_no_secret():
    values = re.findall(r"^[A-Z_0-9]+=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert values == [""] * 6


def test_compose_demands_each_secret_that_the_example_names():
    text = (ROOT / "docker-compose.yml").read_text()
    named = set(re.findall(r"^([A-Z_0-9]+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named == set(re.findall(r"\$\{([A-Z_0-9]+):\?", text))
    optional = set(re.findall(r"^# ([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert optional <= set(re.findall(r"\$\{([A-Z_0-9]+):-", text))


def test_every_port_is_bound_to_loopback():
    published = re.findall(r'^ +- "?([^"\n]*:\d+)"?$', (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").iterdir()), ids=lambda unit: unit.name)
def test_the_unit_is_well_formed(unit, tmp_path):
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("no systemd-analyze")
    # What it checks besides the form: that the programs are there.
    text = re.sub("/opt/repro/bin/[a-z-]+", "/bin/true", unit.read_text())
    copy = tmp_path / unit.name
    copy.write_text(text)
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if unit.stem.rstrip("@") in line]
    assert complaints == []


def test_the_unit_of_the_page_lets_nobody_change_anything_unless_told():
    told = re.search(r'"UI_OPTIONS=([^"]+)"', (DEPLOY / "systemd" / "repro-ui.service").read_text())[1].split()
    options = ui.make_context("ui", told).params
    assert (options["read_only"], options["host"]) == (True, "127.0.0.1")


def test_the_unit_drains_before_it_hands_back():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert "kill -INT" in service["ExecStop"]
    assert service["KillSignal"] == "SIGTERM"
    drain = re.search(r"DRAIN_SECONDS=(\d+)", UNIT.read_text())[1]
    assert int(service["TimeoutStopSec"]) > int(drain)
    options = re.search(r'"WORKER_OPTIONS=([^"]+)"', UNIT.read_text())[1].replace("%i", "0").split()
    assert worker.make_context("worker", options).params["gpus"] == "0"


@pytest.fixture
def job(settings_environment, database, tmp_path):
    """Start the sbatch script as SLURM would, with a `scontrol` that writes down what it is told."""
    home = tmp_path / "user"
    (home / ".config").mkdir(parents=True)
    names = ("REPRO_MONGO_URL", "REPRO_STORE", "REPRO_DATA")
    (home / ".config/repro.env").write_text("".join(f"{name}='{settings_environment[name]}'\n" for name in names))
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/scontrol.log\n')
    scontrol.chmod(0o755)
    environment = {k: v for k, v in settings_environment.items() if k not in names and k != "REPRO_HOME"}
    environment |= {"HOME": str(home), "USER": "me", "SLURM_JOB_ID": "4711", "SLURM_TMPDIR": str(tmp_path)}
    toy.install(tmp_path / "toy")
    environment["PYTHONPATH"] = str(tmp_path / "toy")
    environment["PATH"] = f"{scontrol.parent}:{environment['PATH']}"
    started = []

    def start(*options):
        process = subprocess.Popen(
            ["bash", SBATCH, *options], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def submit_sleeper(database, folder, seconds=600):
    config = {"stage": "toy_sleeps", "started": str(folder / "started"), "seconds": seconds}
    runs.submit(database, [runs.document("sleeper", config, "sleeper", [], [])])


@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_job_that_is_told_to_end_hands_its_run_back(job, database, tmp_path, number, requeued):
    submit_sleeper(database, tmp_path)
    process = job()
    until((tmp_path / "started.ready").exists)
    process.send_signal(number)
    said = process.communicate(timeout=300)[1]
    run = database.runs.find_one({"_id": "sleeper"})
    assert (run["state"], run["attempts"]) == ("pending", 0), said
    assert run["history"][-1]["why"] == "handed back"
    assert process.returncode == 0
    log = tmp_path / "scontrol.log"
    assert (log.read_text() if log.exists() else "") == ("requeue 4711\n" if requeued else "")


def test_a_job_with_nothing_to_do_leaves(job, database):
    process = job("--burst")
    process.communicate(timeout=300)
    assert process.returncode == 0


@pytest.fixture
def service(settings_environment, database, tmp_path):
    """A worker as the unit starts it, and a way to stop it as systemd does by the unit's words."""
    toy.install(tmp_path / "toy")
    environment = settings_environment | {"PYTHONPATH": str(tmp_path / "toy")}
    worker = subprocess.Popen(["repro-worker", "--gpus", "none"], env=environment, stderr=subprocess.DEVNULL)

    def stop(drain_seconds):
        (line,) = (text for text in UNIT.read_text().splitlines() if text.startswith("ExecStop="))
        threading.Thread(target=worker.wait).start()  # systemd, too, takes note of its end at once
        told = {"MAINPID": str(worker.pid), "DRAIN_SECONDS": str(drain_seconds)}
        subprocess.run(shlex.split(line.removeprefix("ExecStop=")), env=environment | told, check=False, timeout=300)
        drained = worker.poll() is not None
        worker.terminate()
        worker.wait(300)
        return drained

    yield stop
    worker.kill()
    worker.wait()


def test_a_service_that_is_stopped_finishes_its_run(service, database, tmp_path):
    submit_sleeper(database, tmp_path, seconds=3)
    until((tmp_path / "started.ready").exists)
    assert service(drain_seconds=50)
    assert database.runs.find_one({"_id": "sleeper"})["state"] == "done"


def test_a_service_that_takes_too_long_to_drain_hands_its_run_back(service, database, tmp_path):
    submit_sleeper(database, tmp_path)
    until((tmp_path / "started.ready").exists)
    assert not service(drain_seconds=1)
    assert database.runs.find_one({"_id": "sleeper"})["history"][-1]["why"] == "handed back"


def test_the_image_has_every_package():
    packages = {"repro", "scheduler", "src", "stages", "worker"}  # the one package, and where its links lead
    assert {str(link.readlink()) for link in (ROOT / "repro").iterdir() if link.is_symlink()} == {
        f"../{name}" for name in packages - {"repro", "src"}
    }
    copied = set(re.findall(r"^COPY (\w+) \1$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))
    assert copied == packages
    assert {f"!{name}" for name in packages} <= set((ROOT / ".dockerignore").read_text().split())
