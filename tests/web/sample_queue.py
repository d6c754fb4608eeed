"""A queue with a run in every state, and with whatever users and their code may have written into it."""

from repro.scheduler import runs
from repro.scheduler.queue import workers
from repro.scheduler.settings import Settings
from repro.stages.plain import clean
from repro.worker.store.store import Store

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[31m\x00\u202e=cmd|'/c calc'!A0"
FILES = {
    "losses.csv": b"epoch,train_loss,validation_loss\n" + b"".join(b"%d,%f,nan\n" % (i, 1 / i) for i in range(1, 40)),
    "page.html": b"<script>alert(3)</script>",
    "notes.txt": b"<script>alert(4)</script>",
    "picture.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(5)'/>",
    "a b/%2e%2e/c.json": b"{}",
    "dot.png": bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8d"
        "b00000000049454e44ae426082"
    ),
    "weights.bin": bytes(range(256)) * 5000,
}


def store_of(environment):
    settings = Settings.read(environment)
    return Store.open(settings.store, settings.home)


def submit(db, name, config=None, **options):
    config = {"stage": "train"} | (config or {})
    sources = options.pop("sources", [])
    waiting = options.pop("waiting_for", sources)
    runs.submit(db, [runs.document(name, config, f"{name:0<64}".encode().hex()[:64], sources, waiting, **options)])


def claim(db):
    return runs.claim(db, "box:1", [0, 1], 600)["lease"]["token"]


def finish(db, store, folder, name, **result):
    """Claim the run and complete it with the files."""
    token = claim(db)
    location = store.location(name, token)
    store.open_attempt(location)
    for path, data in FILES.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_bytes(data)
    outputs = store.push(location, folder / name, FILES)
    store.create(location, "repro-log.txt", f"begun\n\x1b[31mred\x1b[0m and 1%\r50%\r100%\n{EVIL}\nended\n".encode())
    assert runs.complete(db, name, token, location, {"outputs": outputs, "params": {}, "environment": {}} | result)


def fill(db, environment, folder):
    """Runs: `model` and `modela` done, `evil` done, `broken` failed, `running`, `child` waiting, `big`, `held`."""
    runs.create_indexes(db)
    store = store_of(environment)
    store.objects.check()
    workers.fix_store(db, store.url, True)
    workers.announce(db, "box:1", ["GPU-a"], 1, numbers=[0], code="ab12")
    for name, lr, accuracy in (("model", 0.1, 0.9), ("modela", 0.01, 0.95)):
        submit(db, name, {"lr": lr, "epochs": 5}, tags=["sweep"], priority=9)
        params = {"lr": {"value": lr, "default": False}, "momentum": {"value": 0.9, "default": True}}
        finish(db, store, folder, name, metrics={"accuracy": accuracy, "loss": float("nan")}, params=params)
    submit(db, "evil", {"note": EVIL, "stage": "train"}, tags=[EVIL], submitted_by=EVIL, priority=8)
    metrics = {clean(EVIL): 1.0, "text": EVIL, "a": "=1+1"}
    finish(db, store, folder, "evil", metrics=metrics, unread=["note"], environment={"undeclared": {"files": [EVIL]}})
    submit(db, "broken", priority=7)
    runs.fail(db, "broken", claim(db), {"type": "ValueError", "message": EVIL, "log_tail": [EVIL]})
    submit(db, "running", {"gpus": 1, "epochs": 9}, priority=6)
    progress = {"step": 30, "total": 40, "metrics": {"loss": 0.5}}
    assert runs.renew(db, "running", claim(db), 600, {"progress": progress, "cards": ["GPU-a"]})
    submit(db, "big", {"gpus": 4})
    submit(db, "held", held=True)
    submit(db, "child", sources=["running"])
    submit(db, "grandchild", sources=["model"], waiting_for=[])
