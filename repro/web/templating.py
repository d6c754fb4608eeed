"""Values as a page shows them.

All that stands in a page is escaped by Jinja, and cleaned of what would steer a screen.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import ImmutableMultiDict

from repro.pages import compare, runs
from repro.scheduler.configs.spelling import spell
from repro.stages.plain import clean, done, figure, number
from repro.views import parallel_svg, scatter_svg, status_table, tables

LONGEST = 300  # characters of a value in a page; the whole is in the JSON


def _finalized(given: Any) -> Any:
    """Every text that a template shows: no control characters, no half characters, no megabytes."""
    return given if not isinstance(given, str) or isinstance(given, Markup) else clean(given)


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalized,
    trim_blocks=True,
    lstrip_blocks=True,
)


def value(given: Any) -> str:
    """A value of a config, as `repro diff` spells it."""
    if isinstance(given, float) and not math.isfinite(given):
        return str(given)
    return clean(spell(given) if isinstance(given, str | int | float | bool | list | None) else str(given), LONGEST)


def moment(at: datetime | None) -> Markup:
    """A time, absolute; the script of the page makes local and relative ones of it."""
    if at is None:
        return Markup("")
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S"))


def ago(at: datetime | None, now: datetime) -> Markup:
    """How long ago, with the time itself at hand."""
    if at is None:
        return Markup("")
    at = at.astimezone(UTC)
    text = tables.duration((now - at).total_seconds())
    title = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time class="ago" datetime="{}" title="{}">{} ago</time>').format(at.isoformat(), title, text)


def steps(progress: Mapping[str, Any] | None) -> str:
    return done(progress.get("step"), progress.get("total")) if progress else ""


def share(progress: Mapping[str, Any] | None) -> float | None:
    """How much is done, from 0 to 1; None where nobody knows."""
    step, total = (number((progress or {}).get(key)) for key in ("step", "total"))
    if step is None or not total or not math.isfinite(step) or not math.isfinite(total):
        return None
    return min(1.0, max(0.0, step / total))


def path_part(text: str) -> str:
    """A name or a file's path as a part of an address."""
    return quote(text, safe="/")


def together(items: Sequence[Any], most: int) -> str:
    """Some of many, and how many more."""
    shown = ", ".join(clean(str(item), 80) for item in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")


def with_query(query: ImmutableMultiDict[str, str], **changes: str | Sequence[str] | None) -> str:
    """The query of a page with some parts changed; an empty one goes, and the place with it: it was of another list."""
    kept = [(key, text) for key, text in query.multi_items() if key not in (*changes, "after")]
    for key, text in changes.items():
        kept += [(key, one) for one in ([text] if isinstance(text, str) else text or ()) if one]
    return "?" + urlencode(kept) if kept else "?"


def scatter(view: Mapping[str, Any], asked: compare.Query, to: str) -> tuple[Markup, list[str]]:
    """The points of a comparison as SVG, and those that could not be drawn."""
    axes = scatter_svg.Axes(view["x"], view["y"], asked.log_x, asked.log_y)
    drawing = scatter_svg.draw(view["points"], axes, to)
    return Markup(drawing.svg), drawing.left_out


def parallel(view: Mapping[str, Any], to: str) -> Markup:
    return Markup(parallel_svg.draw(view["lines"], view["axes"], to))


def points(drawn: Sequence[Mapping[str, Any]], x: str, y: str, log_x: bool, to: str) -> Markup:
    """Points of `name`, `x` and `y` as SVG."""
    return Markup(scatter_svg.draw(drawn, scatter_svg.Axes(x, y, log_x), to).svg)


TEMPLATES.filters |= {
    "points": points,
    "value": value,
    "moment": moment,
    "ago": ago,
    "steps": steps,
    "share": share,
    "path_part": path_part,
    "together": together,
    "clean": lambda text, most=LONGEST: clean(str(text), most),
    "figure": lambda given, digits=4: str(given) if isinstance(given, bool) else figure(given, digits),
    "size": tables.size,
    "speed": tables.speed,
    "load": tables.load,
    "place": tables.place,
    "duration": tables.duration,
    "eta": status_table.eta,
    "cell": runs.cell,
    "compared": compare.cell,
    "scatter": scatter,
    "parallel": parallel,
    "with_query": with_query,
    "compact": lambda given: json.dumps(given, ensure_ascii=False, separators=(",", ":")),
}
