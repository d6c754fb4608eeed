"""The filter language of `repro status --where` and of the page: `KEY OP VALUE`. Pure.

KEY is a key of the config, `metrics.NAME`, `environment.NAME`, or `params.KEY`: the value that the run used, a default
too. OP is one of `= != < <= > >= in exists`. VALUE is read as JSON, else as a text; `in` takes several, with commas.

As in MongoDB, a number is compared with numbers alone and a text with texts; a list has a value if one of its items is
it. What has no such key fits no operator, `!=` neither.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from repro.scheduler.server.connection import Document
from repro.stages.errors import ConfigError
from repro.stages.plain import LARGEST, SMALLEST

OPERATORS = {"=": "$eq", "==": "$eq", "!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
FORM = "write KEY OP VALUE, such as 'lr>1e-3', 'arch in resnet,baseline', 'clip exists'"
_CONDITION = re.compile(
    r"\s*(?P<key>[^\s=!<>]+)(?:\s*(?P<sign>==|!=|<=|>=|=|<|>)(?P<one>.*)|\s+in\s(?P<several>.*)|\s+(?P<exists>exists)\s*)",
    re.DOTALL,
)
_CONFIG_KEY = re.compile("[A-Za-z_][A-Za-z0-9_]*")
FACTS = {"name": "_id", "submitted": "submitted_at", "finished": "finished_at"}  # what else lists go by
PARTS = ("metrics", "environment", "params")  # of a run's document, besides its config


@dataclass(frozen=True)
class Condition:
    """One condition; `text` as it was written."""

    text: str
    key: str
    operator: str
    value: Any = None

    def guard(self) -> Document:
        """As MongoDB asks it."""
        test = self._test()
        if (name := figure_name(self.key)) is None:
            return {path(self.key): test}
        # A name with a dot is a path to MongoDB: such a figure is asked for by an expression, which no index serves.
        value = {"$getField": {"field": {"$literal": name}, "input": "$metrics"}}
        return {"$expr": _as_expression(value, test)}

    def _test(self) -> Document:
        if self.operator == "exists":
            return {"$exists": True}
        if self.operator == "in":
            return {"$in": self.value}
        if self.operator == "$eq" and self.value is None:
            return {"$type": "null"}
        return {self.operator: self.value} | ({"$exists": True} if self.operator == "$ne" else {})


def parse(text: str) -> Condition:
    """Read a condition.

    Raises:
        ConfigError: it is none.
    """
    if not (found := _CONDITION.fullmatch(text)):
        raise ConfigError(f"{text!r} is no condition; {FORM}")
    key = found["key"]
    path(key)
    if found["exists"]:
        return Condition(text.strip(), key, "exists")
    if found["several"] is not None:
        return Condition(text.strip(), key, "in", _several(text, found["several"]))
    return Condition(text.strip(), key, OPERATORS[found["sign"]], _value(text, found["one"]))


def path(key: str) -> str:
    """Where a document has what a key of the language names.

    Raises:
        ConfigError: it can't name anything.
    """
    part, dot, rest = key.partition(".")
    if not dot and _CONFIG_KEY.fullmatch(key):
        return f"config.{key}"
    if part in PARTS and rest and "" not in rest.split(".") and not rest.startswith("$"):
        return f"params.{rest}.value" if part == "params" else key
    near = get_close_matches(part, PARTS, n=1)
    hint = f"did you mean {near[0]}.{rest}?" if dot and near and part not in PARTS else FORM
    raise ConfigError(f"{key!r} is neither a key of configs nor metrics.NAME, environment.NAME or params.KEY; {hint}")


def figure_name(key: str) -> str | None:
    """The name of a figure that is no path: one with a dot in it."""
    name = key.removeprefix("metrics.")
    return name if name != key and "." in name else None


def keys(where: Iterable[Condition], sort: str = "") -> list[str]:
    """The keys that conditions and an order name, each once; facts such as the name are none."""
    wanted = sort.removeprefix("-")
    ordered = [wanted] if wanted and wanted not in FACTS else []
    return list(dict.fromkeys([*(one.key for one in where), *ordered]))


def value(run: Mapping[str, Any], key: str) -> Any:
    """What a document has under a key; None where it has nothing."""
    if (name := figure_name(key)) is not None:
        return (run.get("metrics") or {}).get(name)
    return at(run, path(key))


def at(run: Mapping[str, Any], place: str) -> Any:
    """What a document has at a path of MongoDB; None where it has nothing."""
    found: Any = run
    for part in place.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _value(text: str, word: str) -> Any:
    word = word.strip()
    if not word:
        raise ConfigError(f"{text!r} has no value; {FORM}")
    try:
        value = json.loads(word)
    except ValueError:
        return word
    return _checked(text, value)


def _several(text: str, words: str) -> list[Any]:
    words = words.strip()
    try:
        values = json.loads(words if words.startswith("[") else f"[{words}]")
    except ValueError:
        values = [_value(text, word) for word in words.removeprefix("[").removesuffix("]").split(",")]
    if not values:
        raise ConfigError(f"{text!r} has no value; {FORM}")
    return [_checked(text, value) for value in values]


def _checked(text: str, value: Any) -> Any:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, list | dict) for v in value)):
        raise ConfigError(f"{text!r}: values are numbers, texts, true, false, null, or a flat list of these")
    if isinstance(value, list):
        return [_checked(text, item) for item in value]
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        raise ConfigError(f"{text!r}: whole numbers have at most 64 bits")
    return value


def _as_expression(value: Any, test: Document) -> Document:
    """The same test of a value that an expression gives, with the same brackets of types."""
    exists: Document = {"$ne": [{"$type": value}, "missing"]}
    tests: list[Document] = [exists]
    for operator, operand in test.items():
        if operator == "$in":
            tests.append({"$in": [value, {"$literal": operand}]})
        elif operator == "$type":
            tests.append({"$eq": [{"$type": value}, operand]})
        elif operator != "$exists":
            tests.append({operator: [value, {"$literal": operand}]})
            if operator not in ("$eq", "$ne"):
                number = not isinstance(operand, str)
                tests.append({"$isNumber": value} if number else {"$eq": [{"$type": value}, "string"]})
    return {"$and": tests}
