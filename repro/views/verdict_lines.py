"""A verdict of `repro verify` for people."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument, Verdict


def lines(original: "RunDocument", verdict: "Verdict") -> list[str]:
    """A verdict for people: the level, what differs, and what differs between then and now."""
    then, now = original.get("environment") or {}, verdict["environment"]
    name, level = original["_id"], verdict["level"]
    if "error" in verdict:
        return [f"{name}: {level}: the rerun failed: {verdict['error']}; see repro show {name}.verify"]
    changed = list(_changes(then, now))
    same = f"commit {_short(now['commit'])}" if now.get("commit") else "the same environment"
    texts = [f"{name}: {level} ({verdict['outputs']} outputs; {', '.join(changed) or same})"]
    return texts + [f"  {_file(one)}" for one in verdict["worst"]]


def _changes(then: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """What is not the same in two environments, part by part."""
    for key in sorted(then.keys() | now.keys()):
        was, is_ = then.get(key), now.get(key)
        if isinstance(was, Mapping) and isinstance(is_, Mapping):
            yield from _changes(was, is_, f"{where}{key} ")
        elif was != is_ and not (where and None in (was, is_)):  # a package that only one of them happened to load
            yield f"{where}{key} {_short(was)} -> {_short(is_)}"


def _file(one: dict[str, Any]) -> str:
    from repro.worker.audit.result_comparison import Finding, Level

    return str(Finding(**one | {"level": Level.called(one["level"])}))


def _short(value: Any) -> str:
    text = str(value) if value not in (None, "") else "none"
    return text[:12] if len(text) == 40 else text
