"""`docker-compose.yml` on a real engine: the chain, a worker killed while it trains, MongoDB restarted, down and up.

Minutes; `make deploy-test`. The tests follow one another on one stack.
"""

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import fsspec
import pytest
from pymongo.errors import OperationFailure

from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.stages.own_files import OWN_FILES
from repro.tools import digits
from tests.deploy.engine import COMMIT, PYTHON, ROOT, Engine, Unavailable, pull_or_stand_in
from tests.ports import free_range
from tests.processes import environment_of_a_run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
CHAIN = ("data", "augmentation", "model", "evaluate")


class Stack:
    """The compose file in a folder of its own, on an engine of its own."""

    def __init__(self, engine, project):
        self.engine, self.project = engine, project

    def compose(self, *words, **options):
        return self.engine.compose(self.project, *words, **options)

    def container(self, service):
        return self.compose("ps", "--quiet", service).stdout.split()[0]

    def environment(self):
        """What `deploy/environment.sh` tells commands outside of the containers."""
        told = subprocess.run([self.project / "deploy/environment.sh"], capture_output=True, text=True, check=True)
        lines = (line.removeprefix("export ").split("=", 1) for line in told.stdout.splitlines())
        return {name: shlex.split(value)[0] for name, value in lines}

    def database(self):
        return connect(Settings.read(self.environment()))

    def repro(self, *words, timeout=60):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("REPRO_")} | self.environment()
        done = subprocess.run(
            [sys.executable, "-m", "repro", *words],
            cwd=self.project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def outputs(self, name):
        """Path -> SHA-256 of what lies in the bucket."""
        with self.database().client as client:
            run = client.repro.runs.find_one({"_id": name, "state": "done"}, {"location": 1, "outputs": 1})
        environment = self.environment()
        files = fsspec.filesystem(
            "s3",
            key=environment["AWS_ACCESS_KEY_ID"],
            secret=environment["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            skip_instance_cache=True,
        )
        places = {o["path"]: o.get("location") or f"{run['location']}/{o['path']}" for o in run["outputs"]}
        return {path: hashlib.sha256(files.cat_file(place)).hexdigest() for path, place in places.items()}

    def wait_for(self, what, condition, timeout=120):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.2)
        logs = self.compose("logs", "--tail", "30", "--no-color", check=False).stdout
        raise AssertionError(f"not within {timeout} s: {what}\n{logs}")

    def until_trained_a_little(self, name, but=None):
        """The token of an attempt, another one than `but`, that has told some of its curve."""

        def token():
            with self.database().client as client:
                run = client.repro.runs.find_one({"_id": name, "state": "running", "lease.token": {"$ne": but}})
                told = run and client.repro.metrics.count_documents({"token": run["lease"]["token"]})
                return run["lease"]["token"] if told else None

        return self.wait_for(f"{name} to train", token)


@pytest.fixture(scope="module")
def stack():
    folder = Path(tempfile.mkdtemp(prefix="repro-engine-"))
    try:
        engine = Engine.start(folder)
    except Unavailable as why:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(str(why))
    try:
        try:
            print(pull_or_stand_in(engine, folder))
        except (AssertionError, subprocess.CalledProcessError) as error:
            pytest.skip(f"base images can't be had here: {str(error)[-300:]}")
        project = folder / "project"
        for name in checkout():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name, follow_symlinks=False)
        engine.build("repro-queue:cpu", project / "deploy/Dockerfile", project, COMMIT=COMMIT)
        image, base = (size_of(engine, tag) for tag in ("repro-queue:cpu", PYTHON))
        print(f"the image adds {(image - base) / 1e6:.0f} MB to its base")
        yield Stack(engine, project)
    finally:
        engine.stop()


def size_of(engine, image):
    """Bytes, its base included."""
    return int(engine.docker("image", "inspect", "--format", "{{.Size}}", image).stdout)


def checkout():
    """The files that a clone of this tree would have."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Name -> path -> SHA-256, of the chain on this machine, without queue, containers or store."""
    folder = tmp_path_factory.mktemp("alone")
    digits.write(folder / "demo")
    shutil.copytree(ROOT / "configs", folder / "configs")
    environment = environment_of_a_run() | {"REPRO_DATA": str(folder / "demo")}
    for name in CHAIN:
        words = [sys.executable, "-m", "repro", "run", f"configs/{name}.json"]
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
    return {name: sums_below(folder / "runs" / name) for name in CHAIN}


def sums_below(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in OWN_FILES]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_refuses_to_start_without_secrets(stack):
    refused = stack.compose("up", "--detach", check=False)
    assert refused.returncode != 0
    assert "deploy/make-env.sh" in refused.stderr


def test_up(stack):
    subprocess.run([stack.project / "deploy/make-env.sh"], check=True, capture_output=True)
    port = free_range(3)
    with (stack.project / ".env").open("a") as file:
        file.write(f"MONGO_PORT={port}\nS3_PORT={port + 1}\nUI_PORT={port + 2}\n")
    stack.compose("up", "--detach", "--no-build")
    worker = stack.container("worker")
    stack.wait_for("a healthy worker", lambda: health(stack, worker) == "healthy")


def health(stack, container):
    return stack.engine.docker("inspect", "--format", "{{.State.Health.Status}}", container).stdout.strip()


def test_nobody_gets_in_without_a_password(stack):
    environment = stack.environment()
    before, _, after = environment["REPRO_MONGO_URL"].partition("//")
    nobody = Settings.read({"REPRO_MONGO_URL": f"{before}//{after.partition('@')[2]}"})
    with connect(nobody).client as client, pytest.raises(OperationFailure, match="requires authentication"):
        client.repro.runs.find_one()
    endpoint = environment["AWS_ENDPOINT_URL"]
    with pytest.raises(PermissionError):
        fsspec.filesystem("s3", anon=True, endpoint_url=endpoint, skip_instance_cache=True).ls("repro")


def test_a_killed_worker_and_a_restarted_mongodb_change_no_byte(stack, undisturbed):
    submitted = stack.compose("run", "--rm", "submit", "configs/evaluate.json").stdout
    assert "model: submitted" in submitted
    first = stack.until_trained_a_little("model")
    worker = stack.container("worker")
    process = int(stack.engine.docker("inspect", "--format", "{{.State.Pid}}", worker).stdout)
    os.kill(process, signal.SIGKILL)
    stack.until_trained_a_little("model", but=first)
    stack.compose("restart", "mongo")
    stack.repro("wait", "evaluate", timeout=180)
    for name in CHAIN:
        assert stack.outputs(name) == undisturbed[name], name
    with stack.database().client as client:
        model = client.repro.runs.find_one({"_id": "model"})
    assert model["attempts"] == 2
    assert "stopped renewing" in str(model["history"])
    assert model["environment"]["commit"] == COMMIT


def test_a_worker_that_is_stopped_hands_its_run_back(stack):
    stack.repro("submit", "configs/model.json", "--set", "epochs=1000", "--name", "long")
    stack.until_trained_a_little("long")
    stack.compose("stop", "worker")
    with stack.database().client as client:
        run = client.repro.runs.find_one({"_id": "long"})
    assert (run["state"], run["attempts"]) == ("pending", 0)
    assert run["history"][-1]["why"] == "handed back"
    stack.repro("cancel", "long")


def test_down_and_up_lose_nothing(stack, undisturbed):
    stack.compose("down")
    stack.compose("up", "--detach", "--no-build", "--scale", "worker=2")
    assert "model: already submitted, done" in stack.compose("run", "--rm", "submit", "configs/model.json").stdout
    for name in CHAIN:
        assert stack.outputs(name) == undisturbed[name], name


def test_the_demo_ends_with_0(stack):
    done = stack.compose("--profile", "demo", "up", "--no-build", "--exit-code-from", "demo", check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    stack.compose("up", "--detach", "--no-build")
    assert {"predict", "export"} <= set(stack.repro("status", "--state", "done").replace(",", " ").split())


def test_the_page_shows_the_chain_to_who_has_the_token(stack):
    settings = dict(line.split("=", 1) for line in (stack.project / ".env").read_text().splitlines() if "=" in line)
    address = f"http://127.0.0.1:{settings['UI_PORT']}"

    def refused():
        try:
            urllib.request.urlopen(address, timeout=60)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:  # it has only begun to start
            return None
        return "let in without a token"

    assert stack.wait_for("the page to answer", refused) == 401
    for path, said in (("/runs/model", "validation_accuracy"), ("/runs/model/log", 'id="log"'), ("/runs", "augment")):
        asked = urllib.request.Request(
            address + path, headers={"Authorization": f"Bearer {settings['REPRO_UI_TOKEN']}"}
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert said in answer.read().decode(), path


def test_a_stage_of_ones_own_needs_no_image_of_its_own(stack):
    """The example of `docs/`, submitted from a folder that only the one container sees."""
    own = stack.project / "own"
    own.mkdir()
    for file in (ROOT / "docs/examples/texts").glob("*.*"):
        shutil.copy(file, own)
    texts = "import shutil, sysconfig; library = sysconfig.get_path('stdlib')\n"
    texts += "for name in ('asyncio', 'email', 'unittest', 'multiprocessing'):\n"
    texts += "    shutil.copytree(f'{library}/{name}', f'/data/{name}')"
    into = ("--user", "0", "--entrypoint", "python", "--volume", "repro_data:/data")
    stack.engine.docker("run", "--rm", *into, "repro-queue:cpu", "-c", texts)
    words = ("submit", "configs/model.json", "--name", "classifier")
    # Not by --volume: of two volumes for one place docker-compose 1.29 takes now the one, now the other.
    stack.compose("run", "--rm", *words, REPRO_CONFIGS_DIR=str(own))
    shutil.rmtree(own)
    stack.repro("wait", "classifier", timeout=240)
    with stack.database().client as client:
        run = client.repro.runs.find_one({"_id": "classifier"})
    assert run["metrics"]["accuracy"] > 1.4 * run["metrics"]["chance"]
    assert run["code"]["location"].startswith("s3://repro/runs/code/")
    stack.repro("code", "classifier")
    assert (stack.project / "classifier-code/0/classify.py").read_text() == (
        ROOT / "docs/examples/texts/classify.py"
    ).read_text()


def test_a_lost_mongodb_is_rebuilt_from_the_store(stack, undisturbed):
    stack.compose("down")
    stack.engine.docker("volume", "rm", "repro_mongo")
    stack.compose("up", "--detach", "--no-build")
    stack.compose("run", "--rm", "repro", "rebuild", "--check")
    for name in CHAIN:
        assert stack.outputs(name) == undisturbed[name], name


def test_down_with_volumes_leaves_nothing(stack):
    stack.compose("down", "--volumes")
    assert stack.engine.docker("ps", "--all", "--quiet").stdout == ""
    assert stack.engine.docker("volume", "ls", "--quiet").stdout == ""
