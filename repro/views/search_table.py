"""The table of `repro search`: a row a run, the best first."""

from collections.abc import Mapping
from typing import Any

from repro.scheduler.configs.spelling import spell
from repro.stages.plain import clean, figure

DIGITS = 6


def columns(view: Mapping[str, Any]) -> tuple[str, ...]:
    """A column for the figure and for each parameter; one for the rung if there are rungs."""
    rung = ("AFTER",) if _has_rungs(view) else ()
    return ("NAME", *rung, "STATE", str(view["metric"]), *view["keys"], "WHAT")


def rows(view: Mapping[str, Any]) -> list[list[str]]:
    return [_row(run, view) for run in view["rows"]]


def summary(view: Mapping[str, Any]) -> str:
    """The search in one line."""
    if view["state"] == "waiting":
        return f"{view['name']}: {view['why']}"
    if view["state"] == "done":
        best = f"{view['metric']} {figure(view['figure'], DIGITS)}"
        shares = sorted(view["importance"].items(), key=lambda item: -item[1])
        matters = f"; what matters: {', '.join(f'{key} {share:.0%}' for key, share in shares)}" if shares else ""
        return f"{view['name']}: done, the best is {view['best']} with {best}{matters}"
    error = view["error"] or {}
    return f"{view['name']}: {view['state']}" + (f", {clean(str(error.get('message')), 300)}" if error else "")


def _has_rungs(view: Mapping[str, Any]) -> bool:
    return any(run["rung"] is not None for run in view["rows"])


def _row(run: Mapping[str, Any], view: Mapping[str, Any]) -> list[str]:
    rung = [str(run["rung"] or "")] if _has_rungs(view) else []
    told = figure(run["figure"], DIGITS) if run["figure"] is not None else ""
    values = (run["values"].get(key) for key in view["keys"])
    error = run["error"] or {}
    given = "the source" if run["trial"] == 0 else "given" if run["trial"] < 0 else ""
    what = f"{error.get('type')}: {error.get('message')}" if error else given
    cells = ["" if value is None else clean(spell(value), 40) for value in values]
    return [run["name"], *rung, run["state"], told, *cells, clean(" ".join(what.split()), 100)]
