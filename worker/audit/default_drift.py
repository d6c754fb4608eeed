"""Defaults that changed under done runs: today's code, read from its source, beside what runs have recorded.

MongoDB does the counting, so ten thousand runs cost a second and no worker. Not seen: a default that is computed, or a
change of what the code does with a value. A rerun sees those (`reruns`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from repro.scheduler.queue import audits
from repro.scheduler.server.connection import Document, Queue
from repro.stages import config as configs
from repro.stages.errors import ConfigError
from repro.stages.source import registry
from repro.stages.source.flow import COMPUTED, REQUIRED


@dataclass(frozen=True)
class Drift:
    """What became of a key that `runs` done runs have read.

    Attributes:
        key: empty where the stage itself is gone.
        default: whether the runs took `was` from a default; else their configs said some value.
        harmless: their results do not hang on it, or the source does not tell.
    """

    stage: str
    key: str
    default: bool
    was: Any
    today: str
    runs: int
    example: str
    harmless: bool = False

    def __str__(self) -> str:
        where = f"in {self.runs} done run{'s' if self.runs > 1 else ''}"
        value = _shown(self.was) if self.default else "given"
        before = f"{self.key} was {value} {where}" if self.key else f"it was {where}"
        return f"{self.stage}: {before}, {self.today} (e.g. {self.example})"

    def as_dict(self) -> Document:
        return asdict(self)


def drifts(db: Queue, names: Sequence[str] = (), stage: str | None = None) -> list[Drift]:
    """Every key of done runs that today's code reads otherwise; all runs, or these, or a stage's."""
    stages: dict[str, Mapping[str, Sequence[Any]] | ConfigError] = {}
    drifted: list[Drift] = []
    for group in audits.values_read(db, names, stage):
        name = group["_id"]["stage"]
        if name not in stages:
            stages[name] = _today(name)
        today = stages[name]
        if isinstance(today, ConfigError):
            if group["_id"]["key"] == "stage":  # which every run reads: said once
                drifted.append(Drift(name, "", False, None, str(today), group["count"], group["example"]))
        elif drift := _drift(group, today):
            drifted.append(drift)
    return sorted(drifted, key=lambda d: (d.harmless, d.stage, d.key, _shown(d.was)))


def _today(stage: str) -> Mapping[str, Sequence[Any]] | ConfigError:
    try:
        return registry.defaults(stage)
    except ConfigError as error:
        return error


def _drift(group: Document, today: Mapping[str, Sequence[Any]]) -> Drift | None:
    """What drifted, if anything; a default that is nowhere read any more is an idea that was deleted (R8)."""
    stage, key, default, was = (group["_id"][name] for name in ("stage", "key", "default", "value"))
    defaults = today.get(key, ())

    def drift(text: str, harmless: bool = False) -> Drift:
        return Drift(stage, key, default, was, text, group["count"], group["example"], harmless)

    if not defaults:
        if key in configs.RESERVED:
            return None
        return drift("is not read today", harmless=default)
    if not default or any(_same(was, literal) for literal in defaults):
        return None
    if any(literal is COMPUTED for literal in defaults):
        return drift("today's is computed: only a rerun can tell", harmless=True)
    literals = [literal for literal in defaults if literal is not REQUIRED]
    return drift(f"is {_shown(literals[0])} today" if literals else "has no default today")


def _same(was: Any, literal: Any) -> bool:
    if literal is REQUIRED or literal is COMPUTED:
        return False
    return configs.canonical({"": was}) == configs.canonical({"": literal})


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
