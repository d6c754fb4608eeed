"""Runs by whatever somebody has at hand: a name, a fingerprint, the SHA-256 of a file, a tag."""

import re

from repro.scheduler.runs import State
from repro.scheduler.runs.run_document import collection
from repro.scheduler.server.connection import Queue

SHORTEST = 6  # characters of a digest
DIGEST = re.compile(rf"[0-9a-f]{{{SHORTEST},64}}")


def named(db: Queue, text: str) -> str | None:
    """The name of the run that a text stands for: its own name, the beginning of its fingerprint, or the whole SHA-256
    of one of its outputs; None where it stands for none."""
    if collection(db).find_one({"_id": text}, {"_id": 1}):
        return text
    digest = text.lower()
    if not DIGEST.fullmatch(digest):
        return None
    found = collection(db).find_one({"fingerprint": {"$regex": f"^{digest}"}}, {"_id": 1})
    if found is None and len(digest) == 64:
        found = collection(db).find_one({"state": State.DONE.value, "outputs.sha256": digest}, {"_id": 1})
    return found["_id"] if found else None


def is_tag(db: Queue, text: str) -> bool:
    """Whether some run has this tag."""
    return collection(db).find_one({"tags": text, "tags.0": {"$exists": True}}, {"_id": 1}) is not None
