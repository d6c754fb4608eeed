"""Drawings in SVG: where values lie, and that names and values stay text."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.views import axis, parallel_svg, scatter_svg
from repro.views.scatter_svg import Axes
from repro.views.svg import element, text

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\x00\u202e]]>"
SVG = "{http://www.w3.org/2000/svg}"
VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.sampled_from([HOSTILE, 0.0, -0.0, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308]),
)


def parsed(svg):
    """The elements, once it is sure that what was said is only text."""
    root = ElementTree.fromstring(svg)
    tags = {one.tag for one in root.iter()}
    assert tags <= {"svg", "g", "a", "line", "text", "title", "circle", "polyline"}
    for one in root.iter():
        assert not [name for name in one.attrib if name.startswith("on") or name == "style"]
        for value in one.attrib.values():
            assert "nan" not in value or one.tag == "a" or "aria-label" in one.attrib
    return root


def test_an_element_escapes_what_it_is_given():
    said = element("a", text(HOSTILE), href=HOSTILE, stroke_width=1.50, class_="x")
    found = ElementTree.fromstring(said)
    assert "<script>" not in said
    assert found.attrib["stroke-width"] == "1.5"
    assert found.attrib["class"] == "x"
    assert found.attrib["href"].startswith("<script>alert(1)</script>\"'&\\x1b")
    assert found.text.startswith("<script>alert(1)</script>\"'&\\x1b[31m\\x00\\u202e")


@given(st.lists(VALUE, max_size=12), st.booleans())
def test_whatever_values_there_are_each_has_a_place_or_none(values, log):
    scale = axis.of(values, log)
    for share in [*(scale.place(value) for value in values), *(at for at, _ in scale.ticks)]:
        assert share is None or -1e-6 <= share <= 1 + 1e-6
    assert len(scale.ticks) <= 30
    numbers = [v for v in values if v is not None]
    if not log and all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in numbers):
        assert None not in [scale.place(value) for value in numbers]


def test_numbers_lie_by_their_size_and_all_else_evenly():
    assert [axis.of([0, 5, 10]).place(value) for value in (0, 5, 10)] == [0, 0.5, 1]
    assert [axis.of([1, 10, 100], log=True).place(value) for value in (1, 10, 100)] == [0, 0.5, 1]
    assert axis.of([1, 10, 0, -1], log=True).place(0) is None
    assert [label for _, label in axis.of([0, 10]).ticks] == ["0", "2", "4", "6", "8", "10"]
    assert [label for _, label in axis.of([1e-4, 1], log=True).ticks] == ["1e-4", "1e-3", "1e-2", "1e-1", "1e0"]
    assert axis.of(["adam", "sgd"]).ticks == [(0.25, "adam"), (0.75, "sgd")]
    assert [label for _, label in axis.of([10, 9, "auto", True]).ticks] == ["9", "10", "auto", "true"]
    assert axis.of([math.nan, None]).ticks == []
    assert axis.of([3, 3]).place(3) == 0.5


@given(st.lists(st.tuples(VALUE, VALUE), max_size=8), st.booleans(), st.booleans())
def test_every_point_is_drawn_or_named(pairs, log_x, log_y):
    points = [{"name": f"r{number}{HOSTILE}", "x": x, "y": y} for number, (x, y) in enumerate(pairs)]
    drawing = scatter_svg.draw(points, Axes(HOSTILE, HOSTILE, log_x, log_y), "../runs/")
    root = parsed(drawing.svg)
    links = root.findall("a")
    assert len(links) + len(drawing.left_out) == len(points)
    for link in links:
        assert link.attrib["href"].startswith("../runs/r")
        assert not set(link.attrib["href"]) & set("<>\"' ")
        circle = link.find("circle")
        assert 0 <= float(circle.attrib["cx"]) <= scatter_svg.WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= scatter_svg.HEIGHT
        assert link.find("circle/title").text.startswith("r")


@given(st.lists(st.lists(VALUE, min_size=3, max_size=3), max_size=6))
def test_every_line_passes_every_axis(rows):
    lines = [{"name": f"r{number}{HOSTILE}", "values": row} for number, row in enumerate(rows)]
    root = parsed(parallel_svg.draw(lines, ["lr", HOSTILE, "metrics.loss"], "../runs/"))
    links = root.findall("a")
    assert len(links) == len(lines)
    for link in links:
        points = [tuple(map(float, point.split(","))) for point in link.find("polyline").attrib["points"].split()]
        assert len(points) == 3
        assert all(0 <= x <= parallel_svg.WIDTH and 0 <= y <= parallel_svg.HEIGHT for x, y in points)


@pytest.mark.parametrize("count", [0, 1, 2, 8])
def test_parallel_axes_of_any_number(count):
    axes = [f"key{number}" for number in range(count)]
    root = parsed(parallel_svg.draw([{"name": "a", "values": list(range(count))}], axes, "runs/"))
    assert len(root.findall("g")) == count
