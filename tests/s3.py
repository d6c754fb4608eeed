"""S3 servers for tests: Ceph's gateway, which is a real one, and moto, which is light."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from botocore.session import Session

KEY, SECRET = "testkey", "testsecret"
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
    """A Ceph with one of each daemon, its data in memory; returns it and a function that ends it."""
    port = _free_range(20)
    environment = os.environ | {
        "S3_DIR": str(folder),
        "S3_MON_PORT": str(port),
        "S3_PORT": str(port + 5),
        "S3_OSD_PORT_MIN": str(port + 8),
    }
    done = subprocess.run(["bash", CEPH], env=environment, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"Ceph did not start: {done.stderr[-500:]}")
    return Server("ceph", port + 5, Path(folder)), lambda: subprocess.run(
        ["bash", CEPH, "stop"], env=environment, check=True
    )


def ceph_is_here():
    return shutil.which("radosgw") is not None


def start_moto():
    """moto's server as a process of its own; returns it and a function that ends it."""
    port = _free_range(1)
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not _listens(port):
        assert process.poll() is None, "moto did not start"
        assert time.monotonic() < deadline, "moto does not listen"
        time.sleep(0.05)

    def stop():
        process.kill()
        process.wait()

    return Server("moto", port), stop


def _free_range(count):
    """The first of so many ports that nobody listens at, below those that clients are given."""
    while True:
        first = random.randrange(12_000, 30_000)
        if not any(_listens(port) for port in range(first, first + count)):
            return first


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
