"""The project's code as one archive, from which a machine that has never seen it computes.

In it is what git tracks and what it would (untracked, not ignored) below the project's root, without what
`.reproignore` there names, in the manner of `.gitignore`. Without git it is the folder, without hidden files, virtual
environments and what Python compiles. Folders of runs and stores are no code. The same files give the same bytes,
whoever packs them, wherever and whenever.
"""

import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from repro.stages.errors import ConfigError
from repro.stages.own_files import CONFIG, STORE
from repro.stages.source import modules, project
from repro.stages.source.reach import own_files

MOST = 50 * 10**6  # bytes of the files of a project
NAMED = 5  # of the biggest files, where they are more
IGNORE = ".reproignore"
PATIENCE = 60  # seconds for git
INSTEAD = "name what no stage needs in .reproignore, or compute with the code where it lies: --here"


@dataclass(frozen=True)
class Packed:
    """`tar`: an uncompressed archive, and its `sha256`, by which it is known; `folders`: those of its folders from
    which the project's modules are imported, in their order."""

    tar: bytes
    sha256: str
    folders: tuple[str, ...]

    def compressed(self) -> bytes:
        return gzip.compress(self.tar, mtime=0)


def pack(module: str) -> Packed | None:
    """All code of the project whose module a stage is in; None if nothing of it is the user's own: it is installed.

    Raises:
        ConfigError: it is more than MOST bytes, or a file of it can't be read.
    """
    own = list(own_files(module))
    if not own or modules.package_of(module) == modules.OURS:
        return None
    imported_from = {_import_folder(name, file) for name, file in own}
    known = [Path(place).resolve() for place in project.folders()]
    places = list(dict.fromkeys([place for place in known if place in imported_from] + sorted(imported_from)))
    roots = list(dict.fromkeys(_root(place, places) for place in places))
    folders = tuple(_inside(place, roots) for place in places)
    return Packed(*_tar(tuple((root, _state(root)) for root in roots)), folders)


def _import_folder(name: str, file: Path) -> Path:
    """The folder, of the project or of an editable install, from which a module is imported that lies in a file."""
    return file.parents[name.count(".") + (file.name == "__init__.py")].resolve()


def _root(place: Path, others: Sequence[Path]) -> Path:
    """Of the git tree in which a folder lies; else the folder itself, or that of the others in which it lies."""
    if told := _git(place, "rev-parse", "--show-toplevel"):
        return Path(os.fsdecode(told.rstrip(b"\n")))
    return min((other for other in others if place.is_relative_to(other)), key=lambda other: len(other.parts))


def _inside(place: Path, roots: Sequence[Path]) -> str:
    """Where a folder lies in the archive."""
    around = [(len(root.parts), number, root) for number, root in enumerate(roots) if place.is_relative_to(root)]
    _, number, root = max(around)  # of two repositories the inner one
    return f"{number}/{place.relative_to(root)}".removesuffix("/.")


def _state(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of modification of all that is to be packed: what does not change is not read again."""
    found, names = [], set(_names(root))
    results = tuple(f"{os.path.dirname(name)}/" for name in names if os.path.basename(name) in (CONFIG, STORE))  # noqa: PTH119, PTH120
    for name in sorted(name for name in names if not name.startswith(results)):
        try:
            status = (root / name).lstat()
        except OSError:  # tracked, and removed
            continue
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            found.append((name, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _names(root: Path) -> Iterator[str]:
    listed = ("ls-files", "-z", "--cached", "--others")
    told = _git(root, *listed, "--exclude-standard")
    if told is None:
        yield from _walked(root)
        return
    left_out = set[bytes]()
    if (root / IGNORE).is_file():
        left_out = set((_git(root, *listed, "--ignored", f"--exclude-from={root / IGNORE}") or b"").split(b"\0"))
    for raw in set(told.split(b"\0")) - left_out - {b""}:
        name = os.fsdecode(raw)
        if (root / name).is_dir() and not (root / name).is_symlink():  # a repository in the repository
            yield from (f"{name.rstrip('/')}/{inner}" for inner in _names(root / name))
        else:
            yield name


def _walked(root: Path) -> Iterator[str]:
    """Of a folder that is no git tree, by git's rules where there is a git."""
    with tempfile.TemporaryDirectory() as empty:
        asked = _git(root, "init", "--quiet", "--bare", empty)
        if asked is not None:
            excluded = [f"--exclude-from={root / IGNORE}"] if (root / IGNORE).is_file() else []
            rules = ("ls-files", "-z", "--others", "--exclude-standard", *excluded)
            told = _git(root, f"--git-dir={empty}", f"--work-tree={root}", *rules)
            names = [os.fsdecode(name) for name in (told or b"").split(b"\0") if name]
            yield from (name for name in names if not _is_no_source(root, name))
            return
    for parent, folders, names in os.walk(root):
        folders[:] = [folder for folder in folders if not _is_no_source(Path(parent), f"{folder}/")]
        inside = os.path.relpath(parent, root)
        yield from (os.path.normpath(f"{inside}/{name}") for name in names if not name.startswith("."))


def _is_no_source(root: Path, name: str) -> bool:
    """Whether a name is hidden, or lies in a folder that is, in a virtual environment or with what Python compiles."""
    parts = Path(name).parts
    folders = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + name.endswith("/"))]
    return any(part.startswith(".") or part == "__pycache__" for part in parts) or any(
        (folder / "pyvenv.cfg").exists() for folder in folders
    )


@lru_cache(maxsize=2)
def _tar(roots: tuple[tuple[Path, tuple[tuple[str, int, int], ...]], ...]) -> tuple[bytes, str]:
    sizes = [(size, str(root / name)) for root, files in roots for name, size, _ in files]
    if (total := sum(size for size, _ in sizes)) > MOST:
        biggest = ", ".join(f"{name} ({_megabytes(size)})" for size, name in sorted(sizes, reverse=True)[:NAMED])
        raise ConfigError(
            f"the code of the project in {roots[0][0]} has {_megabytes(total)}, and at most {_megabytes(MOST)} go to "
            f"the workers; the biggest files: {biggest}; {INSTEAD}"
        )
    buffer = io.BytesIO()
    with tarfile.TarFile(fileobj=buffer, mode="x", format=tarfile.PAX_FORMAT) as archive:
        for number, (root, files) in enumerate(roots):
            for name, _, _ in files:
                _add(archive, root, name, f"{number}/{name}")
    data = buffer.getvalue()
    return data, hashlib.sha256(data).hexdigest()


def _add(archive: tarfile.TarFile, root: Path, name: str, inside: str) -> None:
    """One file, as its bytes and its x bit. A link stays one within the project; a file that one leads to from there is
    copied; a folder, or nothing, elsewhere is left out."""
    path, entry = root / name, tarfile.TarInfo(inside)
    try:
        if path.is_symlink():
            target = path.readlink()
            if not target.is_absolute() and path.resolve().is_relative_to(root.resolve()):
                entry.type, entry.linkname = tarfile.SYMTYPE, str(target)
                archive.addfile(entry)
                return
            if not path.is_file():
                return
        data = path.read_bytes()
        entry.mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}; {INSTEAD}") from error


def _git(folder: Path, *words: str) -> bytes | None:
    """What git says; None where there is no git, or no repository."""
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        return None
    except subprocess.SubprocessError as error:
        raise ConfigError(f"git does not answer in {folder}: {error}") from error
    return None if done.returncode else done.stdout


def _megabytes(size: int) -> str:
    return f"{size / 10**6:.1f} MB"
