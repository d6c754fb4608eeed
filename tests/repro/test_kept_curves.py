"""Curves of results that were read once."""

from repro.readers.kept_curves import KeptCurves
from repro.scheduler.live.curves import Curve


def curve(run, points):
    return Curve(run, "loss", "epoch", list(range(points)), [0.5] * points)


def test_a_result_is_read_once_and_the_oldest_gives_way():
    kept, read = KeptCurves(most=250), []

    def get(run, points=100):
        return kept.get((run, f"store/{run}"), lambda: read.append(run) or [curve(run, points)])

    assert list(get("a")[0].x) == list(range(100))
    assert list(get("a")[0].y) == [0.5] * 100
    get("b")
    get("a")
    assert read == ["a", "b"]
    get("c")  # b was asked for longest ago
    get("a")
    assert read == ["a", "b", "c"]
    get("b")
    assert read == ["a", "b", "c", "b"]
    get("large", 10_000)  # larger than all: it alone is kept
    get("large", 10_000)
    assert read[4:] == ["large"]


def test_equal_runs_have_one_folder_and_two_names():
    kept = KeptCurves()
    for run in ("a", "b"):
        assert kept.get((run, "store/a"), lambda run=run: [curve(run, 2)])[0].run == run


def test_that_there_is_none_is_kept_too():
    kept, read = KeptCurves(), []
    for _ in range(2):
        assert kept.get(("a", "store/a"), lambda: read.append(1) or []) == []
    assert read == [1]
