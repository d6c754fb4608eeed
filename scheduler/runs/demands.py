"""What a run needs of a machine besides its number of cards: `card=*A100*`, `memory>=40GB`, `site=berlin`.

All demands of a run, sorted and joined, are its class. Few classes wait at a time, so a worker judges each class once
and asks for the runs of those that it meets: a claim stays a read of one index, whatever else piles up.

The class stands in `held`, where other runs have `false`: who knows nothing of classes, a worker of before there were
any, claims no such run.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from repro.stages.errors import ConfigError

JOINED = " & "
SYNTAX = re.compile(r"([A-Za-z][\w.-]*)\s*(>=|<=|==|=|>|<)\s*([^\s&](?:[^&]*[^\s&])?)", re.ASCII)
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B", re.ASCII | re.IGNORECASE)
LONGEST = 2000  # characters of a class
MODULE = "module."  # before the name of one that the machine must be able to import
Known = Callable[[str], "str | int | None"]  # what a worker has of that name


class Demand(NamedTuple):
    """`how`: "=", a pattern that ignores case; or a comparison of versions, numbers or sizes."""

    what: str
    how: str
    value: str

    def __str__(self) -> str:
        return f"{self.what}{self.how}{self.value}"

    def is_met(self, has: "str | int | None") -> bool:
        if has is None:
            return False
        if self.how == "=":
            return fnmatchcase(str(has).lower(), self.value.lower())
        ours, theirs = _comparable(has), _comparable(self.value)
        longest = max(len(ours), len(theirs))  # 2.6 is 2.6.0
        a, b = (numbers + (0,) * (longest - len(numbers)) for numbers in (ours, theirs))
        return bool(ours) and {">=": a >= b, "<=": a <= b, ">": a > b, "<": a < b}[self.how]


def parse(text: str) -> Demand:
    """One demand.

    Raises:
        ConfigError: it is none.
    """
    found = SYNTAX.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ConfigError(f"needs: expected such as card=*A100*, memory>=40GB or site=berlin, got: {text!r}")
    demand = Demand(found[1], found[2].replace("==", "="), found[3])
    if demand.how != "=" and not _comparable(demand.value):
        raise ConfigError(f"needs: {demand}: only numbers, versions and sizes such as 40GB can be compared")
    return demand


def of_imports(code: Mapping[str, Any]) -> list[str]:
    """The demands of code that came with a run: what it imports, and neither it nor the product brings along."""
    return [f"{MODULE}{name}=*" for name in code.get("imports", ())]


def with_code(needs: str, code: Mapping[str, Any]) -> str:
    """The class of a run that is computed by other code from now on: it imports what that does."""
    kept = [text for text in needs.split(JOINED) if text and not text.startswith(MODULE)]
    return class_of([*kept, *of_imports(code)])


def shown(needs: str) -> str:
    """A class for people."""
    texts = needs.split(JOINED)
    return ", ".join(f"module {t[len(MODULE) : -2]}" if t.startswith(MODULE) else t for t in texts)


def class_of(texts: Sequence[str]) -> str:
    """The class of a run with these demands; empty without any.

    Raises:
        ConfigError: one of them is no demand, or all of them are too long.
    """
    found = JOINED.join(sorted({str(parse(text)) for text in texts}))
    if len(found) > LONGEST:
        raise ConfigError(f"needs: at most {LONGEST} characters, got {len(found)}")
    return found


def is_met(needs: str, has: Known) -> bool:
    """Whether who has this meets all demands of a class. One that can't be read, of a newer version, nobody meets."""
    try:
        demands = [parse(text) for text in needs.split(JOINED)]
    except ConfigError:
        return False
    return all(demand.is_met(has(demand.what)) for demand in demands)


def fields(needs: str, held: bool) -> dict[str, Any]:
    """Of a new run's document."""
    return {"needs": needs, "held": held or needs} if needs else {"held": held}


def _comparable(value: "str | int") -> tuple[float, ...]:
    """A number, a size in bytes, or a version as numbers; empty if it is nothing of these."""
    if isinstance(value, int):
        return (value,)
    if size := SIZE.fullmatch(value):
        base = 1024 if size[3] else 1000
        return (float(size[1]) * base ** " KMGT".index(size[2].upper() or " "),)
    version = re.match(r"\d+(\.\d+)*", value)
    return tuple(float(part) for part in version[0].split(".")) if version else ()
