"""`repro doctor`: what each check finds, that one which breaks stops no other, and that nothing is left behind."""

import json
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from repro.scheduler import runs
from repro.scheduler.queue import doctor_mongodb as mongo
from repro.scheduler.queue import doctor_report, workers
from repro.scheduler.server import mongod
from repro.scheduler.settings import Settings
from repro.stages.errors import Unreachable
from repro.worker.audit import doctor_machine as machine

EVERY = ("find", "insert", "update", "remove", "createIndex", "changeStream")


@pytest.fixture
def doctor(cli):
    """The checks by name, and the exit code."""

    def call(**environment):
        done = cli(sys.executable, "-m", "repro", "doctor", "--json", **environment)
        assert "Traceback" not in done.stderr
        found = json.loads(done.stdout)
        assert all(bool(check["advice"]) == (check["state"] != "ok") for check in found), found
        return {check["name"]: check for check in found}, done.returncode

    return call


def states(found, state):
    return {name for name, check in found.items() if check["state"] == state}


def test_all_is_well_and_nothing_is_left_behind(doctor, database, settings_environment):
    runs.create_indexes(database)
    found, code = doctor(REPRO_COMMIT="abc")
    assert code == 0
    assert not states(found, "error")
    assert {"replica set", "majority write", "clock", "indexes", "store", "work folder", "code"} <= states(found, "ok")
    assert "abc, clean" in found["code"]["found"]
    assert list(database.settings.find()) == []
    for folder in ("REPRO_STORE", "REPRO_HOME"):
        assert [path for path in Path(settings_environment[folder]).rglob("*") if path.name != "work"] == []


def test_a_card_of_two_workers(doctor, database):
    workers.announce(database, "box:1", ["GPU-a", "GPU-b"], 1)
    assert doctor()[0]["cards"]["state"] == "ok"
    workers.announce(database, "box:2", ["GPU-b"], 1)
    found = doctor()[0]["cards"]
    assert (found["state"], found["found"]) == ("warning", "a card is used by two workers: GPU-b by box:1 and box:2")


def test_one_plain_line_a_check_in_a_pipe(cli):
    done = cli(sys.executable, "-m", "repro", "doctor")
    lines = done.stdout.splitlines()
    assert all(line.split(maxsplit=1)[0] in ("ok", "warning", "error") for line in lines)
    assert any(line.startswith("ok       clock: the server's is ") for line in lines)
    assert all(" -> " in line for line in lines if not line.startswith("ok"))
    assert "\x1b" not in done.stdout
    assert " ok" in done.stderr


def test_without_mongodb_the_other_checks_still_run(doctor):
    began = time.monotonic()
    found, code = doctor(REPRO_MONGO_URL="mongodb://user:secret@127.0.0.1:1/repro")
    assert time.monotonic() - began < 100  # it took 3.7 s on a machine with nothing else to do
    assert code == 3
    assert states(found, "error") == {"MongoDB"}
    assert "127.0.0.1:1 can't be reached" in found["MongoDB"]["found"]
    assert found["MongoDB"]["advice"] == "see REPRO_MONGO_URL"
    assert {"store", "Python"} <= states(found, "ok")
    assert "secret" not in str(found)


def test_a_store_that_can_not_be_written(doctor, tmp_path):
    (tmp_path / "file").write_text("")
    found, code = doctor(REPRO_STORE=str(tmp_path / "file"))
    assert code == 1
    assert states(found, "error") == {"store"}
    assert "can't be written" in found["store"]["found"]
    assert "REPRO_STORE" in found["store"]["advice"]


def test_another_store_than_the_queue_has_fixed(doctor, database, settings_environment):
    database.settings.insert_one({"_id": "store", "url": "file:///elsewhere"})
    found, code = doctor()
    assert code == 1
    assert states(found, "error") == {"store root"}
    assert found["store root"]["advice"] == "set REPRO_STORE=file:///elsewhere"
    here = Settings.read(settings_environment).store
    database.settings.update_one({"_id": "store"}, {"$set": {"url": here}})
    assert doctor()[0]["store root"]["found"] == f"{here}, as the queue has it"


def test_a_home_that_can_not_be_used(doctor, tmp_path):
    (tmp_path / "file").write_text("")
    found, code = doctor(REPRO_HOME=str(tmp_path / "file"))
    assert code == 1
    assert states(found, "error") == {"work folder"}


def test_missing_and_other_indexes(doctor, database):
    database.runs.create_index([("fingerprint", 1)], name="fingerprint")
    assert "missing: claim" in doctor()[0]["indexes"]["found"]
    database.runs.drop_indexes()
    database.runs.create_index([("state", 1)], name="claim")
    found, code = doctor()
    assert (found["indexes"]["state"], code) == ("error", 1)
    assert "otherwise" in found["indexes"]["found"]


def test_it_loads_no_torch(settings_environment, database):
    code = "import sys; from repro.cli import run; run(['doctor']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=settings_environment, check=False).returncode == 0


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, mongo_server):
    """A standalone mongod that asks who is there: `host:port`, with the users root, worker and submitter."""
    with socket.socket() as probe:
        probe.bind((mongod.HOST, 0))
        port = probe.getsockname()[1]
    data = tmp_path_factory.mktemp("guarded")
    options = ["--auth", "--bind_ip", mongod.HOST, "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    try:
        program = mongod.find()
    except Unreachable as error:
        pytest.skip(str(error))
    process = subprocess.Popen(
        [program, "--dbpath", str(data), "--port", str(port), *options], stdout=subprocess.DEVNULL
    )
    try:
        with MongoClient(mongod.HOST, port, serverSelectionTimeoutMS=30_000) as client:
            client.admin.command("createUser", "root", pwd="x", roles=["root"])
        with MongoClient(mongod.HOST, port, username="root", password="x") as client:
            on_runs = [{"resource": {"db": "q", "collection": "runs"}, "actions": ["find", "insert", "createIndex"]}]
            client.q.command("createRole", "submits", privileges=on_runs, roles=[])
            client.admin.command("createUser", "submitter", pwd="x", roles=[{"role": "submits", "db": "q"}])
            client.admin.command("createUser", "worker", pwd="x", roles=[{"role": "readWrite", "db": "q"}])
        yield f"{mongod.HOST}:{port}"
    finally:
        process.terminate()
        process.wait()


def test_a_standalone_server_with_a_user_who_may_do_all(doctor, guarded):
    found, code = doctor(REPRO_MONGO_URL=f"mongodb://worker:x@{guarded}/q?authSource=admin")
    assert code == 0
    assert found["replica set"]["state"] == "warning"
    assert "no change streams" in found["replica set"]["found"]
    assert found["roles"]["found"] == "worker may do all that submit and worker need"
    assert "majority write" in states(found, "ok")


def test_a_user_who_may_submit_only_and_one_who_is_nobody(doctor, guarded):
    found, code = doctor(REPRO_MONGO_URL=f"mongodb://submitter:x@{guarded}/q?authSource=admin")
    assert found["roles"]["state"] == "warning"
    assert "submitter may not: update runs (for worker)" in found["roles"]["found"]
    assert (found["indexes"]["state"], found["majority write"]["state"]) == ("warning", "warning")
    assert code == 0
    found, code = doctor(REPRO_MONGO_URL=f"mongodb://{guarded}/q")
    assert code == 1
    assert states(found, "error") == {"roles"}
    assert "USER:PASSWORD" in found["roles"]["advice"]


@pytest.mark.parametrize(
    ("check", "state", "text"),
    [
        (mongo.judge_clock(0.9, 0.01), "ok", "0.900 s ahead of"),
        (mongo.judge_clock(-1.5, 0.01), "warning", "1.500 s behind"),
        (mongo.judge_clock(90.0, 0.01), "warning", "90.000 s ahead of"),
        (mongo.judge_version("6.0.5", "h", date(2025, 7, 31)), "ok", "6.0.5 at h"),
        (mongo.judge_version("6.0.5", "h", date(2025, 8, 1)), "warning", "end of life since 2025-07-31"),
        (mongo.judge_version("4.4.9", "h", date(2025, 8, 1)), "warning", "past its end of life"),
        (mongo.judge_version("10.0.0", "h", date(2025, 8, 1)), "ok", "10.0.0"),
        (mongo.judge_open_door(["127.0.0.1"]), "ok", "this machine"),
        (mongo.judge_open_door(["127.0.0.1", "db"]), "warning", "whoever"),
        (machine.judge_disk("disk", Path("/"), 6 * 10**9, 10**11), "ok", "6.0 of 100.0 GB"),
        (machine.judge_disk("disk", Path("/"), 4 * 10**9, 10**10), "warning", "4.0 of"),
        (machine.judge_disk("disk", Path("/"), 6 * 10**9, 10**12), "warning", "6.0 of"),
        (machine.judge_no_driver("", 0), "ok", "none"),
        (machine.judge_no_driver("", 2), "warning", "2 NVIDIA cards"),
        (machine.judge_no_driver("Driver/library version mismatch", 1), "warning", "mismatch"),
        (machine.judge_cards([], 0, "550"), "warning", "no card"),
        (machine.judge_cards(["A", "A"], 2, "550"), "ok", "2 (A), driver 550"),
        (machine.judge_cards(["A", "A"], 1, "550"), "ok", "1 visible"),
        (machine.judge_cards(["A"], 0, "550"), "warning", "0 visible"),
        (machine.judge_torch({"torch": "2", "cuda": None, "cards": 0}, 1), "error", "1 card is here"),
        (machine.judge_torch({"torch": "2", "cuda": "13.0", "cards": 0}, 2), "error", "it sees 0 of 2"),
        (
            machine.judge_torch({"torch": "2", "cuda": "13.0", "cards": 1, "error": "no kernel"}, 1),
            "error",
            "no kernel",
        ),
        (machine.judge_torch({"torch": "2", "cuda": "13.0", "cards": 1}, 1), "ok", "computes on 1"),
    ],
)
def test_what_is_made_of_a_finding(check, state, text):
    assert check.state == state
    assert text in check.found
    assert bool(check.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("on", "actions", "state"),
    [
        ({"db": "q", "collection": ""}, EVERY, "ok"),
        ({"db": "", "collection": ""}, EVERY, "ok"),
        ({"anyResource": True}, ("anyAction",), "ok"),
        ({"db": "q", "collection": ""}, EVERY[:-1], "warning"),
        ({"db": "q", "collection": "runs"}, EVERY, "warning"),
        ({"db": "q", "collection": ""}, ("find", "createIndex"), "error"),
        ({"db": "q", "collection": ""}, ("insert", "update", "remove", "createIndex"), "error"),
        ({"db": "other", "collection": ""}, EVERY, "error"),
        ({"cluster": True}, EVERY, "error"),
    ],
)
def test_what_privileges_are_enough_for(on, actions, state):
    assert mongo.judge_roles("me", [{"resource": on, "actions": list(actions)}], "q").state == state


def test_a_check_that_breaks_is_an_error_line():
    def breaks(error):
        raise error

    found = doctor_report.attempt("this", breaks, ZeroDivisionError("by\nzero"))
    assert (found.name, found.state, found.found) == ("this", "error", "ZeroDivisionError: by zero")
    found = doctor_report.attempt("this", breaks, AutoReconnect("it hung up"))
    assert found.found == "MongoDB can't be reached: it hung up"


def test_a_store_that_replaces_is_found_out(tmp_path, monkeypatch):
    """As some network file systems do."""

    def replaces(path, data):
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr("repro.stages.files.create", replaces)
    settings = Settings.read({"REPRO_STORE": str(tmp_path / "store"), "REPRO_HOME": str(tmp_path / "home")})
    found = machine.store(settings)
    assert found.state == "warning"
    assert "lets a second create replace the first" in found.found
    assert list((tmp_path / "store").iterdir()) == []


def test_torch_is_asked_in_a_process_of_its_own():
    """A CPU build where a card is; with a CUDA build there is none here that could be seen."""
    found = machine.torch_on_cards(1000)
    assert found.state == "error"
    assert "torch 2" in found.found
