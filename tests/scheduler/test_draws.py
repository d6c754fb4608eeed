"""Draws are the same for ever: literal values, which no version of Python or of ours may change."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.scheduler.configs import breeding, variations
from repro.scheduler.configs.comparison import Subject
from repro.scheduler.configs.draws import Draws
from repro.scheduler.configs.variations import Span

SEEDS = st.integers()


def test_what_a_seed_gives():
    source = Draws(0, 7)
    assert [source.unit() for _ in range(3)] == [0.8620504515577022, 0.7379384760877288, 0.3543909231367729]
    assert [source.below(10) for _ in range(8)] == [2, 2, 9, 5, 5, 3, 6, 4]
    assert [source.choice("abcd") for _ in range(8)] == ["a", "b", "c", "b", "d", "c", "d", "b"]
    assert source.sample(range(9), 9) == [7, 5, 3, 4, 1, 6, 2, 0, 8]


def test_what_clone_draws():
    choices = {
        "lr": Span(1e-4, 0.1, log=True),
        "momentum": Span(0.5, 0.99),
        "epochs": Span(5, 20),
        "width": Span(1, 4096, log=True),
        "arch": ["baseline", "resnet"],
    }
    assert variations.sample(choices, 3, 0) == [
        {"lr": 0.001128, "momentum": 0.8987, "epochs": 19, "width": 2, "arch": "baseline"},
        {"lr": 0.0002621, "momentum": 0.5945, "epochs": 18, "width": 1053, "arch": "resnet"},
        {"lr": 0.0003468, "momentum": 0.7185, "epochs": 8, "width": 336, "arch": "baseline"},
    ]


def test_what_breed_draws():
    parents = [
        Subject(name, {"stage": "train", "lr": lr, "momentum": momentum, "epochs": epochs, "arch": arch})
        for name, lr, momentum, epochs, arch in [("a", 1e-4, 0.5, 3, "baseline"), ("b", 0.1, 0.9, 40, "resnet")]
    ]
    children = breeding.breed(parents, [], 3, 0.5, 1, lambda config: None)
    assert [child.config for child in children] == [
        {"stage": "train", "lr": 0.1, "momentum": 0.8808, "epochs": 11, "arch": "resnet"},
        {"stage": "train", "lr": 0.04751, "momentum": 0.8322, "epochs": 12, "arch": "baseline"},
        {"stage": "train", "lr": 0.0005211, "momentum": 0.5265, "epochs": 25, "arch": "resnet"},
    ]


@given(SEEDS, st.integers(1, 2**70))
def test_a_number_below(seed, count):
    assert 0 <= Draws(seed).below(count) < count


@given(SEEDS, st.lists(st.integers(), max_size=9, unique=True), st.data())
def test_a_sample_has_no_item_twice(seed, items, data):
    count = data.draw(st.integers(0, len(items)))
    drawn = Draws(seed).sample(items, count)
    assert len(set(drawn)) == len(drawn) == count
    assert set(drawn) <= set(items)


def test_all_are_as_likely():
    source = Draws("likely")
    found = Counter(tuple(source.sample("abc", 2)) for _ in range(6000))
    assert len(found) == 6
    assert all(900 < count < 1100 for count in found.values())


@st.composite
def spans(draw):
    if draw(st.booleans()):
        low = draw(st.integers(1, 10**6))
        return Span(low, low + draw(st.integers(1, 10**6)), draw(st.booleans()))
    low = draw(st.floats(1e-9, 1e9))
    return Span(low, low * draw(st.floats(1.01, 1e9)), draw(st.booleans()))


@given(spans(), st.floats(0, 1, exclude_max=True))
def test_a_value_has_its_place_and_the_place_its_value(span, place):
    value = span.at(place)
    assert span.low <= value <= span.high
    assert 0 <= span.place(value) <= 1
    assert span.at(span.place(value)) == pytest.approx(value, rel=2e-3)
    if span.is_whole:
        assert span.at(span.place(value)) == value


def test_the_ends_of_whole_numbers_are_as_likely_as_those_between():
    source = Draws("ends")
    found = Counter(Span(1, 4).draw(source) for _ in range(4000))
    assert all(900 < found[value] < 1100 for value in (1, 2, 3, 4))
    found = Counter(Span(1, 2, log=True).draw(source) for _ in range(4000))
    share = math.log(3) / math.log(5)  # from a half to one and a half
    assert abs(found[1] / 4000 - share) < 0.03


def test_the_widest_spans():
    assert Span(-1.7e308, 1.7e308).at(0.5) == 0
    assert Span(-(2**63), 2**63 - 1).at(0.0) == -(2**63)
    assert 0 <= Span(-1.7e308, 1.7e308).place(1e308) <= 1
