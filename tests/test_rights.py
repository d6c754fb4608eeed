"""`deploy/`: each role and policy lets its user do its work, and nothing else."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from repro.scheduler import runs
from repro.scheduler.lists import listing
from repro.scheduler.lists.gauges import figures
from repro.scheduler.live import log_pieces, points
from repro.scheduler.queue import submission, workers
from repro.scheduler.server import mongod
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.stages.errors import Unreachable
from repro.stages.source.packing import Packed
from repro.worker.searching import Searcher
from repro.worker.store import code_archives, identity
from repro.worker.store.store import Store
from tests.ports import free_port
from tests.s3 import Server
from tests.scheduler import test_searches as queue
from tests.web.conftest import Site
from tests.web.test_security import ask
from tests.worker.test_store import PART, attempt, put

DEPLOY = Path(__file__).parents[1] / "deploy"
ROLES = ("reproReader", "reproSubmitter", "reproOperator", "reproWorker", "reproMaintainer")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A replica set of one that wants to know who asks; gives a URL with a place for the user's name."""
    folder = tmp_path_factory.mktemp("guarded")
    key = folder / "key"
    key.write_text("a shared secret of the replica set")
    key.chmod(0o600)
    port = free_port()
    options = ["--bind_ip", mongod.HOST, "--replSet", "rs0", "--keyFile", str(key), "--quiet", "--logpath"]
    process = subprocess.Popen(
        [mongod.find(), "--dbpath", str(folder), "--port", str(port), *options, str(folder / "log")],
        stdout=subprocess.DEVNULL,
    )
    try:
        with MongoClient(mongod.HOST, port, directConnection=True, serverSelectionTimeoutMS=60_000) as client:
            members = [{"_id": 0, "host": f"{mongod.HOST}:{port}"}]
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        url = f"mongodb://%s{mongod.HOST}:{port}/repro?replicaSet=rs0&authSource=admin"
        with MongoClient(url.replace("&authSource=admin", "") % "", serverSelectionTimeoutMS=60_000) as client:
            client.admin.command("createUser", "root", pwd="x", roles=["root"])
        with MongoClient(url % "root:x@") as client:
            for role in json.loads((DEPLOY / "mongodb" / "roles.json").read_text()):
                client.repro.command(role)
            for role in ROLES:
                client.admin.command("createUser", role, pwd="x", roles=[{"role": role, "db": "repro"}])
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def users(guarded):
    """Role -> the queue as a user of that role sees it; empty at first, with the indexes."""
    with MongoClient(guarded % "root:x@") as root:
        root.drop_database("repro")
        found = {role: connect(Settings.read({"REPRO_MONGO_URL": guarded % f"{role}:x@"})) for role in ROLES}
        runs.create_indexes(found["reproMaintainer"])
        log_pieces.create_indexes(found["reproMaintainer"])
        points.create_indexes(found["reproMaintainer"])
        yield found
        for db in found.values():
            db.client.close()


def submit(db, name="a"):
    runs.submit(db, [runs.document(name, {"stage": "noop"}, name, [], [])])


def work(db):
    workers.fix_store(db, "file:///s", creates_once=True)
    workers.announce(db, "w", [], 1)
    run = runs.claim(db, "w", [0], 30)
    assert runs.renew(db, run["_id"], run["lease"]["token"], 30)
    log_pieces.append(db, run["lease"]["token"], log_pieces.Piece(0, b"x"))
    points.append(db, run["lease"]["token"], points.Point(1, 2, {"loss": 0.5}))
    assert runs.complete(db, run["_id"], run["lease"]["token"], "file:///s/a", {"outputs": []})
    assert runs.release_children(db, [run["_id"]]) == 0
    with db.runs.watch():
        pass
    workers.depart(db, "w")


def read(db):
    return listing.newest(db), figures(db), list(log_pieces.pieces(db, "t")), list(points.points(db, "t"))


def operate(db):
    runs.hold(db, "a")
    runs.cancel(db, "a")
    runs.retry(db, "a")


def index(db):
    db.runs.create_index("x")


DOES = {"submit": submit, "work": work, "read": read, "operate": operate, "index": index}
MAY = {
    "reproReader": {"read"},
    "reproSubmitter": {"read", "submit"},
    "reproOperator": {"read", "submit", "operate"},
    "reproWorker": {"read", "submit", "work", "operate"},  # an update is an update: the server can't tell them apart
    "reproMaintainer": set(DOES),
}


@pytest.mark.parametrize("deed", DOES)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_its_work_and_nothing_else(users, role, deed):
    if deed != "submit":
        submit(users["reproMaintainer"])
    if deed in MAY[role]:
        DOES[deed](users[role])
    else:
        with pytest.raises(OperationFailure) as refused:
            DOES[deed](users[role])
        assert refused.value.code == 13


@pytest.mark.parametrize("role", ROLES)
def test_nobody_may_delete_a_run_or_drop_anything(users, role):
    submit(users["reproMaintainer"])
    db = users[role]
    for deed in (
        lambda: db.runs.delete_one({}),
        db.runs.drop,
        lambda: db.client.drop_database("repro"),
        db.client.other.runs.find_one,
    ):
        with pytest.raises(OperationFailure):
            deed()


@pytest.mark.parametrize("role", ROLES)
def test_who_may_not_create_indexes_goes_without(users, role):
    runs.create_indexes(users[role])
    log_pieces.create_indexes(users[role])
    points.create_indexes(users[role])


@pytest.fixture(scope="module")
def clients(ceph):
    """Environments of the worker, of gc and of a submitter on a bucket with their policies."""
    bucket = ceph.bucket()
    policies = []
    found = {}
    for name in ("worker", "gc", "submitter"):
        user = ceph.user(name)
        text = (DEPLOY / "s3" / f"{name}-policy.json").read_text().replace("BUCKET", bucket).replace("PREFIX", "runs")
        for statement in json.loads(text)["Statement"]:
            if "Condition" in statement:
                continue  # AWS's own: this Ceph does not know the condition
            policies.append(statement | {"Sid": name + statement["Sid"], "Principal": {"AWS": [user.arn]}})
        found[name] = Server("ceph", ceph.port).environment | user.environment
    policy = {"Version": "2012-10-17", "Statement": policies}
    ceph.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    return bucket, found


@pytest.fixture
def store_of(clients, tmp_path, monkeypatch):
    bucket, environments = clients

    def open_as(name):
        for key, value in environments[name].items():
            monkeypatch.setenv(key, value)
        return Store.open(f"s3://{bucket}/runs", tmp_path / name)

    return open_as


def test_a_worker_may_create_and_read_but_not_delete(store_of, tmp_path):
    store = store_of("worker")
    store.objects.check()
    assert store.probe() is True
    location = attempt(store)
    store.create(location, "repro-config.json", b"{}")
    contents = {"small": b"x", "large": bytes(PART + 1)}
    outputs = store.push(location, put(tmp_path / "out", **contents), list(contents))
    store.create(location, "repro-run.json", b"{}")
    store.pull(outputs, location, tmp_path / "in")
    with pytest.raises(Unreachable, match="access denied"):
        store.remove(location)
    assert len(store.contents(location)) == 4
    with pytest.raises(Unreachable, match="access denied"):
        store.objects.unfinished()

    collector = store_of("gc")
    with pytest.raises(Unreachable, match="access denied"):
        collector.create(location, "more", b"x")
    collector.remove(location)
    assert collector.contents(location) == []
    assert collector.objects.unfinished() == []


def test_who_submits_may_put_code_there_and_touch_no_result(store_of, tmp_path):
    worker = store_of("worker")
    known = identity.of(worker, "queue", None).id
    location = attempt(worker, "other")
    worker.create(location, "repro-config.json", b"{}")
    submitter = store_of("submitter")
    submitter.objects.check()
    identity.check(submitter, known)
    packed = Packed(b"a", hashlib.sha256(b"a").hexdigest(), ("0",))
    assert [code_archives.keep(submitter, packed) for _ in range(2)] == [
        f"{submitter.url}/code/{packed.sha256}.tar.gz"
    ] * 2
    with pytest.raises(Unreachable, match="access denied"):
        submitter.create(location, "more", b"x")
    with pytest.raises(Unreachable, match="access denied"):
        submitter.read(location, "repro-config.json")
    with pytest.raises(Unreachable, match="access denied"):
        submitter.objects.remove(f"code/{packed.sha256}.tar.gz")


def test_a_server_takes_the_lifecycle_rule(ceph):
    bucket = ceph.bucket()
    rule = (DEPLOY / "s3" / "lifecycle.json").read_text().replace("PREFIX", "runs")
    ceph.client().put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=json.loads(rule))
    (found,) = ceph.client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert found["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}
    assert "Expiration" not in found


def test_the_page_offers_nobody_what_mongodb_would_refuse(users, guarded, settings_environment):
    """A reader sees all and is offered nothing; an operator is offered what he may do."""
    submit(users["reproSubmitter"])
    for role, offered in (("reproReader", False), ("reproOperator", True)):
        site = Site(settings_environment | {"REPRO_MONGO_URL": guarded % f"{role}:x@"})
        try:
            for path in ("/", "/runs", "/runs/a", "/runs/a/attempts", "/workers", "/queue"):
                assert ask(site, path).status == 200, (role, path)
            assert (b"confirm" in ask(site, "/runs/a").body) == offered
            headers = {"Sec_Fetch_Site": "same-origin"}
            done = ask(site, "/do", "POST", body=b"verb=hold&names=a", **headers)
            assert done.status == (200 if offered else 403), role
        finally:
            site.stop()
    assert users["reproReader"].runs.find_one({"_id": "a"})["held"] is True


def test_a_search_goes_on_with_the_rights_of_workers_and_begins_with_those_of_a_submitter(users, tmp_path):
    configs = {"data": {"stage": "make_dataset", "images": "*.png"}, "model": {"stage": "train", "source": "data"}}
    configs["digits"] = {"stage": "search", "source": "model", "metric": "accuracy", "trials": 3, "lag": 2}
    configs["digits"] |= {"space_lr": "1e-3..1e-1"}
    for name, config in configs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    worker, submitter = users["reproWorker"], users["reproSubmitter"]
    submission.submit(submitter, [tmp_path / "model.json"])
    queue.finish(worker, "data", "model")
    submission.submit(submitter, [tmp_path / "digits.json"])
    assert worker.runs.count_documents({"search": "digits"}) == 2
    queue.work(worker)
    assert worker.runs.find_one({"_id": "digits"})["state"] == "done"


def test_a_worker_without_the_right_to_insert_says_that_a_search_stands_still(users, tmp_path):
    """As the role was before there were searches."""
    said = []
    console = type("Console", (), {"say": staticmethod(said.append)})()
    searcher = Searcher(users["reproReader"], console)
    for name, config in queue.CHAIN.items():
        queue.write(tmp_path, name, config)
    queue.start(users["reproMaintainer"], tmp_path)
    users["reproMaintainer"].runs.update_one({"_id": "digits"}, {"$unset": {"trials": 1}})
    for _ in range(2):
        searcher.look()
        searcher.wait()
    searcher.close()
    assert len(said) == 1
    assert said[0].startswith("digits: does not go on from here: MongoDB refuses: not authorized on repro")
