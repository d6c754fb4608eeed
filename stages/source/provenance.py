"""What a result may depend on besides its config: code, versions, hardware. Recorded, never read back."""

import hashlib
import os
import platform
import subprocess
import sys
import time
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from repro.stages.source import keys, modules

REMEMBERED = 5  # seconds for which git's answer is good: a worker asks after every run
LONGEST_DIFF = 1 << 20  # bytes
DIRTY = "-dirty"
BUILT_DIRTY = b"(not known: the image was built from a tree with changes that were not committed)\n"
PACKAGES = ("torch", "numpy", "pillow", "safetensors", "matplotlib")


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


def hardware() -> dict[str, Any]:
    """What this process's torch computes with: the processor's vectors, and the models of the cards that it used."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    hardware = {"vectors": torch.backends.cpu.get_cpu_capability()}  # of processors with one name not all have the same
    if torch.cuda.is_initialized():
        hardware["cards"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return hardware


def code(package: str = modules.OURS) -> dict[str, Any]:
    """Commit of a package's code and whether its tree was dirty; `REPRO_COMMIT` names it where there is no git.

    An image has it baked in, as `git describe --always --exclude '*' --abbrev=40 --dirty` says it.
    """
    if baked := os.environ.get("REPRO_COMMIT"):
        return {"commit": baked.removesuffix(DIRTY), "dirty": baked.endswith(DIRTY)}
    folder = modules.folder(package)
    return dict(_state_of_tree(folder, int(time.monotonic() / REMEMBERED))) if folder else {}


def digest(package: str) -> str:
    """The SHA-256 of all Python source that a stage of this package computes with: its own and this project's."""
    sources = {source for name in (package, modules.OURS) for source in _sources_of(name)}
    sums = sorted(f"{source.name} {hashlib.sha256(source.read_bytes()).hexdigest()}" for source in sources)
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def diff(package: str = modules.OURS) -> bytes:
    """What the tree of a package's code has that its commit has not; files that git does not track are not in it.

    Bounded: past that it ends, and says so. Empty if there is nothing, or no git.
    """
    if baked := os.environ.get("REPRO_COMMIT"):
        return BUILT_DIRTY if baked.endswith(DIRTY) else b""
    folder = modules.folder(package)
    changes = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--", ":/").encode() if folder else b""
    if len(changes) > LONGEST_DIFF:
        return changes[:LONGEST_DIFF] + b"\n(cut here)\n"
    return changes + b"\n" if changes else changes


def _sources_of(package: str) -> list[Path]:
    """All files of a package; of a module that is a file, that and what it imports of those beside it."""
    file = modules.source(package)
    if file is not None and file.name != "__init__.py":
        return [source for _, source in keys.code_of(package)]
    folder = modules.folder(package)
    return list(folder.rglob("*.py")) if folder else []


@lru_cache(maxsize=8)
def _state_of_tree(folder: Path, moment: int) -> dict[str, Any]:
    commit = _git(folder, "rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "-uno"))} if commit else {}


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, errors="replace", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
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
