"""`repro-run.json`: the mark of a complete folder. With it the folder explains itself, without any queue."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.stages import files
from repro.stages.config import Config, fingerprint, sources
from repro.stages.errors import StageError
from repro.stages.run import CONFIG, MANIFEST, OWN_FILES, own_file
from repro.stages.running.execution import Result


def describe(folder: Path, skip: tuple[str, ...] = OWN_FILES) -> list[dict[str, Any]]:
    """`{path, size, sha256}` of every result file of a folder, sorted by path."""
    return [
        {"path": name, "size": (folder / name).stat().st_size, "sha256": files.sha256(folder / name)}
        | files.executable(folder / name)
        for name in files.below(folder)
        if name not in skip
    ]


def manifest(
    name: str,
    config: Config,
    digest: str,
    of_sources: dict[str, Any],
    outputs: list[dict[str, Any]],
    result: Result,
    usage: Mapping[str, Any] | None = None,
) -> bytes:
    """The bytes of `repro-run.json`; `usage` is what a worker has measured, and differs from time to time."""
    document = {
        "name": name,
        "config": config,
        "fingerprint": digest,
        "sources": of_sources,
        "outputs": outputs,
        "metrics": result.metrics,
        "params": result.params,
        "environment": result.environment,
    } | ({"usage": dict(usage)} if usage else {})
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def fingerprint_of_folder(folder: Path) -> str:
    """The fingerprint of a complete run folder.

    Raises:
        StageError: the folder is missing, or its run did not finish.
    """
    mark = own_file(folder, MANIFEST)
    if not mark.is_file():
        state = "is not finished" if own_file(folder, CONFIG).exists() else "is not there"
        raise StageError(f"source {folder.name!r} {state}: {folder}; run its config first")
    try:
        return str(json.loads(mark.read_bytes())["fingerprint"])
    except (ValueError, KeyError, TypeError) as error:
        raise StageError(f"source {folder.name!r}: {mark} is broken; run its config again") from error


def fingerprint_of(config: Config, folders: dict[str, Path]) -> str:
    return fingerprint(config, {name: fingerprint_of_folder(folders[name]) for name in sources(config)})
