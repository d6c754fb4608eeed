"""Checkpoints through the queue: whoever takes a run up goes on where it was, to the bytes of an undisturbed one."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from repro.scheduler import runs
from repro.stages import config as configs
from repro.stages.running.checkpoint_files import FACTS, STATE, name_of
from repro.worker import running
from repro.worker.audit import store_recovery
from repro.worker.audit.garbage import Collector
from repro.worker.store import checkpoint_store
from repro.worker.store.checkpoint_store import Uploader
from tests.stages.patterns import write_patterns
from tests.worker.test_worker import wait_for

ROOT = Path(__file__).parents[2]
MODEL = {"stage": "train", "source": "data", "arch": "mlp", "hidden": 8, "batch_size": 8, "epochs": 4}


class Scene:
    """A bench with a dataset, trainings on it, and other workers in processes of their own."""

    def __init__(self, bench, environment):
        self.bench, self.db, self.environment = bench, bench.db, environment
        write_patterns(bench.folder / "images", count=8)
        self.submit("data", stage="make_dataset", images="images/**/*.png", validation=0.25)
        bench.work()

    def submit(self, name, **config):
        sources = configs.sources(config)
        digest = configs.fingerprint(config, {s: self.bench.get(s)["fingerprint"] for s in sources})
        runs.submit(self.db, [runs.document(name, config, digest, sources, [])])

    def train(self, *names, **config):
        for name in names:
            self.submit(name, **MODEL | config)

    @contextmanager
    def process(self, *words):
        log = (self.bench.folder / "worker.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, *words, "--gpus", "none"], cwd=ROOT, env=self.environment, stderr=log, stdout=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            log.close()

    def wait_until_expired(self, name):
        guard = {"_id": name, "$expr": {"$lt": ["$lease.expires_at", "$$NOW"]}}
        wait_for(lambda: self.db.runs.count_documents(guard))

    def log(self, name):
        return (Path(self.bench.get(name)["location"].removeprefix("file://")) / "repro-log.txt").read_text()

    def resumed_at(self, name):
        resumed = re.search(r"^going on from the checkpoint of step (\d+)$", self.log(name), re.MULTILINE)
        return int(resumed[1]) if resumed else None

    def result(self, name):
        """All of a done run that must not differ."""
        run = self.bench.get(name)
        assert run["state"] == "done", run
        assert "checkpoint" not in run
        return {key: run[key] for key in ("outputs", "metrics", "params", "config", "fingerprint")}

    def whole(self, name):
        """The steps of the whole checkpoints that a run's attempts left in the store."""
        marks = (self.bench.folder / "store").glob(f"{name}-*/repro-checkpoints/*/{checkpoint_store.WHOLE}")
        return sorted(int(mark.parent.name) for mark in marks)


@pytest.fixture
def scene(bench, settings_environment):
    return Scene(bench, settings_environment | {"REPRO_DATA": bench.executor.data})


# The steps of `steps.py` at which a worker dies, and whether there is a whole checkpoint in the store then.
STRUCK = {
    "stage-runs": None,
    "checkpoint-pushed": False,
    "checkpoint-whole": True,
    "outputs-pushed": True,
    "mark-there": True,
}


@pytest.mark.parametrize("struck", [["checkpoint-whole"], pytest.param([*STRUCK], marks=pytest.mark.slow)], ids=len)
def test_another_worker_goes_on_after_a_kill_9_at_any_step(scene, struck):
    scene.train("undisturbed", *struck, epochs=100, checkpoint_every="2 epochs")
    bench, victim = scene.bench, ("-m", "tests.worker.steps", "KILL", "worker", "--max-runs", "1", "--lease", "1")
    scene.db.runs.update_many({"_id": {"$in": struck}}, {"$set": {"held": True}})
    bench.work()
    for step in struck:
        has_one = STRUCK[step]
        runs.unhold(scene.db, step)
        with scene.process(*victim) as worker:
            assert worker.wait(300) == -signal.SIGKILL, (step, (bench.folder / "worker.log").read_text())
        left = scene.whole(step)
        scene.wait_until_expired(step)
        bench.work()
        assert scene.result(step) == scene.result("undisturbed")
        assert bench.get(step)["attempts"] == 2
        assert scene.resumed_at(step) == (left[-1] if left else None)
        if has_one is not None:
            assert bool(left) == has_one, step


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_sigterm_leaves_a_checkpoint_at_the_next_step_and_the_next_attempt_goes_on_there(scene, ranks):
    long = {"epochs": 300, "checkpoint_every": "20 epochs", "ranks": ranks}
    scene.train("undisturbed", **long)
    scene.bench.work()
    scene.train("model", **long)
    with scene.process("-m", "repro", "worker") as worker:
        wait_for(lambda: scene.whole("model"))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(300) == 0
    run = scene.bench.get("model")
    assert (run["state"], run["attempts"]) == ("pending", 0)
    step = run["checkpoint"]["step"]
    assert step == scene.whole("model")[-1]
    (attempt,) = (scene.bench.folder / "store").glob("model-*")
    assert f"stopped after step {step}" in (attempt / "repro-log.txt").read_text()
    assert run["checkpoint"]["location"] == f"file://{attempt}/repro-checkpoints/{name_of(step)}"

    scene.bench.work()
    assert scene.bench.get("model")["state"] == "done", scene.bench.get("model")
    assert scene.resumed_at("model") == step
    assert scene.result("model") == scene.result("undisturbed")
    assert scene.whole("model")  # the first attempt's; a rerun must not look at them
    rerun = runs.rerun(scene.db, scene.bench.get("model"), {})
    scene.bench.work()
    assert scene.bench.get(rerun)["outputs"] == scene.bench.get("model")["outputs"]
    assert scene.resumed_at(rerun) is None


def test_a_second_sigterm_waits_for_no_step(scene, toy_path):
    started = scene.bench.folder / "started"
    scene.submit("stuck", stage="toy_never_steps", started=str(started))
    scene.environment["PYTHONPATH"] = str(toy_path)
    with scene.process("-m", "repro", "worker") as worker:
        wait_for(started.exists)
        worker.send_signal(signal.SIGTERM)
        wait_for(started.with_name("started.told").exists)
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert worker.wait(300) == 0
        assert time.monotonic() - began < running.GRACE / 2
    assert (scene.bench.get("stuck")["state"], scene.bench.get("stuck")["attempts"]) == ("pending", 0)


def test_a_run_that_lost_its_process_goes_on_on_the_same_worker(scene):
    """The kernel's way to refuse memory: SIGKILL to the stage alone."""
    long = {"epochs": 300, "checkpoint_every": "40 epochs"}
    scene.train("undisturbed", "model", **long)
    scene.db.runs.update_one({"_id": "model"}, {"$set": {"held": True}})
    scene.bench.work()
    runs.unhold(scene.db, "model")
    kill = f"""
import glob, os, psutil, time
while not glob.glob({str(scene.bench.folder)!r} + "/store/model-*/repro-checkpoints/*/whole.json"):
    time.sleep(0.01)
for server in psutil.Process({os.getpid()}).children():
    for child in server.children():
        child.kill()
"""
    with subprocess.Popen([sys.executable, "-c", kill]):
        scene.bench.work()
    assert scene.bench.get("model")["attempts"] == 2
    assert scene.resumed_at("model")
    assert scene.result("model") == scene.result("undisturbed")


def test_gc_removes_what_is_dead_and_leaves_what_the_next_attempt_needs(scene):
    bench, collector = scene.bench, Collector(scene.db, scene.bench.store, scene.bench.folder / "home", 0.0, sole=True)
    scene.train("checkpoint-whole", epochs=100, checkpoint_every="2 epochs")
    with scene.process("-m", "tests.worker.steps", "KILL", "worker", "--lease", "1") as worker:
        assert worker.wait(300) == -signal.SIGKILL
    scene.wait_until_expired("checkpoint-whole")
    runs.expire(scene.db)
    (attempt,) = (bench.folder / "store").glob("checkpoint-whole-*")
    # No heartbeat has told of it: the history alone knows which attempt it was.
    assert "checkpoint" not in bench.get("checkpoint-whole")
    collector.delete(collector.plan())
    assert (attempt / "repro-checkpoints").exists()

    checkpoints_of_done = Path(bench.get("data")["location"].removeprefix("file://")) / "repro-checkpoints" / name_of(7)
    checkpoints_of_done.mkdir(parents=True)
    for name in (STATE, FACTS, checkpoint_store.WHOLE):
        (checkpoints_of_done / name).write_text("{}")
    assert store_recovery.plan(scene.db, bench.store, checksums=True).problems == []
    bench.work()
    assert scene.resumed_at("checkpoint-whole")
    reasons = {leftover.location: leftover.why for leftover in collector.plan()}
    assert reasons[f"file://{checkpoints_of_done}"] == "a checkpoint of a run that is done"
    assert reasons[f"file://{attempt}"] == "unfinished attempt"
    collector.delete(collector.plan())
    assert collector.plan() == []
    assert not attempt.exists()
    assert not checkpoints_of_done.parent.exists()
    assert scene.result("data")


class Stage:
    """What a stage would leave in its folder of checkpoints."""

    def __init__(self, folder):
        self.folder = folder

    def leave(self, step, text="x"):
        place = self.folder / name_of(step)
        place.mkdir(parents=True)
        (place / STATE).write_text(text * 1000)
        (place / FACTS).write_text(text)


@pytest.fixture(params=["folder", "s3"])
def store(request, bench):
    return request.getfixturevalue("remote").store if request.param == "s3" else bench.store


def fetched(store, tmp_path, *attempts):
    """What the next attempt is handed, by step, and what its log says."""
    logged, folder = [], tmp_path / f"fetched-{len(list(tmp_path.iterdir()))}"
    checkpoint_store.fetch(store, attempts, folder, logged.append)
    texts = {int(p.name): (p / STATE).read_text()[:1] for p in folder.iterdir()} if folder.exists() else {}
    shutil.rmtree(folder, ignore_errors=True)
    store.cache.evict(1 << 60)  # what was fetched once would not be fetched again
    return texts, logged


def test_the_newest_whole_one_of_the_newest_attempt_that_has_any(store, tmp_path):
    first, second, third = (store.location("model", token * 8) for token in "abc")
    stage = Stage(tmp_path / "stage")
    for step, text, location in ((5, "a", first), (9, "b", first), (3, "c", second)):
        stage.leave(step, text)
        checkpoint_store.push(store, location, stage.folder, step)
    assert fetched(store, tmp_path, third) == ({}, [])
    assert fetched(store, tmp_path, third, second, first) == ({3: "c"}, [])
    assert fetched(store, tmp_path, third, first) == ({9: "b"}, [])
    stage.leave(7)
    store.push(
        f"{second}/repro-checkpoints/{name_of(7)}", stage.folder / name_of(7), [STATE, FACTS]
    )  # died before the mark
    assert fetched(store, tmp_path, second, first) == ({3: "c"}, [])


def test_one_that_is_not_as_recorded_means_the_one_before(store, tmp_path):
    location = store.location("model", "a" * 8)
    stage = Stage(tmp_path / "stage")
    for step in (1, 2, 3):
        stage.leave(step, str(step))
        checkpoint_store.push(store, location, stage.folder, step)

    def spoil(step, name, data):
        key = f"model-{'a' * 8}/repro-checkpoints/{name_of(step)}/{name}"
        store.objects.remove(key)
        if data:
            store.objects.create(key, data)

    spoil(3, STATE, b"other" * 200)
    texts, logged = fetched(store, tmp_path, location)
    assert texts == {2: "2"}
    assert "a file has changed in the store" in logged[0]
    spoil(2, FACTS, None)
    spoil(1, checkpoint_store.WHOLE, b"{")
    texts, logged = fetched(store, tmp_path, location)
    assert texts == {}
    assert len(logged) == 3
    assert "gone from the store" in logged[1]


def test_the_uploader_pushes_what_is_new_and_drops_what_is_old(store, tmp_path):
    location, stage, pushed = store.location("model", "a" * 8), Stage(tmp_path / "stage"), []
    stage.leave(1)  # what the attempt was handed
    uploader = Uploader(store, location, stage.folder, pushed.append)
    for step in (2, 3, 4):
        stage.leave(step)
        uploader.announce_new()
        wait_for(lambda step=step: pushed and pushed[-1]["step"] == step)
    uploader.end()
    assert [checkpoint["step"] for checkpoint in pushed] == [2, 3, 4]
    assert [place.rpartition("/")[2] for place in checkpoint_store.all_of(store, location)] == [name_of(3), name_of(4)]
    checkpoint_store.clear(store, location)
    assert store.contents(location) == []


def test_the_tokens_of_a_run_come_from_its_history(bench):
    bench.submit("a", "noop")
    given = ["a" * 32, "b" * 32, "c" * 32]
    for token in given:
        assert runs.tokens(runs.claim(bench.db, "w", [0], 30, token))[-1] == token
        runs.hand_back(bench.db, "a", token, {"step": 1, "location": "x"})
    assert runs.tokens(bench.get("a")) == given
    assert bench.get("a")["checkpoint"] == {"step": 1, "location": "x"}
