"""The runs that an address chooses: names and patterns of names, never files of the machine that serves the page."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from repro.scheduler.queue import lookup
from repro.stages.errors import ConfigError, ReproError

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

MOST = 50  # runs: more colours and rows nobody can tell apart
_WORD = re.compile(r"[A-Za-z0-9_*?\[\]!^-]{1,200}")


def names(db: "Queue", words: Sequence[str]) -> list[str]:
    """The names, each once, in the order chosen; a pattern stands for the runs that it fits, sorted.

    Raises:
        ConfigError: a word can be no name, or they are too many.
        ReproError: a pattern fits no run.
    """
    found: dict[str, None] = {}
    for word in dict.fromkeys(words):
        if not _WORD.fullmatch(word):
            raise ConfigError(f"no run can be called {word[:200]!r}, and no pattern looks so")
        if lookup.is_pattern(word):
            fitting = lookup.fitting(db, word, MOST + 1)
            if not fitting:
                raise ReproError(f"no run fits {word}")
            found |= dict.fromkeys(fitting)
        else:
            found[word] = None
        if len(found) > MOST:
            raise ConfigError(f"these are more than {MOST} runs; name fewer, or choose them in the list of runs")
    return list(found)
