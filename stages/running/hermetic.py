"""What a stage may touch: its inputs, its folder, the code and the libraries; all else is noted or refused (R4, R6).

Always refused: to open for writing a file of an input, or one that lay in the run's folder before the stage began. What
the run has made itself is no result before it ends, and may be written again; not with `hermetic`. Recorded, or with
`hermetic` refused: files read or written elsewhere, variables of the environment that the stage's module does not
ask for (`ENVIRONMENT`), connections, programs started.

`audit_hook` tells it what happens. That can't see: files that libraries open in C, C++ or Rust (torch, safetensors,
HDF5), what a program that was started does, variables that C code looks up. And it can't tell what a library looks up
for itself from what it does for the stage: variables, programs and the system's own files are noted of the stage's own
code only. It shows carelessness, it does not hold back malice.
"""

import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from socket import getaddrinfo
from types import FrameType
from typing import Any

from repro.stages.errors import StageError
from repro.stages.run import Run
from repro.stages.source import modules
from repro.stages.source.registry import texts

STANDARD_LIBRARY = sysconfig.get_path("stdlib")
LIBRARIES = tuple({sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *modules.PACKAGES})
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/opt", "/var/lib")
CODE = (".py", ".pyc", ".so", ".pth", ".typed")
METADATA = re.compile(r"\.(egg|dist)-info/")  # of packages, which libraries ask for
WATCHERS = (__file__, str(Path(__file__).with_name("audit_hook.py")))  # their own frames are nobody's code
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/@]*@)?(\[[^]]*\]|[^/:?#]*)")
WEB = ("http", "https", "file", "local")  # all other schemes are services that the stage reads by
WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_TRUNC


class Watch:
    """What one run was seen to do."""

    def __init__(self, run: Run, module: str, forks: Callable[[], None] = lambda: None) -> None:
        """`forks` is called before each fork."""
        self.strict, self.undeclared, self.forks = run.hermetic, run.undeclared, forks
        self.packages = {modules.OURS, modules.package_of(module)}
        self.asked_for = texts(getattr(sys.modules[module], "ENVIRONMENT", None), f"ENVIRONMENT of {module}")
        self.out, self.links = _roots([run.out]), run.links
        self.protected = (*self.out, *_roots([*run.inputs.values()]))
        self._before = {str(path) for root in self.out for path in Path(root).rglob("*")}
        said = list(_texts(run.params.config.values()))
        named = [_declared_by(text) for text in said if text.startswith("/")]
        data = [] if "://" in run.data or not run.data else [Path(run.data)]
        self.data_files, self.data, self.named = run.data_files, _roots(data), _roots(named)
        own = [run.checkpoints.folder] if run.checkpoints is not None else []
        self.declared = (*self.protected, *_roots([*own, *data, *named]))
        self.code = _roots([_folder_of(package) for package in self.packages])
        reads_a_service = bool(self.asked_for) and "://" in run.data
        urls = [found for text in said if (found := URL.match(text))]
        self.may_connect = reads_a_service or any(url[1] not in WEB for url in urls)
        self._hosts = {url[2] for url in urls if url[1] in WEB}
        self._data_seen: set[str] = set()
        self._made: set[str] = set()  # what this run created itself, wherever

    def opened(self, path: Any, mode: str | None, flags: int) -> None:
        if isinstance(path, int) or os.path.isdir(place := _place(path)):  # noqa: PTH112 - a folder has no content
            return
        writes = bool(flags & WRITES)
        if writes:
            self._refuse_overwriting(place)
        elif not _below(place, self.protected):
            self._note_data(place)
        if not self._is_known(place):
            if writes and not os.path.lexists(place):
                self._made.add(place)
            self._note("files written" if writes else "files", place)

    def moved(self, source: Any, target: Any, *_: int) -> None:
        self._refuse_overwriting(_place(target))

    def shortened(self, path: Any, length: int) -> None:
        if not isinstance(path, int):
            self._refuse_overwriting(_place(path))

    def made_folder(self, path: Any, *_: int) -> None:
        place = _place(path)
        if not os.path.lexists(place):
            self._made.add(place)

    def connected(self, socket: Any, address: Any) -> None:
        if isinstance(address, str | bytes):  # of this machine: a DataLoader's workers meet so
            return
        if not self.may_connect and not self._is_declared(address):
            self._note("network", ":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address))

    def _is_declared(self, address: Any) -> bool:
        """Whether it is that of a web server which the config names."""
        if not isinstance(address, tuple) or not self._hosts:
            return False
        found = set[str]()
        for host in self._hosts:
            with suppress(OSError):
                found |= {str(answer[4][0]) for answer in getaddrinfo(host, None)}
        return address[0] in found | self._hosts

    def started(self, program: Any, arguments: Any, *_: Any) -> None:
        if self._is_own_code():
            self._note("programs", str(program or (arguments if isinstance(arguments, str) else arguments[0])))

    def looked_up(self, variable: str) -> None:
        if not any(fnmatchcase(variable, pattern) for pattern in self.asked_for) and self._is_own_code(_is_frozen):
            self._note("environment", variable)

    def _note_data(self, place: str) -> None:
        """A file of the data, or one that the config names: its name relative to the data, where it lies there."""
        if place in self._data_seen:
            return
        self._data_seen.add(place)
        root = next((root for root in self.data if _below(place, (root,))), None)
        if (root or _below(place, self.named)) and not _below(place, self.code) and not place.endswith(CODE):
            with suppress(OSError):  # it is not there, which is what the stage will hear
                self.data_files.note(os.path.relpath(place, root) if root else place, os.stat(place).st_size)  # noqa: PTH116

    def _refuse_overwriting(self, place: str) -> None:
        if _below(place, self.protected) and os.path.lexists(place) and (why := self._why_not_again(place)):
            raise FileExistsError(f"{place}: {why}")

    def _why_not_again(self, place: str) -> str:
        """Why a file that is there may not be written again; empty if it may."""
        if place in self._before:
            return "was there before the run, and stays as it is; take another name"
        if not _below(place, self.out) or not _below(os.path.realpath(place), self.out) or self._is_passed_on(place):
            return (
                "belongs to the result of another run, and stays as it is; copy it under another name, and change that"
            )
        if self.strict:
            return "exists already, and in a hermetic run each file is written once; take another name"
        return ""

    def _is_passed_on(self, place: str) -> bool:
        """Whether a file of the run's folder is another's, too: by `run.link`, or a link of the stage's own."""
        names = {os.path.relpath(place, root) for root in self.out if _below(place, (root,))}
        return bool(names & self.links.keys()) or (os.path.isfile(place) and os.stat(place).st_nlink > 1)  # noqa: PTH113, PTH116

    def _is_known(self, place: str) -> bool:
        if _below(place, self.declared) or _below(place, LIBRARIES) or _below(place, self.code):
            return True
        if any(place == made or place.startswith(f"{made}{os.sep}") for made in self._made):
            return True
        if (place.endswith(CODE) or METADATA.search(place)) and _below(place, tuple(filter(None, sys.path))):
            return True
        return _below(place, SYSTEM) and not self._is_own_code()

    def _note(self, kind: str, what: str) -> None:
        self.undeclared.note(kind, what)
        if self.strict:
            raise StageError(f"not hermetic: {kind}: {what}; declare it in the config or the module, or do without")

    def _is_own_code(self, passed_through: Callable[[str], bool] | None = None) -> bool:
        """Whether the stage's own code does this, and not a library that it called."""
        passes = passed_through or _is_standard
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and (passes(frame.f_code.co_filename) or frame.f_code.co_filename in WATCHERS):
            frame = frame.f_back
        if frame is None:
            return False
        package = modules.package_of(str(frame.f_globals.get("__name__", "")))
        return package in self.packages or not _below(frame.f_code.co_filename, LIBRARIES)


def _is_frozen(file: str) -> bool:
    """`os` and what it is made of, but not what of the standard library looks variables up for itself."""
    return file.startswith("<frozen")


def _is_standard(file: str) -> bool:
    return _is_frozen(file) or (file.startswith(f"{STANDARD_LIBRARY}{os.sep}") and "-packages" not in file)


def _place(path: Any) -> str:
    """The absolute path, its links not followed: what a link is called decides whose it is."""
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100


def _declared_by(path: str) -> Path:
    """What an absolute path in a config declares; of a mask, the folder in which it looks."""
    before, *mask = re.split(r"[*?\[]", path, maxsplit=1)
    return Path(before.rpartition("/")[0] or "/") if mask else Path(path)


def _roots(folders: Sequence[Path]) -> tuple[str, ...]:
    return tuple({str(place) for folder in folders for place in (folder.absolute(), folder.resolve())})


def _below(place: str, roots: Sequence[str]) -> bool:
    return any(place == root or place.startswith(f"{root.rstrip(os.sep)}{os.sep}") for root in roots)


def _folder_of(package: str) -> Path:
    """Where the code of a package lies; of a module, its file."""
    module = sys.modules.get(package)
    if inside := list(getattr(module, "__path__", ())):
        return Path(inside[0])
    return Path(getattr(module, "__file__", None) or os.devnull)


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))
