"""Runs as lines over parallel axes, one a key and the last a figure, which colours them; in SVG."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from repro.views import axis
from repro.views.svg import element, text

WIDTH, HEIGHT = 960, 420
SIDE, TOP, BOTTOM = 70, 48, 44
SHADES = 7  # classes s0 to s6 of the stylesheet
NONE = -0.08  # where a line passes an axis on which its run has nothing


def draw(lines: Sequence[Mapping[str, Any]], axes: Sequence[str], runs: str) -> str:
    """Lines of `name` and `values` on the axes; each leads to `runs` + its name."""
    scales = [axis.of([line["values"][number] for line in lines]) for number in range(len(axes))]
    at = [_x(number, len(axes)) for number in range(len(axes))]
    nothing = any(
        scale.place(value) is None for line in lines for scale, value in zip(scales, line["values"], strict=True)
    )
    pieces = [_axis(key, scale, x, nothing) for key, scale, x in zip(axes, scales, at, strict=True)]
    marks = [_line(line, axes, scales, at, runs) for line in lines]
    said = f"{len(lines)} runs over {', '.join(axes)}"
    return element(
        "svg", *marks, *pieces, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="group", aria_label=said, class_="parallel"
    )


def _x(number: int, count: int) -> float:
    return SIDE + (WIDTH - 2 * SIDE) * (number / (count - 1) if count > 1 else 0.5)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _line(
    line: Mapping[str, Any], axes: Sequence[str], scales: Sequence[axis.Axis], at: Sequence[float], runs: str
) -> str:
    shares = [scale.place(value) for scale, value in zip(scales, line["values"], strict=True)]
    said = ", ".join(
        f"{key} {'unknown' if value is None else axis.shown(value)}"
        for key, value in zip(axes, line["values"], strict=True)
    )
    points = [f"{x:.1f},{_y(NONE if share is None else share):.1f}" for x, share in zip(at, shares, strict=True)]
    shade = "none" if not shares or shares[-1] is None else f"{min(SHADES - 1, int(shares[-1] * SHADES))}"
    title = element("title", text(f"{line['name']}: {said}", 1000))
    # The second, wide and unseen, is what a mouse finds.
    drawn = [element("polyline", points=" ".join(points), class_=kind) for kind in ("seen", "wide")]
    href, label = runs + quote(line["name"], safe=""), f"{line['name']}: {said}"
    return element("a", title, *drawn, href=href, aria_label=label, class_=f"run s{shade}")


def _axis(key: str, scale: axis.Axis, x: float, nothing: bool) -> str:
    pieces = [element("line", x1=x, x2=x, y1=_y(0.0), y2=_y(1.0), class_="axis")]
    pieces.append(element("text", text(key.removeprefix("metrics."), 20), x=x, y=TOP - 20.0, text_anchor="middle"))
    for share, label in scale.ticks:
        pieces.append(element("text", text(label), x=x + 5, y=_y(share) + 4))
    if nothing:
        pieces.append(element("text", "none", x=x + 5, y=_y(NONE) + 4, class_="quiet"))
    return element("g", *pieces)
