"""A small disk of a test's own, that can be full."""

import contextlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    def __init__(self, folder):
        self.folder = folder
        self._ballast = folder / ".ballast"

    def fill(self):
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):  # others write, too
            while free := shutil.disk_usage(self.folder).free:
                file.write(bytes(min(free, 1 << 20)))

    def relieve(self):
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int):
    """Mount one, which needs root: without it tests skip on a laptop and fail in CI."""
    if os.geteuid() != 0 and os.environ.get("CI") != "true":
        pytest.skip("a small disk can be mounted by root only")
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "repro-test", folder], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
