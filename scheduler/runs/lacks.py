"""What the code of a worker lacks for a run: its stage, or a key of its config that the stage does not read there."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from repro.scheduler.server.connection import Document


class Lack(NamedTuple):
    """`key` is empty where it is the stage, or something of it that can't be said by a key: then `run` alone is meant.

    `why`: in words, for people.
    """

    stage: str
    key: str
    run: str
    why: str

    def concerns(self, run: Mapping[str, Any]) -> bool:
        """Whether a run, of which config and stage are known, is one that the worker passes over."""
        if self.key:
            return run["stage"] == self.stage and self.key in run.get("config", ())
        return bool(run["_id"] == self.run)

    def filter(self) -> Document:
        """The runs that it concerns, for a query."""
        if self.key:
            return {"stage": self.stage, f"config.{self.key}": {"$exists": True}}
        return {"_id": self.run}

    def __str__(self) -> str:
        return f"lacks key {self.key} of stage {self.stage}" if self.key else f"can't run it: {self.why}"


def told_by(worker: Document) -> list[Lack]:
    """What a worker lacks, as its document tells."""
    return [Lack(**lack) for lack in worker.get("lacks", ())]


def passing_over(lacks: Sequence[Lack]) -> Document:
    """What to add to a claim's filter; nothing for a worker that lacks nothing, so that it costs others nothing."""
    return {"$nor": [lack.filter() for lack in lacks]} if lacks else {}
