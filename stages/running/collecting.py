"""What of a run's folder becomes an output: decided here, for runs with a queue and without.

Called when every process of the run has ended. Afterwards the folder holds nothing but plain files of its own and what
was passed on from an input, so that whoever reads it later needs no rule. Nothing outside the folder is changed.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repro.stages import files
from repro.stages.errors import StageError
from repro.stages.run import OWN_FILES, OWN_FOLDER

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
SURROGATE = re.compile(r"[\ud800-\udfff]")  # how Python spells a byte of a name that is no UTF-8
MOST_LINKED = 100_000  # files that links to folders may bring; links to folders of links grow without end

Links = dict[str, tuple[str, str]]  # output -> the source that it comes from, and its path there


@dataclass
class Collector:
    """Goes through a run's folder once.

    Attributes:
        out: the run's folder.
        inputs: source name -> the folder with its files.
        links: what the run has passed on; what links lead to in an input is added.
        own: names in the folder that are the run's own and rightly there.
        empty: folders without any file, which no store keeps.
    """

    out: Path
    inputs: Mapping[str, Path]
    links: Links
    own: Sequence[str] = ()
    empty: list[str] = field(default_factory=list)
    _linked: int = 0
    _unfolded: dict[str, tuple[Path, ...]] = field(default_factory=dict)  # folder -> what it and those above stand for
    _of_inputs: dict[tuple[int, int], tuple[str, str]] | None = None

    def collect(self) -> list[str]:
        """The paths of all outputs, those that are passed on too, sorted.

        Raises:
            StageError: something in the folder can't be an output; it says what, and why.
        """
        if not self.out.is_dir():
            raise StageError("the stage has removed the run's own folder, and with it its outputs")
        found = [name for name in self._below(self.out) if name not in self.own]
        if gone := sorted(self.links.keys() - set(found)):
            raise StageError(f"{_shown(gone[0])}: was passed on from an input and has been removed since")
        return sorted(found)

    def _below(self, folder: Path) -> Iterator[str]:
        """Every file below, links resolved."""
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        if not entries and folder != self.out:
            self.empty.append(self._name(folder))
        for entry in entries:
            path = Path(entry.path)
            self._check_name(path)
            if entry.is_symlink():
                self._resolve(path)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                _check_readable(self._name(path), status.st_mode, 0o500)
                yield from self._below(path)
            else:
                self._check_file(path, status)
                yield self._name(path)

    def _check_name(self, path: Path) -> None:
        name = self._name(path)
        try:
            name.encode()
        except UnicodeEncodeError:
            raise StageError(f"{_shown(name)}: an output's name must be UTF-8; rename it") from None
        if CONTROL.search(name):
            raise StageError(f"{_shown(name)}: an output's name holds no line ends or control characters; rename it")
        if name in (*OWN_FILES, OWN_FOLDER) and name not in self.own:
            raise StageError(f"{name}: is a name of the run's own files ({', '.join(OWN_FILES)}); take another")

    def _check_file(self, path: Path, status: os.stat_result) -> None:
        name = self._name(path)
        if self._is_passed_on(path):
            return
        if not stat.S_ISREG(status.st_mode):
            raise StageError(f"{name}: is {_kind(status.st_mode)}, which can't be an output; remove it")
        _check_readable(name, status.st_mode, 0o400)
        if status.st_nlink > 1 and name not in self.own:  # another name of it may lie elsewhere
            if origin := self._origin(status):
                self.links[name] = origin
            else:
                self._replace(path, path)

    def _is_passed_on(self, path: Path) -> bool:
        """Whether a file is still what `run.link` made of it; the stage may have put one of its own there."""
        name = self._name(path)
        if name in self.links:
            source, of_input = self.links[name]
            if path.exists() and path.samefile(self.inputs[source] / of_input):
                return True
            del self.links[name]
        return False

    def _resolve(self, link: Path) -> None:
        """Put in place of a link what it leads to."""
        name = self._name(link)
        if self._is_passed_on(link):
            return
        try:
            status = link.stat()
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            why = "which is not there" if missing else f"which can't be read: {error.strerror}"
            raise StageError(f"{name}: is a link to {_shown(str(link.readlink()))}, {why}") from None
        if stat.S_ISDIR(status.st_mode):
            self._unfold(link, status)
        elif not stat.S_ISREG(status.st_mode):
            raise StageError(f"{name}: is a link to {_kind(status.st_mode)}, which can't be an output; remove it")
        elif origin := self._origin(status):
            target = link.resolve()
            link.unlink()
            files.pass_on(target, link)
            self.links[name] = origin
        else:
            self._replace(link, link.resolve())

    def _unfold(self, link: Path, status: os.stat_result) -> None:
        """Put in place of a link to a folder a folder of links, which are resolved next."""
        name, target = self._name(link), link.resolve()
        if link.parent.resolve().is_relative_to(target) or target in self._unfolded.get(self._name(link.parent), ()):
            raise StageError(f"{name}: is a link to a folder that it lies in itself; remove it")
        _check_readable(name, status.st_mode, 0o500)
        try:
            inside = sorted(child.name for child in target.iterdir())
        except OSError as error:
            where = _shown(str(target))
            raise StageError(f"{name}: is a link to {where}, which can't be read: {error.strerror}") from None
        self._linked += len(inside)
        if self._linked > MOST_LINKED:
            raise StageError(f"{name}: links to folders bring more than {MOST_LINKED:,} files; pack them into one")
        self._unfolded[name] = (*self._unfolded.get(self._name(link.parent), ()), target)
        link.unlink()
        link.mkdir()
        for child in inside:  # folders among them are links, too, so nothing of the stage's is walked through
            (link / child).symlink_to(target / child)

    def _replace(self, path: Path, target: Path) -> None:
        """Put a copy of a file's bytes in place of a link to it, symbolic or hard."""
        beside = path.with_name(f".{os.urandom(8).hex()}")
        try:
            files.copy(target, beside)
            beside.chmod(0o444 | (target.stat().st_mode & 0o111))
            path.unlink()  # the link, not what it leads to
            path.hardlink_to(beside)
        except OSError as error:
            if error.filename is not None and os.fspath(error.filename) == str(target):
                raise StageError(f"{self._name(path)}: leads to {_shown(str(target))}: {error.strerror}") from None
            raise
        finally:
            beside.unlink(missing_ok=True)

    def _origin(self, status: os.stat_result) -> tuple[str, str] | None:
        """The input's file that a file is, under whatever name."""
        if self._of_inputs is None:
            self._of_inputs = {
                _identity((folder / name).stat()): (source, name)
                for source, folder in self.inputs.items()
                for name in files.below(folder)
            }
        return self._of_inputs.get(_identity(status))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()


def is_portable(name: str) -> bool:
    """Whether every store can hold a file of this name."""
    return not CONTROL.search(name) and not SURROGATE.search(name) and name not in OWN_FILES


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _check_readable(name: str, mode: int, wanted: int) -> None:
    """By its mode, so that root is told the same."""
    if mode & wanted != wanted:
        raise StageError(f"{name}: can't be read: its mode is {stat.S_IMODE(mode):04o}; give its owner the right to")


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISLNK, "a link"))
    return next((kind for is_one, kind in kinds if is_one(mode)), "a device")


def _shown(name: str) -> str:
    """On one line, whatever the bytes."""
    return name if name.isprintable() else ascii(os.fsencode(name).decode("utf-8", "backslashreplace"))
