"""What a result may depend on besides its config: code, versions, hardware. Recorded, never read back."""

import hashlib
import io
import os
import platform
import subprocess
import sys
import time
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from repro.stages.source import keys, modules, project, registry
from repro.stages.source.reach import own_files, reachable
from repro.stages.source.remembered import Remembered

REMEMBERED = 5  # seconds for which git's answer is good for the same code: a worker asks at every run
PATIENCE = 10  # seconds for git
LONGEST_DIFF = 1 << 20  # bytes
DIRTY = "-dirty"
OF_GIT = ("commit", "dirty", "untracked", "git")  # what a snapshot says of a tree
BUILT_DIRTY = b"(not known: the image was built from a tree with changes that were not committed)\n"
PACKAGES = ("torch", "numpy", "pillow", "safetensors", "matplotlib")

_packages: dict[str, str] = {}
_newest = ""  # the module that was loaded last when `packages` was asked


@cache
def versions() -> dict[str, Any]:
    """Versions and the processor; the same for every run of this process."""
    versions: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "machine": platform.machine(),
    }
    for package in ("repro-queue", *PACKAGES):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def packages() -> dict[str, str]:
    """Name -> version of every distribution of which a module is loaded, sorted.

    What was found before is kept, and only modules that have come since are looked at: in a process forked from a warm
    one a walk over all of them would touch, and so copy, the pages of every one.
    """
    global _newest  # noqa: PLW0603 - one process has one list of modules
    tops = set()
    for name in reversed(sys.modules):
        if name == _newest:
            break
        tops.add(name.partition(".")[0])
    _newest = next(reversed(sys.modules))
    for top in tops - sys.stdlib_module_names:
        for distribution in _distributions().get(top, ()):
            if distribution not in _packages:
                _packages[distribution] = version(distribution)
    return dict(sorted(_packages.items()))


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Top module -> the distributions that hold it."""
    return packages_distributions()


def hardware() -> dict[str, Any]:
    """What this process's torch computes with: the processor's vectors, and the models of the cards that it used."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    hardware = {"vectors": torch.backends.cpu.get_cpu_capability()}  # of processors with one name not all have the same
    if torch.cuda.is_initialized():
        hardware["cards"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return hardware


@dataclass(frozen=True)
class Snapshot:
    """The code of a run, before its first line: asked once, so that all of it is of one moment.

    Attributes:
        facts: `commit`; `dirty`, whether the tree has what the commit has not; `untracked`, the files of the stage that
            git does not know; `code`, the digest of the project's source that the stage can reach; or, in the place of
            the first two, `git`: why git could not tell.
        diff: what is not committed, the untracked files' text too; empty if there is nothing.
    """

    facts: dict[str, Any]
    diff: bytes


def snapshot(stage: str, submitted: Mapping[str, Any] | None = None) -> Snapshot:
    """Of the code of a stage, named as configs name it.

    `submitted`: what its submit has kept of the code. Of code that it put into the store, it has asked git.

    An image of the product has its commit baked in (`REPRO_COMMIT`), as `git describe --always --exclude '*'
    --abbrev=40 --dirty` says it. That speaks for the built-in stages, and not for a user's own.
    """
    module = registry.locate(stage).partition(":")[0]
    package = modules.package_of(module)
    facts: dict[str, Any] = {"code": digest(module)}
    if submitted and "location" in submitted:
        return Snapshot(facts | {key: submitted[key] for key in OF_GIT if key in submitted}, b"")
    if package == modules.OURS and (baked := os.environ.get("REPRO_COMMIT")):
        dirty = baked.endswith(DIRTY)
        return Snapshot(facts | {"commit": baked.removesuffix(DIRTY), "dirty": dirty}, BUILT_DIRTY if dirty else b"")
    folder = modules.folder(package)
    if folder is None:
        return Snapshot(facts, b"")
    tree = _tree(folder, module, facts["code"], int(time.monotonic() / REMEMBERED))
    return Snapshot(facts | tree.facts, tree.diff)


def submitted(stage: str) -> dict[str, Any]:
    """What a submit keeps of the code that it checked the config against; cheap, for it is asked at every submit."""
    return {"digest": digest(registry.locate(stage).partition(":")[0]), "from": describe_code()}


@cache
def describe_code() -> str:
    """The code that this process would compute with, in a few words: `ab12cd3 of 2026-11-24`."""
    told = _git(Path.cwd(), "log", "-1", "--format=%h of %cs")
    product = str(versions().get("repro-queue", ""))
    return f"commit {told}" if told else f"repro-queue {product}"


def digest(module: str) -> str:
    """The SHA-256 of all source of the project that a stage's module can reach; the product's own is in it for a stage
    of the product. Comments and blank lines do not count."""
    return _digests((module, project.folders()))


def _digest(key: Any) -> tuple[str, list[Path]]:
    found = sorted(reachable(key[0]))
    sums = [f"{name} {_digest_of(file, file.stat().st_mtime_ns)}" for name, file in found]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest(), [file for _, file in found]


_digests = Remembered(_digest)


def libraries(module: str) -> list[str]:
    """The top modules that are imported at once by a stage's module, and by what it reaches in the project, and are
    neither the project's own nor Python's nor there wherever the product is."""
    found = set[str]()
    for _, file in own_files(module):
        found |= keys.imported_at_once(file, file.stat().st_mtime_ns)
    return sorted(top for top in found if not project.belongs_to_others(top) and not _is_own(top))


def _is_own(top: str) -> bool:
    place = modules.folder(top)
    return place is not None and not modules.is_installed(str(place))


@lru_cache(maxsize=1000)
def _digest_of(file: Path, modified: int) -> str:
    return hashlib.sha256(without_comments(file.read_bytes())).hexdigest()


def without_comments(source: bytes) -> bytes:
    """Python source without its comments, blank lines and blanks at the ends of lines; as it is if it is no Python."""
    lines = source.splitlines()
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                text = lines[row - 1].decode()
                lines[row - 1] = text[:column].encode()
    except (tokenize.TokenError, SyntaxError, UnicodeDecodeError, IndexError):
        return source
    return b"\n".join(line.rstrip() for line in lines if line.strip())


@lru_cache(maxsize=8)
def _tree(folder: Path, module: str, digest: str, moment: int) -> Snapshot:
    """What git knows of the tree of a folder, and of the files that a module there can reach."""
    files = {str(file) for _, file in reachable(module)}
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return Snapshot({"git": "git did not answer"}, b"")
    if not commit:
        return Snapshot({}, b"")
    root = _git(folder, "rev-parse", "--show-toplevel") or str(folder)
    inside = sorted(place for place in {_place(file, root) for file in files} if place.startswith(f"{root}/"))
    tracked = _git(folder, "ls-files", "--full-name", "-z", "--", *inside) if inside else ""
    changes = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--", ":/")
    if tracked is None or changes is None:
        return Snapshot({"git": "git did not answer"}, b"")
    known = set(tracked.split("\0"))
    untracked = [file.removeprefix(f"{root}/") for file in inside if file.removeprefix(f"{root}/") not in known]
    added = [_git(Path(root), "diff", "--no-color", "--no-index", "--", os.devnull, file) or "" for file in untracked]
    diff = "\n".join(filter(None, [changes, *added])).encode()
    facts = {"commit": commit, "dirty": bool(diff)} | ({"untracked": untracked} if untracked else {})
    if len(diff) > LONGEST_DIFF:
        diff = diff[:LONGEST_DIFF] + b"\n(cut here)"
    return Snapshot(facts, diff + b"\n" if diff else b"")


def _place(file: str, root: str) -> str:
    """Where git knows a file of its tree: not by a link to a folder above it. One that leads out keeps its name."""
    real = os.path.realpath(file)
    return real if real.startswith(f"{root}/") else file


def _git(folder: Path, *words: str) -> str | None:
    """What git says; empty where there is no git or no repository, None where it did not answer."""
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)
    except FileNotFoundError:
        return ""
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode and "--no-index" not in words:
        return "" if "not a git repository" in done.stderr or words[0] == "rev-parse" else None
    return done.stdout.strip("\n")


def _processor() -> str:
    """The model's name with its numbers: of clouds' processors many have one name."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:
        lines = []
    first = {key.strip(): value.strip() for key, _, value in reversed(lines)}
    numbers = [f"{key} {first[key]}" for key in ("cpu family", "model", "stepping") if key in first]
    name = first.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({', '.join(numbers)})" if numbers else name
