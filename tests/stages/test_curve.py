"""What a stage told is kept: all of it, or honestly thinned; and the same for a run that was killed and went on."""

import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.stages import curve
from repro.stages.curve import CurveRecorder

FEW = 24  # points, in the place of thousands
FIGURES = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**63), 2**63 - 1) | st.booleans()
POINTS = st.lists(st.dictionaries(st.sampled_from(["loss", "accuracy"]), FIGURES, max_size=2), max_size=300)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve, "MOST", FEW)
        yield


def recorded(points, first=0, recorder=None):
    recorder = recorder or CurveRecorder()
    for step, figures in enumerate(points, first):
        recorder.add(step, figures)
    return recorder


def rows(recorder):
    return list(csv.DictReader(io.StringIO(recorder.as_csv().decode())))


def test_all_points_are_kept_up_to_the_bound_and_read_back_as_they_were():
    told = [{"loss": 1 / (step + 3), "text": "a,b\n"} for step in range(FEW)]
    found = rows(recorded(told))
    assert [int(row["step"]) for row in found] == list(range(FEW))
    assert [float(row["loss"]) for row in found] == [one["loss"] for one in told]
    assert {row["text"] for row in found} == {"a,b\n"}


@given(POINTS)
def test_no_extreme_and_no_figure_that_is_not_finite_is_lost(points):
    found = rows(recorded(points))
    told = [(step, figures) for step, figures in enumerate(points) if figures]
    assert len(found) <= max(FEW, 1)
    assert [int(row["step"]) for row in found] == sorted({int(row["step"]) for row in found})
    assert bool(found) == bool(told)
    if not told:
        return
    assert int(found[-1]["step"]) == told[-1][0]
    for name in ("loss", "accuracy"):
        values = [figures[name] for _, figures in told if name in figures]
        kept = [row[name] for row in found if row.get(name)]
        finite = [value for value in values if math.isfinite(value)]
        spelled = {repr(value) for value in values}
        assert set(kept) <= spelled
        if finite:
            of_kept = [eval(text) for text in kept if text not in ("nan", "inf", "-inf")]
            assert (min(of_kept), max(of_kept)) == (min(finite), max(finite))
        for odd in ("nan", "inf", "-inf"):
            if odd in spelled:
                first = next(step for step, figures in told if repr(figures.get(name)) == odd)
                assert odd in kept
                assert next(int(row["step"]) for row in found if row.get(name) == odd) == first


@given(POINTS, st.integers(0, 300))
def test_a_run_that_went_on_from_a_checkpoint_has_the_same_curve(points, at):
    at = min(at, len(points))
    before = recorded(points[:at])
    after = CurveRecorder()
    after.restore(json.loads(json.dumps(before.state())))
    assert recorded(points[at:], at, after).as_csv() == recorded(points).as_csv()


def test_names_are_bounded(monkeypatch):
    monkeypatch.setattr(curve, "MOST_NAMES", 3)
    found = rows(recorded([{f"n{step}": 1.0} for step in range(10)]))
    assert [row["step"] for row in found] == ["0", "1", "2"]
    assert found[0].keys() == {"step", "n0", "n1", "n2"}
