"""Curves from a file and from what a running run tells."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.scheduler.live import curves
from repro.scheduler.live.curves import Curve
from repro.scheduler.live.points import Point
from repro.stages.errors import ReproError

TABLE = b"epoch,train_loss,validation_loss,validation_accuracy\n1,2.0,,0.5\n2,1.0,1.5,0.75\n"


def test_a_file_gives_a_curve_a_column_without_its_gaps():
    train, validation, accuracy = curves.from_csv("a", TABLE)
    assert train == Curve("a", "train_loss", "epoch", [1, 2], [2, 1])
    assert (validation.x, validation.y, validation.of_validation) == ([2], [1.5], True)
    assert curves.chosen([train, validation, accuracy], []) == [train, validation]
    assert curves.chosen([train, validation, accuracy], ["validation_accuracy"]) == [accuracy]


@pytest.mark.parametrize("data", [b"epoch,loss\n1,x\n", b"epoch,loss\n1\n", b"\xff\n"])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(ReproError, match="no table of numbers"):
        curves.from_csv("a", data)


def test_points_lie_at_parts_of_epochs_where_these_are_known():
    points = [Point(5, 20, {"loss": 2.0}), Point(10, 20, {"loss": 1.0, "more": 3.0})]
    assert curves.from_points("a", points, 4) == [
        Curve("a", "loss", "epoch", [1, 2], [2, 1]),
        Curve("a", "more", "epoch", [2], [3]),
    ]
    assert curves.from_points("a", points, None)[0].x == [5, 10]


def test_smoothing_keeps_a_level_and_halves_a_jump():
    assert curves.smooth(Curve("a", "loss", "epoch", [1, 2, 3], [4.0, 4.0, 4.0]), 0.9).y == pytest.approx([4, 4, 4])
    assert curves.smooth(Curve("a", "loss", "epoch", [1, 2], [0.0, 3.0]), 0.5).y == pytest.approx([0, 2])
    assert curves.smooth(Curve("a", "loss", "epoch", [1, 2], [0.0, 3.0]), 0).y == [0, 3]


VALUE = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf]))


@given(st.lists(VALUE, min_size=1, max_size=400), st.integers(1, 20))
def test_thinning_loses_no_peak_and_nothing_that_is_not_finite(values, columns):
    curve = Curve("a", "loss", "step", list(range(len(values))), values)
    thin = curves.thinned(curve, columns)
    kept = list(zip(thin.x, map(repr, thin.y), strict=True))
    every = list(zip(map(float, curve.x), map(repr, values), strict=True))
    assert kept == [pair for pair in every if pair in set(kept)]  # points of the curve, in their order, each once
    assert [kept[0], kept[-1]] == [every[0], every[-1]]
    odd = [pair for pair, value in zip(every, values, strict=True) if not math.isfinite(value)]
    assert set(odd) <= set(kept)
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        assert {repr(min(finite)), repr(max(finite))} <= {value for _, value in kept}
    assert len(kept) - len(odd) <= max(4 * columns, 2 * columns + 6)


def test_a_part_of_a_curve_goes_on_to_its_neighbours_and_is_thinned_by_itself():
    curve = Curve("a", "loss", "step", list(range(10_000)), [float(step % 7) for step in range(10_000)])
    part = curves.thinned(curve, 100, 50, 60)
    assert part.x == list(range(49, 62))
    whole = curves.thinned(curve, 100)
    assert 200 <= len(whole.x) <= 210
    assert curves.thinned(curve, 100, 20_000, 30_000).x == []
    assert curves.thinned(curve, 100, 50.2, 50.8).x == [50, 51]


@pytest.mark.parametrize("body", ["1,true\n", "1,false\n2,3\n", "1,[2]\n", "1,null\n", "1\n2,3,4\n", "1,{}\n", "1,x\n"])
def test_what_json_would_take_for_a_number_is_none(body):
    with pytest.raises(ReproError, match="no table of numbers"):
        curves.from_csv("a", f"epoch,loss\n{body}".encode())


@pytest.mark.parametrize(
    ("body", "x", "y"),
    [
        ("1,2\n3,4e-3\n", [1, 3], [2, 0.004]),
        ("1,nan\n2,inf\n3,-inf\n", [1, 2, 3], [math.nan, math.inf, -math.inf]),
        ("1,.5\n2,+3\n3,007\n", [1, 2, 3], [0.5, 3, 7]),  # which JSON would not
        ("1,\n2,0.1\n", [2], [0.1]),
        ("1,0.1\n2,0.2", [1, 2], [0.1, 0.2]),
        ('1,"0.1"\r\n2,0.2\r\n', [1, 2], [0.1, 0.2]),
        ("\r\n1,0.1\r\n2,0.2\r\n", [1, 2], [0.1, 0.2]),
        ("1,0.1,9\n2,0.2\n", [1, 2], [0.1, 0.2]),
    ],
)
def test_numbers_are_read_however_they_are_spelled(body, x, y):
    (curve,) = curves.from_csv("a", f"epoch,loss\n{body}".replace("\n\r", "\r").encode())
    assert (curve.unit, curve.figure) == ("epoch", "loss")
    assert list(curve.x) == x
    assert [*curve.y] == pytest.approx(y, nan_ok=True, rel=0)
