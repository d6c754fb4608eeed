"""`repro-run.json`: the mark of a complete folder. With it the folder explains itself, without any queue."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repro.stages import files
from repro.stages.config import Config, fingerprint, sources
from repro.stages.errors import StageError
from repro.stages.own_files import CONFIG, MANIFEST, own_file
from repro.stages.plain import strict
from repro.stages.running.execution import Result


def describe(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """`{path, size, sha256}` of these files of a folder, sorted by path; `executable` where one is."""
    return [_described(folder / name, name) for name in sorted(names)]


def _described(path: Path, name: str) -> dict[str, Any]:
    found = {"path": name, "size": path.stat().st_size, "sha256": files.sha256(path)}
    return found | ({"executable": True} if files.is_executable(path) else {})


def manifest(
    name: str,
    config: Config,
    digest: str,
    of_sources: dict[str, Any],
    outputs: list[dict[str, Any]],
    result: Result,
    usage: Mapping[str, Any] | None = None,
    code: Mapping[str, Any] | None = None,
) -> bytes:
    """The bytes of `repro-run.json`; `usage` is what a worker has measured, and differs from time to time; `code` where
    the code lies, if it came from the store."""
    document = {
        "name": name,
        "config": config,
        "fingerprint": digest,
        "sources": of_sources,
        "outputs": outputs,
        "metrics": result.metrics,
        "params": result.params,
        "environment": result.environment,
    }
    document |= {key: dict(facts) for key, facts in (("usage", usage), ("code", code)) if facts}
    return (json.dumps(strict(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


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


def check_outputs(folder: Path) -> None:
    """See that a complete run folder holds what its run has left: a stage that runs as root, or writes by way of C, is
    held back by no mode. Only files that were written to after the manifest are read.

    Raises:
        StageError: a file is gone or has changed; it names it.
    """
    mark = own_file(folder, MANIFEST)
    written = mark.stat().st_mtime_ns
    for output in json.loads(mark.read_bytes())["outputs"]:
        path = folder / output["path"]
        try:
            status = path.stat()
        except OSError:
            if "location" in output:  # of a folder that was fetched: what was passed on lies elsewhere
                continue
            raise StageError(f"{path} is gone; run the config of {folder.name} again, in a new folder") from None
        is_old = status.st_mtime_ns <= written
        if status.st_size != output["size"] or not (is_old or files.sha256(path) == output["sha256"]):
            raise StageError(
                f"{path} is not as its run left it; run the config of {folder.name} again, in a new folder"
            )


def fingerprint_of(config: Config, folders: dict[str, Path]) -> str:
    return fingerprint(config, {name: fingerprint_of_folder(folders[name]) for name in sources(config)})
