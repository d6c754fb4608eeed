"""A verdict of `repro verify` for people."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument, Verdict


def lines(original: "RunDocument", verdict: "Verdict") -> list[str]:
    """A verdict for people: the level, what differs, and what differs between then and now."""
    then, now = original.get("environment") or {}, verdict["environment"]
    name, level = original["_id"], verdict["level"]
    if "error" in verdict:
        return [f"{name}: {level}: the rerun failed: {verdict['error']}; see repro show {name}.verify"]
    changed = [
        f"{key} {_short(then.get(key))} -> {_short(now.get(key))}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    same = f"commit {_short(now['commit'])}" if now.get("commit") else "the same environment"
    texts = [f"{name}: {level} ({verdict['outputs']} outputs; {', '.join(changed) or same})"]
    return texts + [f"  {_file(one)}" for one in verdict["worst"]]


def _file(one: dict[str, Any]) -> str:
    from repro.worker.audit.result_comparison import Finding, Level

    return str(Finding(**one | {"level": Level[one["level"].upper()]}))


def _short(value: Any) -> str:
    text = str(value) if value not in (None, "") else "none"
    return text[:12] if len(text) == 40 else text
