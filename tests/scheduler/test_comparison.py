"""Only what differs, and every cell of it comes back from a spreadsheet's file."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.scheduler.configs import spelling
from repro.scheduler.configs.comparison import Cell, Subject, compare
from repro.stages.errors import ReproError
from repro.views import comparison_table

KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["", "TRUE", "=1+1", "-x", "+1", "@a", "1e-3", "Mar-5", "sept2", "null", "a,b", 'say "x"', "two\nlines", " a "]
)
VALUES = SCALARS | TEXTS | st.lists(SCALARS | TEXTS, max_size=4)
SUBJECTS = st.lists(
    st.builds(
        lambda c, d: (c, d), st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, max_size=5)
    ),
    min_size=1,
    max_size=6,
).map(lambda found: [Subject(f"c{n}", config, defaults) for n, (config, defaults) in enumerate(found)])


def read(text):
    """A diff's CSV as a spreadsheet holds it, back as {name: {key: Cell}}."""
    header, *rows = csv.reader(io.StringIO(text))
    marked = header[-1] == comparison_table.DEFAULTS
    keys = header[1:-1] if marked else header[1:]
    found = {}
    for name, *values in rows:
        defaults = values.pop().split() if marked else []
        found[name] = {k: Cell(spelling.parse(v), k in defaults) for k, v in zip(keys, values, strict=True) if v}
    return found


@given(VALUES)
def test_a_cell_comes_back(value):
    assert repr(spelling.parse(spelling.spell(value))) == repr(value)


@given(VALUES)
def test_no_string_can_be_taken_for_a_formula_a_number_or_nothing(value):
    spelt = spelling.spell(value)
    assert spelt
    if isinstance(value, str):
        assert spelt[0] not in "=+-@\t\r 0123456789"


@pytest.mark.parametrize("word", ["Mar-5", "sept2", "dec1", "true", "NULL", "1-2", "3/4", "", " a", "May 5th", "a,b"])
def test_what_a_spreadsheet_would_change_is_quoted(word):
    assert spelling.spell(word) == f'"{word}"'


def test_a_true_that_a_spreadsheet_wrote_is_true():
    assert spelling.parse("TRUE") is True


@given(SUBJECTS, st.booleans())
def test_any_diff_round_trips_through_csv(subjects, transpose):
    found = compare(subjects)
    rows = comparison_table.plain(found, transpose)
    back = read(spelling.to_csv(zip(*rows, strict=True) if transpose else rows))
    assert list(back) == [row.name for row in found.rows]
    assert {n: repr(sorted(c.items())) for n, c in back.items()} == {
        row.name: repr(sorted(row.cells.items())) for row in found.rows
    }


@given(SUBJECTS)
def test_a_key_is_shown_exactly_if_it_differs(subjects):
    shown = compare(subjects).keys
    for key in {key for subject in subjects for key in subject.cells()}:
        said = [key in subject.config for subject in subjects]
        values = {repr(subject.cells()[key].value) for subject in subjects if key in subject.cells()}
        assert (key in shown) == (any(said) != all(said) or len(values) > 1)


A = Subject("a", {"stage": "train", "lr": 0.1, "epochs": 1}, {"seed": 0}, {"accuracy": 0.5})
B = Subject("b", {"stage": "train", "lr": 0.2}, {"epochs": 1, "seed": 0}, {"accuracy": 0.9})
C = Subject("c", {"stage": "train", "lr": 1}, {"seed": 1})


def test_one_and_one_point_zero_differ_and_a_default_differs_from_the_same_value_said():
    assert compare([A, B]).keys == ["lr", "epochs"]
    assert compare([C, Subject("d", {"stage": "train", "lr": 1.0})]).keys == ["lr"]


def test_defaults_that_differ_are_shown_but_one_that_is_not_known_is_no_difference():
    assert compare([B, C]).keys == ["lr", "seed"]
    assert "epochs" not in compare([B, C]).rows[1].cells


def test_keep_and_drop():
    assert compare([A, B], keep=["stage"], drop=["lr"]).keys == ["stage", "epochs"]
    assert compare([A, B], metrics=True, drop=["accuracy"]).keys == ["lr", "epochs"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [("lr", "abc"), ("-lr", "cba"), ("accuracy", "abc"), ("-accuracy", "bac"), ("-name", "cba"), ("epochs", "abc")],
)
def test_sorted_by_a_key_or_a_metric_whether_it_is_shown_or_not(sort, order):
    assert "".join(row.name for row in compare([A, B, C], metrics=True, sort=sort).rows) == order


def test_sort_and_base_that_name_nothing_are_refused():
    with pytest.raises(ReproError, match="no config has this key; there are: stage, lr"):
        compare([A, B], sort="x")
    with pytest.raises(ReproError, match="none of those compared: a, b"):
        compare([A, B], base="c")


def test_from_a_base_the_others_repeat_none_of_its_cells():
    first, second, third = compare([A, B, C], base="b").rows
    assert (first.name, first.same) == ("b", frozenset())
    assert (second.name, second.same) == ("a", {"seed"})
    assert (third.name, third.same) == ("c", frozenset())
    assert comparison_table.plain(compare([A, B, C], base="b")) == [
        ["name", "lr", "epochs", "seed", "(defaults)"],
        ["b", "0.2", "1", "0", "epochs seed"],
        ["a", "0.1", "1", "", ""],
        ["c", "1", "(absent)", "1", "seed"],
    ]


def source(name, stage, **config):
    return Subject(name, {"stage": stage} | config)


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (("augmentation", "augmentationa"), "augmentation.rotate"),
        (("augmentationa", "augmentationb"), "augmentation.rotate"),
        (("mild", "wild"), "augment.rotate"),
    ],
)
def test_lineage_compares_sources_of_one_role_under_one_name(names, key):
    data = source("data", "make_dataset", color="grey")
    subjects = [
        Subject(f"m{n}", {"stage": "train"}, ancestors=[source(name, "augment", rotate=n), data])
        for n, name in enumerate(names)
    ]
    assert compare(subjects, lineage=True).keys == [key]


def test_two_sources_of_one_stage_are_two_roles():
    subjects = [
        Subject(
            f"m{n}", {"stage": "compare"}, ancestors=[source("x", "train", lr=1), source(f"y{'a' * n}", "train", lr=n)]
        )
        for n in range(2)
    ]
    assert compare(subjects, lineage=True).keys == ["y.lr"]
