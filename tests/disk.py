"""A small disk of a test's own, that can be full."""

import os
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
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with pytest.raises(OSError, match="No space left"):
                    while True:
                        file.write(bytes(size))

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
