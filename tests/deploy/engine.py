"""A Docker engine of the tests' own, beside whatever this machine has, and the images that it starts from.

Needs root and `.ci/packages.engine`. Where a registry answers, the base images are the real ones. Where none does,
stand-ins take their tags: `docker-compose.yml` and `deploy/Dockerfile` are used as they are either way.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from repro.scheduler.server import mongod

ROOT = Path(__file__).parents[2]
STANDINS = Path(__file__).parent / "standins"
PYTHON = "python:3.11-slim-bookworm"
COMMIT = "c0ffee" * 6 + "c0ff"  # what the image is told that it was built from
PROGRAMS = ("dockerd", "docker-compose", "debootstrap", "iptables")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "repro-queue" / "bookworm.tar"


class Unavailable(Exception):
    """No engine can be started here, and why."""


@dataclass
class Engine:
    """`folder` holds its socket, its log and all its data."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, folder):
        if os.geteuid() != 0:
            raise Unavailable("a Docker engine needs root")
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            raise Unavailable(f"no {', '.join(missing)}: apt-get install what .ci/packages.engine lists")
        options = ["--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"]
        # It shares this machine with others: no bridge but those of its networks, no setting of the kernel, and no
        # rule of the firewall, unless one is up that would keep containers from each other.
        options += ["--bridge=none", "--ip-forward=false", f"--iptables={str(_is_firewalled()).lower()}"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["dockerd", "-H", f"unix://{folder}/sock", *options], stdout=log, stderr=log, start_new_session=True
            )
        engine = cls(folder, process)
        deadline = time.monotonic() + 60
        while engine.docker("version", check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                engine.stop()
                last = (folder / "log").read_text().splitlines()[-1:]
                raise Unavailable(f"dockerd does not start here: {''.join(last)[:300]}")
            time.sleep(0.2)
        return engine

    def stop(self):
        """End it and everything in it."""
        for name in self.docker("ps", "--all", "--quiet", check=False).stdout.split():
            self.docker("rm", "--force", "--volumes", name, check=False)
        self.docker("network", "prune", "--force", check=False)
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        self.process.wait()
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=False)

    def environment(self, **more):
        return os.environ | {"DOCKER_HOST": f"unix://{self.folder}/sock", "DOCKER_BUILDKIT": "1"} | more

    def docker(self, *words, check=True, timeout=600, **options):
        return self._call(_docker(), *words, check=check, timeout=timeout, **options)

    def build(self, tag, file, context, **arguments):
        options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        # On the host's network, for where only the host's name service knows where packages are.
        return self.docker("build", "--quiet", "--network", "host", "-f", file, *options, "-t", tag, context)

    def compose(self, project, *words, check=True, timeout=300, **environment):
        more = {"check": check, "timeout": timeout, "cwd": project, "env": self.environment(**environment)}
        return self._call("docker-compose", "-p", "repro", *words, **more)

    def _call(self, *words, check, **options):
        options = {"env": self.environment()} | options
        done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
        if check and done.returncode:
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done


def _is_firewalled():
    rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout
    return "-P FORWARD DROP" in rules


def _docker():
    """The client that came with the engine, if there is a newer one without its builder on the PATH, too."""
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"


def images():
    """The images that the compose file takes from a registry."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return {name: services[name]["image"] for name in ("mongo", "s3")}


def pull_or_stand_in(engine, folder):
    """Have every base image; returns what was done, in words."""
    wanted = [PYTHON, *images().values()]
    if all(engine.docker("pull", "--quiet", image, check=False).returncode == 0 for image in wanted):
        return "real base images"
    _import_python(engine, folder)
    context = folder / "context"
    shutil.copytree(STANDINS, context)
    shutil.copy(Path(sys.executable).with_name("weed"), context)
    shutil.copy(mongod.find(), context / "mongod")
    engine.build(images()["mongo"], context / "mongo.Dockerfile", context)
    engine.build(images()["s3"], context / "seaweedfs.Dockerfile", context)
    return "stand-ins for the base images, as no registry answers"


def _import_python(engine, folder):
    """A Debian with Python in place of Docker's official one, which knows where this machine's pip finds packages."""
    if not CACHE.exists():
        _bootstrap(folder)
    root = folder / "root"
    root.mkdir()
    subprocess.run(["tar", "-x", "-f", CACHE, "-C", root], check=True)
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    settings = ["[global]", "retries = 0"]
    if certificate := os.environ.get("PIP_CERT"):
        shutil.copy(certificate, root / "etc/ssl/certs/of-the-host.crt")
        settings.append("cert = /etc/ssl/certs/of-the-host.crt")
    if wheels := os.environ.get("PIP_FIND_LINKS"):
        shutil.copytree(wheels, root / "wheels")
        settings.append("find-links = /wheels")
    (root / "etc/pip.conf").write_text("\n".join(settings) + "\n")
    with subprocess.Popen(["tar", "-c", "-C", root, "."], stdout=subprocess.PIPE) as tar:
        engine.docker("import", "-", PYTHON, stdin=tar.stdout)
    shutil.rmtree(root)


def _bootstrap(folder):
    made, part = folder / "bookworm", CACHE.with_suffix(".part")
    command = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm", made]
    subprocess.run([*command, "http://deb.debian.org/debian"], check=True, stdout=subprocess.DEVNULL)
    for useless in (*(made / "var/cache/apt/archives").glob("*.deb"), *(made / "var/lib/apt/lists").glob("*_*")):
        useless.unlink()
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-c", "-f", part, "-C", made, "."], check=True)
    part.rename(CACHE)
    shutil.rmtree(made)
