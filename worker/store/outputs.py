"""The list of a run's outputs: whole in its manifest, and in its document as far as a document may hold it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from repro.scheduler.server.connection import Document
from repro.stages.own_files import MANIFEST
from repro.worker.store.store import Store

MOST_OUTPUTS = 1000  # entries in a document; the manifest always has all


def outputs_of(store: Store, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All outputs of a done run: from its manifest, where its document holds only some of them or none."""
    if "outputs_total" in run or "outputs" not in run:
        return list(json.loads(store.read_own(run["location"], MANIFEST))["outputs"])
    return list(run["outputs"])


def bounded(outputs: list[dict[str, Any]], mark: bytes) -> Document:
    """What of the outputs fits into a document. Beyond the bound, their number, their size, and the SHA-256 of the
    manifest (`mark`), which holds the whole list."""
    if len(outputs) <= MOST_OUTPUTS:
        return {"outputs": outputs}
    size = sum(output["size"] for output in outputs)
    total = {"count": len(outputs), "size": size, "manifest_sha256": hashlib.sha256(mark).hexdigest()}
    return {"outputs": outputs[:MOST_OUTPUTS], "outputs_total": total}
