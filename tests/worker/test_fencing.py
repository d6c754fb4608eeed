"""Workers die, or sleep past their lease, at every step of a run: one result, and nobody's files are touched.

The victims are real worker processes (`steps.py`), struck by real signals. The healthy worker is this process's.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.processes import is_gone
from tests.worker import steps
from tests.worker.steps import STEPS
from tests.worker.test_worker import wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def steps_path(toy_path):
    steps.install(toy_path)
    return toy_path


class Scene:
    """A bench on which runs named after steps strike their workers; all have the same config."""

    def __init__(self, bench, environment, path):
        self.bench, self.db = bench, bench.db
        self.hold, self.log = bench.folder / "hold", bench.folder / "victim.log"
        self.hold.mkdir()
        # The folder on the PYTHONPATH is how the descendants of this scene's workers are known.
        self.environment = environment | {"PYTHONPATH": f"{path}{os.pathsep}{self.hold}"}

    def submit(self, name, source=("source",), waiting_for=()):
        self.bench.submit(name, "steps", source, list(waiting_for), text="abc", hold=str(self.hold))

    def submit_step(self, step):
        self.submit(step)
        self.submit(f"child-of-{step}", [step], [step])

    def hang(self, name):
        """The next attempt of this run hangs in its stage."""
        (self.hold / name).touch()

    def held(self, name):
        """The processes of an attempt that hangs, or hung."""
        path = self.hold / f"{name}.held"
        return json.loads(path.read_text()) if path.exists() else []

    @contextmanager
    def process(self, *words):
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *words, "--gpus", "none"], cwd=ROOT, env=self.environment, stderr=log
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def documents(self):
        return {d["_id"]: d for d in self.db.runs.find()}

    def wait_until_expired(self):
        alive = {"state": "running", "$expr": {"$gte": ["$lease.expires_at", "$$NOW"]}}
        wait_for(lambda: not self.db.runs.count_documents(alive))

    def files(self):
        """All that is in the store, by location: relative path -> what a change would change."""
        folders = sorted((self.bench.folder / "store").iterdir())
        return {f"file://{folder}": {n: known_by(p) for n, p in below(folder).items()} for folder in folders}

    def descendants(self):
        return [p.pid for p in psutil.process_iter() if str(self.hold) in self._path_of(p)]

    def _path_of(self, process):
        try:
            return process.environ().get("PYTHONPATH", "") if process.status() != psutil.STATUS_ZOMBIE else ""
        except psutil.Error:
            return ""

    def check_result(self, name, attempts):
        """Done once, in so many attempts, in a complete folder with the bytes of the undisturbed run."""
        run, undisturbed = self.bench.get(name), self.bench.get("undisturbed")
        assert (run["state"], run["attempts"]) == ("done", attempts), name
        assert "lease" not in run
        assert [entry["to"] for entry in run["history"]] == ["pending", "running"] * attempts + ["done"]
        contents = below(Path(run["location"].removeprefix("file://")))
        assert sorted(contents) == sorted([*steps.OUTPUTS, "repro-config.json", "repro-log.txt", "repro-run.json"])
        for output in run["outputs"]:
            data = contents[output["path"]].read_bytes()
            assert output == {"path": output["path"], "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        assert [o["path"] for o in run["outputs"]] == list(steps.OUTPUTS)
        marks = [json.loads(contents["repro-run.json"].read_bytes()), mark_of(undisturbed)]
        assert (marks[0]["name"], marks[0]["outputs"]) == (name, run["outputs"])
        for mark in marks:
            del (
                mark["name"],
                mark["usage"],
                mark["environment"],
            )  # which tells the commit: somebody may commit meanwhile
        assert marks[0] == marks[1]
        for field in ("config", "fingerprint", "outputs", "metrics", "params"):
            assert run[field] == undisturbed[field], field
        assert self.bench.get(f"child-of-{name}")["state"] == "done"


def below(folder):
    return {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}


def names(files):
    """Sorted; None where there is no folder."""
    return None if files is None else sorted(files)


def known_by(path):
    status = path.stat()
    return path.read_bytes(), status.st_ino, status.st_mtime_ns, status.st_mode


def mark_of(run):
    return json.loads((Path(run["location"].removeprefix("file://")) / "repro-run.json").read_bytes())


def assert_pids_gone(pids):
    wait_for(lambda: all(map(is_gone, pids)))


@pytest.fixture
def scene(bench, settings_environment, steps_path):
    scene = Scene(bench, settings_environment, steps_path)
    scene.submit("source", [])
    scene.submit("undisturbed", ["source"], ["source"])
    bench.work()
    return scene


def folder_of_attempt(bench, document):
    """The URL of the folder of the attempt that holds the lease, or held it to the end."""
    return document.get("location") or bench.store.location(document["_id"], document["lease"]["token"])


FEW = ("stage-runs", "mark-there", "completed")


@pytest.mark.parametrize("struck", [FEW, pytest.param([*STEPS], marks=pytest.mark.slow)], ids=len)
def test_kill_9_at_every_step_loses_nothing(scene, struck):
    """One victim a step, all at once; then one healthy worker."""
    bench = scene.bench
    for step in struck:
        scene.submit_step(step)
    scene.hang("stage-runs")
    victim = ("-m", "tests.worker.steps", "KILL", "worker", "--max-runs", "1", "--lease", "1")
    with ExitStack() as stack:
        victims = [stack.enter_context(scene.process(*victim)) for _ in struck]
        assert [v.wait(600) for v in victims] == [-signal.SIGKILL] * len(victims), scene.log.read_text()
    assert len(scene.held("stage-runs")) == 2
    wait_for(lambda: not scene.descendants())

    before, files = scene.documents(), scene.files()
    for step in struck:
        expected = STEPS[step]
        contents = files.get(folder_of_attempt(bench, before[step]))
        assert names(contents) == names(expected), step
        assert before[step]["state"] == ("done" if step == "completed" else "running")
        assert before[f"child-of-{step}"]["state"] == "waiting"

    scene.wait_until_expired()
    bench.work(cpus=2)
    after, files_after = scene.documents(), scene.files()
    assert after.keys() == before.keys()
    assert after["completed"] == before["completed"]
    for step in struck:
        scene.check_result(step, attempts=1 if step == "completed" else 2)
    assert {location: files_after[location] for location in files} == files


def test_a_worker_that_wakes_after_its_lease_was_taken_changes_nothing_and_works_on(scene):
    """One victim through all steps: at each it is taken its run, woken, and given another."""
    with scene.process("-m", "tests.worker.steps", "STOP", "worker", "--lease", "1") as victim:
        for step in STEPS:
            sleep_through(scene, victim, step)
        victim.send_signal(signal.SIGTERM)
        assert victim.wait(300) == 0
    wait_for(lambda: not scene.descendants())
    assert list((scene.bench.folder / "home" / "work").iterdir()) == []


def sleep_through(scene, victim, step):
    bench, late = scene.bench, list(STEPS).index(step) >= list(STEPS).index("stage-ended")
    if step == "stage-runs":
        scene.hang(step)
    scene.submit_step(step)
    wait_for(lambda: psutil.Process(victim.pid).status() == psutil.STATUS_STOPPED)
    own = folder_of_attempt(bench, bench.get(step))
    scene.wait_until_expired()
    bench.work()
    scene.check_result(step, attempts=1 if step == "completed" else 2)

    before, files = scene.documents(), scene.files()
    if step != "stage-runs" and not late:
        scene.hang(step)  # nothing but a kill ends the stage that the victim is about to start
    other = f"after-{step}"
    scene.submit(other)
    victim.send_signal(signal.SIGCONT)
    wait_for(lambda: bench.get(other)["state"] == "done")  # the victim has one place: the lost run is settled

    assert bench.get(other)["attempts"] == 1
    assert {name: scene.documents()[name] for name in before} == before
    files_after = scene.files()
    if step != "completed":
        assert f" {step}: stopped: " in scene.log.read_text()
        assert own != bench.get(step)["location"]
        files.pop(own, None)  # an orphan of the victim's own, which nobody refers to
    assert {location: files_after[location] for location in files} == files
    assert_pids_gone(scene.held(step))


def test_sigterm_to_a_worker_hands_its_run_back_and_leaves_no_process(scene):
    scene.hang("run")
    scene.submit_step("run")
    with scene.process("-m", "repro", "worker") as worker:
        wait_for(lambda: scene.held("run"))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(300) == 0
    run = scene.bench.get("run")
    assert (run["state"], run["attempts"], run["not_before"]) == ("pending", 0, None)
    assert "lease" not in run
    assert not scene.descendants()
    assert_pids_gone(scene.held("run"))
    scene.bench.work()
    assert (scene.bench.get("run")["state"], scene.bench.get("run")["attempts"]) == ("done", 1)


def test_no_signal_finds_the_worker_unable_to_take_it(bench):
    """A handler runs between any two lines of the loop, in its thread: a lock held there would never be released."""
    worker = bench.worker()
    before = signal.signal(signal.SIGUSR1, worker._interrupts.handle)
    strike = f"import os, time\nwhile True: os.kill({os.getpid()}, {signal.SIGUSR1:d}); time.sleep(1e-5)"
    with subprocess.Popen([sys.executable, "-c", strike]) as other:
        try:
            wait_for(lambda: worker._interrupts.count)
            while worker._interrupts.count < 50_000:
                worker._bell.clear()
                worker._bell.wait(1)
        finally:
            other.kill()
            other.wait()
            signal.signal(signal.SIGUSR1, before)
