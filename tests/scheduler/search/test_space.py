"""Places of values and values of places; points that were not tried."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.scheduler.configs.draws import Draws
from repro.scheduler.configs.variations import Span
from repro.scheduler.search.space import Axis, Space
from repro.stages import config as configs

CHOICES = [
    Span(0, 0.1),
    Span(1e-4, 0.1, log=True),
    Span(-3, 8),
    Span(1, 4096, log=True),
    [16, 32, 64],
    [64, 16, 32.5],
    ["baseline", "größer", "小さい"],
    [True, False],
    [None, 1, "a"],
]


@pytest.mark.parametrize("choice", CHOICES, ids=repr)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_value_has_its_place(choice, place):
    axis = Axis("key", choice)
    value = axis.at(place)
    there = axis.place(value)
    assert 0 <= there <= 1
    assert repr(axis.at(min(there, 1 - 2**-53))) == repr(value)
    low, high = axis.part(there)
    assert -1e-12 <= low <= there <= high <= 1 + 1e-12
    assert (low == high) == (axis.size is None)


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if Axis("k", choice).size], ids=repr)
def test_each_value_has_a_part_and_the_parts_fill_the_way(choice):
    axis = Axis("key", choice)
    parts = sorted(axis.part(axis.place(axis.value(number))) for number in range(axis.size))
    assert len(set(parts)) == axis.size
    assert (parts[0][0], parts[-1][1]) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    assert all(one[1] == pytest.approx(other[0]) for one, other in pairwise(parts))


def test_numbers_are_ordered_by_size_and_other_choices_are_not():
    assert [Axis("k", [64, 16, 32]).place(value) for value in (16, 32, 64)] == [1 / 6, 0.5, 5 / 6]
    assert [Axis("k", ["c", "a"]).place(value) for value in ("c", "a")] == [0.25, 0.75]
    assert [Axis("k", choice).is_ordered for choice in CHOICES] == [True] * 6 + [False] * 3


def test_what_lies_outside_has_no_place():
    assert Axis("k", Span(0, 0.1)).place(0.2) is None
    assert Axis("k", Span(0, 8)).place(1.5) is None
    assert Axis("k", Span(0, 0.1)).place("0.05") is None
    assert Axis("k", Span(0.0, 1.0)).place(True) is None
    assert Axis("k", [1, 2]).place(True) is None
    assert Axis("k", [True, False]).place(1) is None
    assert Axis("k", Span(0, 0.1)).place(0) == 0  # an integer is a number
    assert Space.of({"a": Span(0, 1), "b": [1, 2]}).point({"a": 1}) is None


def test_the_order_of_keys_does_not_count():
    one, other = Space.of({"b": [1, 2], "a": Span(0, 1.0)}), Space.of({"a": Span(0, 1.0), "b": [1, 2]})
    assert one == other
    assert one.at((0.5, 0.75)) == {"a": 0.5, "b": 2}


def test_keys_of_any_alphabet():
    space = Space.of({"größe": [1, 2, 3], "速さ": Span(0.0, 1.0)})
    assert space.point(space.at((0.5, 0.25))) == (0.5, 0.25)


def test_fresh_points_until_there_are_none():
    space = Space.of({"a": Span(1, 7), "b": ["x", "y"], "c": [1, 2, 3]})
    assert space.size == 42
    tried = set()
    for number in range(42):
        tried.add(space.fresh(Draws("fresh", number), tried))
    assert len({configs.canonical(space.at(point)) for point in tried}) == 42
    assert space.fresh(Draws("fresh", 42), tried) is None


def test_a_large_space_is_not_gone_through():
    space = Space.of({f"k{number}": Span(0, 2**62) for number in range(9)})
    assert space.fresh(Draws("large"), set()) is not None


def test_a_range_that_is_narrower_than_its_rounded_values_ends():
    space, tried = Space.of({"a": Span(0.1, 0.1002)}), set()
    for number in range(3):
        tried.add(space.fresh(Draws("narrow", number), tried))
    assert {space.at(point)["a"] for point in tried} == {0.1, 0.1001, 0.1002}
    assert space.fresh(Draws("narrow"), tried) is None
