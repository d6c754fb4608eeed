"""Each point of the checker: silent over a real history, and not silent when that history was tampered with.

The history is of a chain of three on a real mongod. What is tampered with is the queue and the store themselves, so
that the recorder is tried with the checker.
"""

import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from repro.scheduler import runs
from repro.worker.audit.garbage import Collector
from tests.chaos import checker, objects
from tests.chaos.history import Life, Trouble
from tests.chaos.recorder import Recorder
from tests.worker.test_worker import wait_for

LEASE = 1.0
PAST = datetime(2000, 1, 1, tzinfo=UTC)
TOKEN = "0123456789abcdef"


class Scene:
    """A recorded bench, and what it came to."""

    def __init__(self, bench, recorder):
        self.bench, self.db, self.recorder, self.history = bench, bench.db, recorder, recorder.history
        self.objects, self.began = recorder.objects, time.monotonic()

    def submit(self, name, **more):
        self.history.attempted.add(name)
        self.bench.submit(name, "write", text=name, **more)
        self.history.acknowledged.add(name)

    def chain(self):
        """a -> b -> c, all recorded."""
        self.submit("a")
        self.submit("b", source=["a"])
        self.submit("c", source=["b"])
        self.work()
        assert [self.bench.get(n)["state"] for n in "abc"] == ["done"] * 3
        wait_for(lambda: {w.path for w in self.history.written} == self.objects.listing().keys())

    def claim_and_die(self):
        """A claim by a worker that dies with it; the lease runs out."""
        claimed = runs.claim(self.db, "dead", (0,), LEASE)
        self.history.lives.append(Life("dead", self.began, ended=time.monotonic(), killed=True))
        expired = {"_id": claimed["_id"], "$expr": {"$lt": ["$lease.expires_at", "$$NOW"]}}
        wait_for(lambda: self.db.runs.find_one(expired))

    def work(self):
        worker = self.bench.worker(burst=True, lease=60)  # which a busy machine can't let run out
        life = Life(worker.name, time.monotonic())
        self.history.lives.append(life)
        worker.run()
        life.ended = time.monotonic()

    def seen_wrongly(self, names):
        """The objects of done runs that the recorder missed, and any others that it saw."""
        places = [self.bench.get(name)["location"].rpartition("/")[2] for name in names]
        own = {f"{place}/{path}" for place in places for path in (*checker.OWN, "text.txt")}
        return own ^ {written.path for written in self.history.written}

    def folder(self, name):
        return Path(self.bench.get(name)["location"].removeprefix("file://"))

    def set(self, name, **fields):
        assert self.db.runs.update_one({"_id": name}, {"$set": fields}).matched_count == 1

    def troubles(self, *troubles):
        """End the recording; these were all the troubles, whatever a busy machine has added."""
        self.recorder.close()
        self.history.troubles[:] = troubles

    def verdict(self, calm=None, collect=True):
        """What the checker says, by point; points that have nothing to say are left out."""
        self.recorder.close()
        self.history.hear_witnesses(self.bench.folder / "witness")
        final = objects.final(self.db, self.objects)
        if collect:
            collector = Collector(self.db, self.bench.store, self.bench.folder / "home", older_than=0, sole=True)
            collector.delete(collector.plan())
        after = objects.final(self.db, self.objects)
        return {p: v for p, v in checker.check(self.history, final, after, calm or final).items() if v}


@pytest.fixture
def scene(bench, witness):
    url = f"mongodb://{bench.db.client.address[0]}:{bench.db.client.address[1]}/?replicaSet=rs0"
    recorder = Recorder(url, bench.db.name, objects.LocalObjects(bench.store.url), LEASE)
    with recorder:
        found = Scene(bench, recorder)
        found.chain()
        yield found


def test_a_history_without_a_fault_of_the_product_has_no_violation(scene):
    scene.submit("d", source=["c"], waiting_for=[])
    scene.claim_and_die()
    scene.work()
    assert scene.verdict() == {}
    assert len(scene.history.claims()) == 5
    assert scene.seen_wrongly("abcd") == set()


# every acknowledged submit ends done, failed, cancelled or still pending, and nothing else exists


def test_a_run_that_is_lost_is_seen(scene):
    scene.db.runs.delete_one({"_id": "c"})
    assert scene.verdict()["runs"] == ["c: its submit was acknowledged, it is gone", "c: was deleted"]


def test_a_run_that_nobody_submitted_is_seen(scene):
    scene.bench.submit("ghost", "write")
    assert scene.verdict() == {"runs": ["ghost: nobody submitted it"]}


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_a_run_that_is_stuck_is_seen(scene, state):
    scene.set("c", state=state, lease={"token": TOKEN, "worker": "w", "expires_at": PAST})
    assert f"c: is stuck, {state}" in scene.verdict()["runs"]


def test_what_waits_for_a_failed_source_is_not_stuck(scene):
    scene.submit("d", source=["a"], waiting_for=[])
    scene.submit("e", source=["d"])
    scene.submit("f", source=["e"])
    token = runs.claim(scene.db, "w", (0,), 30)["lease"]["token"]
    runs.fail(scene.db, "d", token, {"type": "ValueError", "message": "boom"})
    assert scene.verdict() == {}


# tokens are unique, attempts strictly increase and never exceed the maximum


def test_a_token_that_is_given_twice_is_seen(scene):
    for name in "de":
        scene.submit(name)
        assert runs.claim(scene.db, "w", (0,), 30, TOKEN)["_id"] == name
    assert scene.verdict()["claims"] == [f"the token {TOKEN} was given 2 times"]


def test_a_claim_of_a_run_that_is_held_is_seen(scene):
    scene.submit("d")
    runs.claim(scene.db, "w", (0,), 30)
    scene.db.runs.update_one({"_id": "d"}, {"$set": {"lease.token": TOKEN}, "$inc": {"attempts": 1}})
    assert scene.verdict()["claims"] == ["d: was claimed while it was running"]


def test_an_attempt_that_is_not_counted_is_seen(scene):
    scene.submit("d")
    scene.claim_and_die()
    runs.expire(scene.db)
    scene.set("d", attempts=0)
    runs.claim(scene.db, "w", (0,), 30)
    assert scene.verdict()["claims"] == ["d: lost count of its attempts, 1 -> 0"]


def test_an_attempt_that_is_counted_twice_is_seen(scene):
    scene.submit("d")
    scene.set("d", state="running", attempts=2, lease={"token": TOKEN, "worker": "w", "expires_at": PAST})
    assert scene.verdict()["claims"] == ["d: attempt 2 came after attempt 0"]


def test_an_attempt_beyond_the_maximum_is_seen(scene):
    scene.submit("d", options={"max_attempts": 1})
    scene.claim_and_die()
    scene.set("d", state="pending")
    runs.claim(scene.db, "w", (0,), 30)
    assert scene.verdict()["claims"] == ["d: attempt 2 of at most 1"]


def test_what_is_handed_back_or_retried_counts_anew(scene):
    scene.submit("d")
    runs.hand_back(scene.db, "d", runs.claim(scene.db, "w", (0,), 30)["lease"]["token"])
    runs.claim(scene.db, "w", (0,), 30)
    runs.cancel(scene.db, "d")
    runs.retry(scene.db, "d")
    assert "claims" not in scene.verdict()


# at most one accepted completion a run, by the token that held it


def test_a_second_completion_is_seen(scene):
    run = scene.bench.get("c")
    scene.set("c", state="running", lease={"token": TOKEN, "worker": "w", "expires_at": PAST})
    assert runs.complete(scene.db, "c", TOKEN, scene.bench.store.location("c", TOKEN), {"metrics": run["metrics"]})
    assert scene.verdict()["completions"] == ["c: changed after it was done", "c: completed 2 times"]


def test_a_completion_by_another_than_the_holder_is_seen(scene):
    scene.submit("d")
    held = runs.claim(scene.db, "w", (0,), 30)["lease"]["token"]
    location = scene.bench.store.location("d", TOKEN)
    entry = {"at": PAST, "to": "done", "token": TOKEN}
    done = {"state": "done", "location": location, "outputs": []}
    scene.db.runs.update_one({"_id": "d"}, {"$set": done, "$push": {"history": entry}, "$unset": {"lease": 1}})
    assert scene.verdict()["completions"] == [f"d: completed by {TOKEN} into {location} while {held} held it"]


def test_a_change_after_the_completion_is_seen(scene):
    scene.set("a", priority=7)
    assert scene.verdict() == {"completions": ["a: changed after it was done"]}


# done means that repro-run.json and every output exist with the recorded size and SHA-256;
# no object changed after its first successful write


def test_a_changed_byte_is_seen(scene):
    (scene.folder("b") / "text.txt").chmod(0o644)
    (scene.folder("b") / "text.txt").write_bytes(b"aB")
    found = scene.verdict()
    assert found.keys() == {"folders", "write-once", "written"}
    assert found["folders"][0].startswith(f"b: {scene.folder('b').name}/text.txt is ")
    assert found["write-once"][0].startswith(f"{scene.folder('b').name}/text.txt: was ")


def test_a_change_that_was_undone_is_seen(scene):
    path, seen = scene.folder("b") / "text.txt", scene.history.written
    path.chmod(0o644)
    path.write_bytes(b"??")
    wait_for(lambda: [w for w in seen if w.path.endswith(f"{scene.folder('b').name}/text.txt")][1:])
    path.write_bytes(b"ab")
    found = scene.verdict()
    assert (found.keys(), len(found["write-once"])) == ({"write-once"}, 1)


@pytest.mark.parametrize("name", ["repro-run.json", "repro-log.txt", "repro-config.json"])
def test_a_file_that_is_gone_is_seen(scene, name):
    path = scene.folder("c") / name
    path.unlink()
    found = scene.verdict()
    assert found["folders"][0] == f"c: no {path.parent.name}/{name}"
    assert found["write-once"][0].endswith(" is gone")


def test_a_size_that_is_not_the_recorded_one_is_seen(scene):
    scene.db.runs.update_one({"_id": "c"}, {"$set": {"outputs.0.size": 7}})
    assert len(scene.verdict()["folders"]) == 4  # the object's and the manifest's, before gc and after it


# a dead worker's run was taken over in time, a live worker's never was


def test_a_lease_that_is_taken_too_early_is_seen(scene):
    scene.submit("d")
    held = runs.claim(scene.db, "dead", (0,), 30)["lease"]
    scene.db.runs.update_one({"_id": "d"}, [{"$set": {"lease.expires_at": "$$NOW"}}])
    scene.db.runs.update_one({"_id": "d"}, {"$set": {"lease.expires_at": held["expires_at"]}})
    take(scene, "d")
    assert f"d: {held['token']} was taken before its lease ran out" in scene.verdict()["takeovers"]


def take(scene, name):
    """What `expire` does, without a look at the lease."""
    entry = {"at": {"$literal": datetime.now(UTC)}, "to": "pending", "why": "the worker stopped renewing its lease"}
    history = {"$concatArrays": ["$history", [entry]]}
    scene.db.runs.update_one({"_id": name}, [{"$set": {"state": "pending", "history": history}}, {"$unset": "lease"}])


def test_a_live_workers_run_that_is_taken_is_seen(scene):
    scene.history.lives.append(Life("sleepy", time.monotonic() - 60))
    scene.submit("d")
    token = runs.claim(scene.db, "sleepy", (0,), LEASE)["lease"]["token"]
    wait_for(lambda: runs.expire(scene.db))
    scene.troubles(Trouble(time.monotonic() - 9, time.monotonic() - 5, "the clock jumped", jump=90))
    found = scene.verdict()
    assert found.keys() == {"takeovers"}
    assert [told.startswith(f"d: {token} was taken from sleepy, which was alive") for told in found["takeovers"]] == [
        True
    ]


@pytest.mark.parametrize("why", ["it was stopped", "no server took writes", "the clock jumped"])
def test_a_worker_that_could_not_renew_may_lose_its_run(scene, why):
    life = Life("sleepy", time.monotonic() - 60)
    scene.history.lives.append(life)
    scene.submit("d")
    runs.claim(scene.db, "sleepy", (0,), LEASE)
    began = time.monotonic()
    wait_for(lambda: runs.expire(scene.db))
    if why == "it was stopped":
        life.stops.append((began, time.monotonic()))
    elif why == "no server took writes":
        scene.troubles(Trouble(began, time.monotonic(), why))
    else:
        scene.troubles(Trouble(began + 0.5, began + 0.6, why, jump=90))
    assert scene.verdict() == {}


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_dead_workers_run_that_is_not_taken_over_is_seen(scene, monkeypatch, how):
    monkeypatch.setattr(checker, "GRACE", -2.5)
    scene.submit("d")
    life = Life("gone", time.monotonic())
    scene.history.lives.append(life)
    token = runs.claim(scene.db, "gone", (0,), 60)["lease"]["token"]
    if how == "killed":
        life.ended = time.monotonic()
    else:
        life.stops.append((time.monotonic(), time.monotonic() + 60))
    time.sleep(LEASE)
    scene.troubles()
    assert scene.verdict()["takeovers"][0].startswith(f"d: {token} of gone outlived it by ")


# after gc nothing unreferenced is left


def test_a_folder_that_gc_leaves_behind_is_seen(scene):
    location = scene.bench.store.location("b", TOKEN)
    scene.bench.store.open_attempt(location)
    assert scene.verdict(collect=False) == {"leftovers": [f"b-{TOKEN[:8]}: nothing refers to it"]}


def test_a_folder_that_its_document_has_forgotten_is_seen(scene):
    folder = scene.folder("c").name
    scene.set("c", state="cancelled", location=None)
    assert scene.verdict(collect=False)["leftovers"] == [f"{folder}: nothing refers to it"]


# the bytes equal those of a fault-free run


def test_other_bytes_that_are_recorded_rightly_are_seen(scene):
    calm = objects.final(scene.db, scene.objects)
    other = scene.bench.run("other", "write", text="another text")
    scene.set("c", outputs=other["outputs"], location=other["location"])
    assert sorted(scene.verdict(calm)["bytes"])[:2] == [
        "c: repro-config.json has other bytes",
        "c: text.txt has other bytes",
    ]


def test_other_figures_are_seen(scene):
    calm = objects.final(scene.db, scene.objects)
    scene.set("c", metrics={"length": 2})
    assert scene.verdict(calm)["bytes"] == ["c: metrics is not as in the fault-free run"]


# what the stage wrote is what the store has, byte for byte and name for name


def test_an_output_that_was_dropped_everywhere_is_seen(scene):
    rewrite(scene, "c", [])
    (scene.folder("c") / "text.txt").unlink()
    assert scene.verdict()["written"][0].startswith("c: text.txt is not there, the stage wrote ")


def test_an_output_that_no_stage_wrote_is_seen(scene):
    (scene.folder("c") / "more.txt").write_text("more")
    more = {"path": "more.txt", "size": 4, "sha256": hashlib.sha256(b"more").hexdigest()}
    rewrite(scene, "c", [*scene.bench.get("c")["outputs"], more])
    assert scene.verdict()["written"] == [f"c: more.txt is {more['sha256']}, the stage wrote no such file"]


def test_bytes_that_were_changed_on_the_way_are_seen(scene):
    path = scene.folder("c") / "text.txt"
    path.unlink()
    path.write_bytes(b"cut")
    rewrite(scene, "c", [{"path": "text.txt", "size": 3, "sha256": hashlib.sha256(b"cut").hexdigest()}])
    assert "c: text.txt is " in scene.verdict()["written"][0]


def rewrite(scene, name, outputs):
    """As if the product had delivered these, and recorded them rightly."""
    scene.set(name, outputs=outputs)
    mark = scene.folder(name) / "repro-run.json"
    told = json.loads(mark.read_bytes()) | {"outputs": outputs}
    mark.unlink()
    mark.write_text(json.dumps(told))
