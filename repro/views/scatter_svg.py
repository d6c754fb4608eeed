"""Two values of each run as a point, in SVG. Colours come from the page's stylesheet."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from repro.views import axis
from repro.views.svg import element, text

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 30, 16, 52
MARGIN = 0.04  # of the axis, beyond the outermost points
MOST_LABELS = 16  # points up to which each has its name beside it


class Drawing(NamedTuple):
    svg: str
    left_out: list[str]  # what could not be drawn, and why


class Axes(NamedTuple):
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False


def draw(points: Sequence[Mapping[str, Any]], axes: Axes, runs: str) -> Drawing:
    """Points of `name`, `x`, `y`; each leads to `runs` + its name."""
    across = axis.of([point["x"] for point in points], axes.log_x)
    up = axis.of([point["y"] for point in points], axes.log_y)
    marks, left_out = list[str](), list[str]()
    for point in points:
        x, y = across.place(point["x"]), up.place(point["y"])
        if x is None or y is None:
            left_out.append(f"{point['name']}: {_said(axes, point)}")
        else:
            marks.append(_mark(point, _x(x), _y(y), axes, runs, len(points) <= MOST_LABELS))
    said = f"{axes.y} over {axes.x}: {len(marks)} runs"
    content = (*_frame(across, up, axes), *marks)
    view_box = f"0 0 {WIDTH} {HEIGHT}"
    return Drawing(
        element("svg", *content, viewBox=view_box, role="group", aria_label=said, class_="scatter"), left_out
    )


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (MARGIN + (1 - 2 * MARGIN) * share)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (MARGIN + (1 - 2 * MARGIN) * share)


def _said(axes: Axes, point: Mapping[str, Any]) -> str:
    values = ((axes.x, point["x"]), (axes.y, point["y"]))
    return ", ".join(f"{key} {'unknown' if value is None else axis.shown(value)}" for key, value in values)


def _mark(point: Mapping[str, Any], x: float, y: float, axes: Axes, runs: str, named: bool) -> str:
    said = f"{point['name']}: {_said(axes, point)}"
    circle = element("circle", element("title", text(said)), cx=x, cy=y, r=5.0)
    ends = x > WIDTH - 140
    name = element("text", text(point["name"], 40), x=x - 9 if ends else x + 9, y=y + 4, text_anchor=_anchor(ends))
    href = runs + quote(point["name"], safe="")
    return element("a", circle, name if named else "", href=href, aria_label=said, class_="mark")


def _anchor(ends: bool) -> str:
    return "end" if ends else "start"


def _frame(across: axis.Axis, up: axis.Axis, axes: Axes) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    pieces = []
    for share, label in across.ticks:
        pieces.append(element("line", x1=_x(share), x2=_x(share), y1=float(TOP), y2=float(bottom), class_="grid"))
        pieces.append(element("text", text(label), x=_x(share), y=bottom + 16.0, text_anchor="middle"))
    for share, label in up.ticks:
        pieces.append(element("line", x1=float(LEFT), x2=float(right), y1=_y(share), y2=_y(share), class_="grid"))
        pieces.append(element("text", text(label), x=LEFT - 6.0, y=_y(share) + 4, text_anchor="end"))
    middle = (TOP + bottom) / 2
    name_x = element("text", text(axes.x, 80), x=(LEFT + right) / 2, y=bottom + 38.0, text_anchor="middle")
    turned = f"rotate(-90 14 {middle:g})"
    name_y = element("text", text(axes.y, 50), x=14.0, y=middle, text_anchor="middle", transform=turned)
    return [*pieces, element("g", name_x, name_y, class_="title")]
