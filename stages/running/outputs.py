"""What of a run's folder becomes its outputs: decided here alone, with a queue or without.

Regular files do, as the bytes that they are. A link becomes what it leads to: a file of an input is passed on, as
`Run.link` does, and any other is copied. Whatever a store can't keep is refused by name. Nothing outside the folder is
touched, and no file there that has another name elsewhere.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repro.stages import files
from repro.stages.errors import StageError
from repro.stages.own_files import CHECKPOINTS, OWN_FILES
from repro.stages.plain import shown

LONGEST = 900  # bytes of a name with its folders: S3 holds 1,024, those of the store's own folders among them
MOST_LINKED = 100_000  # files reached through links to folders: more come of a circle, or of a bomb
KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}

Link = tuple[str, str]  # source, and the name of the file among its outputs


@dataclass
class Outputs:
    """What was found.

    Attributes:
        files: names of regular files of the run's own, sorted.
        links: name -> the file of an input that was passed on.
        empty: folders with nothing in them, which no store keeps.
    """

    files: list[str] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)


def collect(out: Path, inputs: Mapping[str, Path], links: Mapping[str, Link], own: tuple[str, ...] = ()) -> Outputs:
    """Look through a run's folder once its process has ended; links are replaced by what they lead to.

    Args:
        links: what `Run.link` has noted.
        own: the run's own files that lie in this folder.

    Raises:
        StageError: the folder is gone, or something in it can't be an output; it names it.
    """
    if not out.is_dir() or out.is_symlink():
        raise StageError("the run's folder is gone: the stage has removed or replaced it, and its outputs with it")
    return _Walk(out, inputs, links, own).outputs()


def whole_files(out: Path) -> list[str]:
    """The regular files of a folder that an attempt has left, for people to read; all else is passed over."""
    names = []
    for parent, _, found in os.walk(out):
        for name in found:
            path = Path(parent, name)
            relative = path.relative_to(out).as_posix()
            status = path.lstat()
            readable = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and _is_readable(path)
            if readable and not _why_unfit(relative) and relative not in OWN_FILES:
                names.append(relative)
    return sorted(names)


def _is_readable(path: Path) -> bool:
    """Tried, since `access` asks for the real user: wrong for one with capabilities, and on shares that map users."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _why_unfit(name: str) -> str:
    """Why a store can't keep a file of this name; empty if it can."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "its name holds a control character, such as a newline"
    return f"its name is longer than {LONGEST} bytes" if len(encoded) > LONGEST else ""


class _Walk:
    def __init__(self, out: Path, inputs: Mapping[str, Path], links: Mapping[str, Link], own: tuple[str, ...]) -> None:
        self.out, self.inputs, self.noted, self.own = out, inputs, links, own
        self.real = Path(os.path.realpath(out))
        self.linked = 0
        self._of_inputs: dict[tuple[int, int], Link] | None = None

    def outputs(self) -> Outputs:
        found = Outputs()
        waiting = [self.out]
        while waiting:
            folder = waiting.pop()
            entries = self._entries(folder)
            if not entries and folder != self.out:
                found.empty.append(folder.relative_to(self.out).as_posix())
            for entry in entries:
                path = folder / entry.name
                name = path.relative_to(self.out).as_posix()
                if name in self.own:
                    continue
                self._check_name(name)
                if entry.is_symlink():
                    self._resolve(path, name, found)
                if name in found.links:
                    continue
                if path.is_dir():
                    waiting.append(path)
                else:
                    self._take(path, name, found)
        found.files.sort()
        found.empty.sort()
        return found

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise self._refused(folder.relative_to(self.out).as_posix(), f"can't be read: {error.strerror}") from None

    def _check_name(self, name: str) -> None:
        if why := _why_unfit(name):
            raise self._refused(name, why)
        if name in (*OWN_FILES, CHECKPOINTS):
            raise self._refused(name, "this name is the run's own; take another one")

    def _take(self, path: Path, name: str, found: Outputs) -> None:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise self._refused(name, f"is {KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}, no file")
        if not _is_readable(path):
            raise self._refused(name, f"can't be read: its mode is {stat.S_IMODE(status.st_mode):o}")
        if status.st_nlink > 1:
            if link := self._of_input(status, name):
                found.links[name] = link
                return
            _replace_by_copy(path, path)  # its other name may be anybody's
        found.files.append(name)

    def _resolve(self, path: Path, name: str, found: Outputs) -> None:
        """Put in the place of a link what it leads to: a file, or a folder of links to what that holds."""
        try:
            target = Path(os.path.realpath(path, strict=True))
            status = target.stat()
        except OSError as error:
            what = "a link to nothing" if isinstance(error, FileNotFoundError) else f"a link that {error.strerror}"
            raise self._refused(name, f"is {what}: {shown(str(path.readlink()))}") from None
        if stat.S_ISREG(status.st_mode):
            if not _is_readable(target):
                raise self._refused(name, "is a link to a file that can't be read")
            if link := self._of_input(status, name):
                found.links[name] = link
                path.unlink()
                files.pass_on(target, path)
            else:
                _replace_by_copy(target, path)
        elif stat.S_ISDIR(status.st_mode):
            self._open_folder(path, name, target)
        else:
            raise self._refused(name, f"is a link to {KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}")

    def _open_folder(self, path: Path, name: str, target: Path) -> None:
        place = Path(os.path.realpath(path.parent)) / path.name
        if place.is_relative_to(target):
            raise self._refused(name, "is a link to a folder that it lies in: a circle")
        inside = (self.real, *(Path(os.path.realpath(folder)) for folder in self.inputs.values()))
        if not any(target.is_relative_to(folder) for folder in inside):
            raise self._refused(name, "is a link to a folder outside the run's own; copy what belongs to the result")
        held = os.listdir(target)  # noqa: PTH208
        self.linked += len(held)
        if self.linked > MOST_LINKED:
            raise self._refused(name, f"through links to folders more than {MOST_LINKED} files would be copied")
        path.unlink()
        path.mkdir()
        for inner in held:
            (path / inner).symlink_to(target / inner)

    def _of_input(self, status: os.stat_result, name: str) -> Link | None:
        """The file of an input that this is another name of, if there is one."""
        if noted := self.noted.get(name):
            source, inner = noted
            if os.path.samestat(status, (self.inputs[source] / inner).stat()):
                return noted
        if self._of_inputs is None:
            self._of_inputs = dict(reversed(list(self._all_of_inputs())))
        return self._of_inputs.get((status.st_dev, status.st_ino))

    def _all_of_inputs(self) -> Iterator[tuple[tuple[int, int], Link]]:
        for source, folder in self.inputs.items():
            for inner in files.below(folder):
                if inner not in OWN_FILES:
                    status = (folder / inner).stat()
                    yield (status.st_dev, status.st_ino), (source, inner)

    def _refused(self, name: str, why: str) -> StageError:
        return StageError(f"output {shown(name)}: {why}")


def _replace_by_copy(source: Path, path: Path) -> None:
    """Let a name stand for a file of its own with the source's bytes."""
    beside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with source.open("rb") as given, beside.open("xb") as copy:
            shutil.copyfileobj(given, copy, files.CHUNK)
        beside.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
