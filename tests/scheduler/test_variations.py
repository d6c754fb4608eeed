"""Clone, then diff: exactly what was set. Letters, grids, samples, and what is refused."""

import json
import math
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from repro.scheduler.configs import variations
from repro.scheduler.configs.comparison import Subject, compare
from repro.scheduler.configs.variations import Span
from repro.stages import config as configs
from repro.stages.errors import ConfigError
from tests.scheduler.test_comparison import KEYS, VALUES


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, min_size=1, max_size=3))
def test_clone_then_diff_shows_exactly_what_was_set(config, change):
    changed = {k for k in change if configs.canonical_item(config, k) != configs.canonical_item(change, k)}
    assume(changed)
    with tempfile.TemporaryDirectory() as folder:
        (made,) = variations.place("model", variations.vary(config, [change], "model"), Path(folder), {})
        written = configs.load(made.path)
    found = compare([Subject("model", config), Subject(made.name, written)])
    assert set(found.keys) == changed
    assert {k: repr(found.rows[1].cells[k].value) for k in changed} == {k: repr(change[k]) for k in changed}


@given(KEYS, st.lists(VALUES, min_size=1, max_size=4))
def test_values_that_are_spelt_as_json_are_read_back(key, values):
    found = variations.parse_choice(f"{key}={','.join(json.dumps(value) for value in values)}")
    assert repr(found) == repr((key, values))


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("lr=1e-2,1e-3", [0.01, 0.001]),
        ("arch=baseline,resnet", ["baseline", "resnet"]),
        ("sizes=[1,2],[3]", [[1, 2], [3]]),
        ('note="a,b"', ["a,b"]),
        ("note=", [""]),
        ("note=[1", ["[1"]),
        ("epochs=5..20", Span(5, 20)),
        ("lr=log:1e-4..1e-1", Span(1e-4, 0.1, log=True)),
        ("lr=0.1..1", Span(0.1, 1)),
        ("path=a..b", ["a..b"]),
    ],
)
def test_what_is_set(text, choice):
    assert repr(variations.parse_choice(text)[1]) == repr(choice)


@pytest.mark.parametrize(
    "text",
    ["lr", "lr=2..1", "lr=1..1", "lr=log:0..1", "lr=1..1e999", "n=1..9999999999999999999", "1x=3", "lr=NaN"],
)
def test_what_can_not_be_set(text):
    with pytest.raises(ConfigError):
        variations.parse_choice(text)


def test_a_grid_has_every_combination_and_no_range():
    assert variations.grid({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    with pytest.raises(ConfigError, match="--random N"):
        variations.grid({"a": Span(1, 2)})


@given(st.integers(), st.floats(1e-6, 1e6), st.floats(1.01, 1e6), st.booleans())
def test_samples_lie_in_their_range_and_follow_from_the_seed(seed, low, factor, log):
    choices = {"lr": Span(low, low * factor, log), "epochs": Span(3, 9)}
    found = variations.sample(choices, 3, seed)
    assert found == variations.sample(choices, 3, seed)
    assert all(low <= change["lr"] <= low * factor and 3 <= change["epochs"] <= 9 for change in found)
    assert all(type(change["epochs"]) is int and type(change["lr"]) is float for change in found)


def test_a_log_range_gives_each_order_of_magnitude_its_share():
    logs = [math.log10(change["lr"]) for change in variations.sample({"lr": Span(1e-4, 1.0, log=True)}, 400, 1)]
    assert all(60 < sum(place <= value < place + 1 for value in logs) < 140 for place in range(-4, 0))


def test_more_samples_than_there_are_values_are_refused():
    assert len(variations.sample({"a": [1, 2], "b": [1, 2]}, 4, 0)) == 4
    with pytest.raises(ConfigError, match="only 2 different"):
        variations.sample({"a": [1, 2]}, 3, 0)


def test_a_change_that_changes_nothing_is_refused_and_one_is_one_point_zero_is_a_change():
    with pytest.raises(ConfigError, match="change nothing"):
        variations.vary({"lr": 1, "a": 2}, [{"lr": 1}, {"a": 2}], "model")
    assert variations.vary({"lr": 1}, [{"lr": 1.0}, {"lr": 1}, {"lr": 1.0}], "model") == [{"lr": 1.0}]


def names(made):
    return [(one.name, one.new) for one in made]


def test_the_next_letter_that_neither_a_file_nor_a_run_has(tmp_path):
    (tmp_path / "modela.json").write_text('{"lr": 1}')
    (tmp_path / "model_x.json").write_text("no config, and none of ours")
    known = {"modelb": {"lr": 2}, "modelc": {"lr": 3}}
    varied = [{"lr": 4}, {"lr": 1}, {"lr": 2}, {"lr": 5}]
    expected = [("modeld", True), ("modela", False), ("modelb", True), ("modele", True)]
    assert names(variations.place("model", varied, tmp_path, known, dry_run=True)) == expected
    assert not (tmp_path / "modeld.json").exists()
    assert names(variations.place("model", varied, tmp_path, known)) == expected
    assert json.loads((tmp_path / "modelb.json").read_text()) == {"lr": 2}
    assert names(variations.place("model", varied, tmp_path, known)) == [(name, False) for name, _ in expected]


def test_a_letter_that_somebody_takes_in_between_is_left_to_them(tmp_path, monkeypatch):
    link = os.link

    def slower(written, path):
        if Path(path).name == "modela.json" and not Path(path).exists():
            Path(path).write_text('{"lr": 9}')
        link(written, path)

    monkeypatch.setattr(os, "link", slower)
    assert names(variations.place("model", [{"lr": 1}], tmp_path, {})) == [("modelb", True)]
    assert json.loads((tmp_path / "modela.json").read_text()) == {"lr": 9}


def test_after_a_name_that_no_config_can_have_nothing_is_written(tmp_path):
    """Such as a rerun's: its variations could not be submitted."""
    with pytest.raises(ConfigError, match=r"bad name 'model\.verify'"):
        list(variations.place("model.verify", [{"stage": "train", "lr": 1}], tmp_path, {}))
    assert not list(tmp_path.iterdir())
