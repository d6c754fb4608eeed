"""Curves from a file and from what a running run tells."""

import pytest

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
