"""S3 servers for tests, both real ones: SeaweedFS, which docker-compose.yml names and PyPI carries, and Ceph's gateway,
which needs Debian's packages and root."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from tests.ports import free_range

KEY, SECRET = "testkey", "testsecret"
WEED_PORTS = 8
CEPH = Path(__file__).parent / "servers" / "ceph_s3.sh"


@dataclass(frozen=True)
class User:
    """One who owns nothing until a policy lets him."""

    arn: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Server:
    """One that answers at an endpoint on loopback; `folder` is where a Ceph keeps its configuration."""

    kind: str
    port: int
    folder: Path | None = None

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self):
        """How every tool is told of it. Nothing of the user's own AWS settings is read."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, key=KEY, secret=SECRET):
        return Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def user(self, name):
        """Another user of a Ceph."""
        uid = f"{name}-{uuid.uuid4().hex[:6]}"
        command = ["radosgw-admin", "-c", self.folder / "ceph.conf", "-n", "client.rgw", "user", "create"]
        options = [f"--uid={uid}", f"--display-name={name}", f"--access-key={uid}", f"--secret-key=secret-of-{uid}"]
        subprocess.run([*command, *options], check=True, capture_output=True, timeout=60)
        keys = {"AWS_ACCESS_KEY_ID": uid, "AWS_SECRET_ACCESS_KEY": f"secret-of-{uid}"}
        return User(f"arn:aws:iam:::user/{uid}", keys)

    def bucket(self):
        """A fresh one."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name


def start_ceph(folder):
    """A Ceph with one of each daemon, its data in memory; returns the port of its gateway."""
    folder.mkdir(parents=True)
    first = free_range(20)
    ports = {"S3_MON_PORT": first, "S3_PORT": first + 5, "S3_OSD_PORT_MIN": first + 8}
    done = _ceph(folder, **{name: str(port) for name, port in ports.items()})
    if done.returncode:
        raise RuntimeError(f"Ceph did not start: {done.stderr[-500:]}")
    return first + 5


def stop_ceph(folder, port):
    _ceph(folder, "stop", S3_PORT=str(port)).check_returncode()


def _ceph(folder, *words, **variables):
    environment = os.environ | {"S3_DIR": str(folder)} | variables
    command = ["bash", CEPH, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def ceph_is_here():
    return shutil.which("radosgw") is not None


def start_seaweedfs(folder):
    """A SeaweedFS with one of each of its servers; returns the port at which it speaks S3."""
    port = free_range(WEED_PORTS)
    (folder / "data").mkdir(parents=True)
    # Each bucket has volumes of its own, seven at once by default: a few tests would use up all that there are.
    (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
    keys = [{"accessKey": KEY, "secretKey": SECRET}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    (folder / "s3.json").write_text(
        json.dumps({"identities": [{"name": "tests", "credentials": keys, "actions": actions}]})
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_weed(folder, port), cwd=folder, stdout=log, stderr=log, start_new_session=True)
    threading.Thread(target=process.wait, name="weed-reaper", daemon=True).start()
    deadline = time.monotonic() + 120
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"SeaweedFS did not start: {(folder / 'log').read_text()[-500:]}")
        time.sleep(0.05)

    return port


def stop_seaweedfs(port):
    """Whichever process has started it."""
    (process,) = [p for p in psutil.process_iter(["cmdline"]) if f"-s3.port={port}" in (p.info["cmdline"] or ())]
    process.kill()
    process.wait()
    for place in Path("/tmp").glob("seaweedfs-*.sock"):  # it puts them nowhere else
        if int(place.stem.rpartition("-")[2]) in range(port, port + WEED_PORTS):
            place.unlink()


def _weed(folder, port):
    """Its command: on loopback alone, its gRPC ports among ours, without catalogs and telemetry."""
    weed = Path(sys.executable).with_name("weed")
    ports = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    named = [f"-{name}={port + i}" for i, name in enumerate((*ports, "filer.port", "filer.port.grpc"))]
    off = ("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false")
    where = (f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1")
    return [weed, "server", *where, "-s3", f"-s3.config={folder / 's3.json'}", "-volume.max=2000", *named, *off]


def _answers(port):
    """Whether it takes a request, which it does some seconds after it listens."""
    try:
        Server("", port).client().list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True
