"""Objects as files of a local or shared file system."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from repro.stages import files
from repro.stages.errors import Unreachable
from repro.worker.store import interruption
from repro.worker.store.objects import StoredObject

TRIES = 100  # each loses to another worker's removal at that very moment


class LocalObjects:
    """See `Objects`. Files appear by `os.link`, which is atomic and refuses a name that is taken."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.root = Path(url.removeprefix("file://"))

    def check(self) -> None:
        probe = self.root / f".probe-{secrets.token_hex(8)}"
        with self._usable("written"):
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()

    def local(self, key: str) -> Path:
        return self.root / key

    def open_folder(self, key: str) -> None:
        (self.root / key).mkdir(parents=True)

    def create(self, key: str, data: bytes) -> None:
        path = self.root / key
        for tries_left in reversed(range(TRIES)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                files.create(path, data)
                return
            except FileNotFoundError:  # somebody's `remove` has just taken the empty folder
                if not tries_left:
                    raise

    def upload(self, key: str, path: Path) -> str:
        digest = files.sha256(path, interruption.checker())
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        files.publish(path, target)
        return digest

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with (self.root / key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def download(self, key: str, path: Path, size: int) -> str:
        shutil.copyfile(self.root / key, path)
        return files.sha256(path)

    def listing(self, folder: str) -> list[StoredObject]:
        stored = []
        for parent, _, names in os.walk(self.root / folder):
            for name in names:
                path = Path(parent) / name
                with contextlib.suppress(FileNotFoundError):  # somebody else removed it
                    status = path.lstat()
                    key = path.relative_to(self.root).as_posix()
                    stored.append(StoredObject(key, status.st_size, status.st_mtime))
        return sorted(stored, key=lambda one: one.key)

    def folders(self) -> list[str]:
        with self._usable("read"):
            if not self.root.exists():
                return []
            return sorted(p.name for p in self.root.iterdir() if p.is_dir() and not p.is_symlink())

    def remove(self, key: str) -> None:
        """As elsewhere, folders that are empty then are none."""
        path = self.root / key
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root:
                return
            try:
                files.sync(folder)
                folder.rmdir()
            except OSError:  # something else lies in it, or it is gone
                return

    def remove_folder(self, key: str) -> None:
        if (self.root / key).exists():
            shutil.rmtree(self.root / key)

    def unfinished(self) -> list[StoredObject]:
        return []

    def abort(self, unfinished: Iterable[StoredObject]) -> None:
        pass

    @contextmanager
    def _usable(self, how: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unreachable(f"the store {self.root} can't be {how}: {error.strerror}; see REPRO_STORE") from error
