"""Lists by pages, walked to their end: every run once, in the order asked for, whatever the values."""

import itertools
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.scheduler import runs
from repro.scheduler.lists import filters
from repro.scheduler.lists.listing import STATES, Only
from repro.scheduler.lists.pages import page
from repro.stages.errors import ConfigError

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = st.one_of(
    st.integers(-2, 2),
    st.sampled_from([0.5, math.inf, -math.inf, math.nan, "", "b", "c", True, False, None, [1, 2]]),
)
QUEUES = st.lists(st.tuples(VALUES, st.integers(0, 3), st.sampled_from(STATES)), max_size=40)


@pytest.fixture
def db(database):
    runs.create_indexes(database)
    return database


def fill(db, rows):
    db.runs.delete_many({})
    documents = []
    for number, (value, minutes, state) in enumerate(rows):
        document = runs.document(f"r{number:03}", {"stage": "train", "key": value}, str(number), [], [])
        at = BEGAN + timedelta(minutes=minutes)
        documents.append(document | {"state": state, "submitted_at": at, "finished_at": at, "metrics": {"f": value}})
    if documents:
        db.runs.insert_many(documents)
    return documents


def walk(db, limit, **asked):
    names, after = [], None
    for _ in range(100):
        found = page(db, after=after, limit=limit, **asked)
        names += [run["_id"] for run in found.rows]
        if (after := found.after) is None:
            return names
        assert len(found.rows) == limit
    raise AssertionError("it has no end")


def kind(value):
    if isinstance(value, bool):
        return 2
    if isinstance(value, str):
        return 1
    return 3 if math.isnan(value) else 0


def ordered(documents, descending):
    """By value within its kind, then by name; what has no order is not in it."""
    known = [d for d in documents if not isinstance(d["metrics"]["f"], list | None)]
    found = []
    for number in range(4):
        of_kind = [d for d in known if kind(d["metrics"]["f"]) == number]
        if number < 3:
            of_kind.sort(key=lambda d: d["metrics"]["f"], reverse=descending)
        found += [d["_id"] for d in of_kind]
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(QUEUES, st.integers(1, 7), st.booleans(), st.sampled_from(["key", "metrics.f"]))
def test_by_a_key_or_a_figure(db, rows, limit, descending, key):
    documents = [d for d in fill(db, rows) if d["state"] == "done"]
    assert walk(db, limit, sort=f"{'-' * descending}{key}") == ordered(documents, descending)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(QUEUES, st.integers(1, 7))
def test_by_nothing_what_runs_comes_first_then_the_newest(db, rows, limit):
    documents = fill(db, rows)
    groups = ([d for d in documents if d["state"] == state] for state in STATES)
    wanted = itertools.chain(*(sorted(g, key=lambda d: d["submitted_at"], reverse=True) for g in groups))
    assert walk(db, limit) == [d["_id"] for d in wanted]


def test_by_facts_and_of_some_only(db):
    fill(db, [(number % 3, number % 2, "done" if number % 5 else "failed") for number in range(20)])
    some = Only(states=["failed"], where=[filters.parse("key in 0,1")])
    assert walk(db, 2, only=some, sort="name") == ["r000", "r010", "r015"]
    assert walk(db, 2, only=some, sort="-finished") == ["r015", "r000", "r010"]
    assert walk(db, 2, only=some, sort="-key") == ["r010", "r000", "r015"]


def test_of_each_run_no_more_is_read_than_was_asked_for(db):
    fill(db, [(1, 1, "done")])
    (run,) = page(db, sort="-key", fields=["config.lr", "state"]).rows
    assert run == {"_id": "r000", "state": "done", "config": {"key": 1}}
    (run,) = page(db, sort="-key", fields=["config"]).rows
    assert run == {"_id": "r000", "config": {"stage": "train", "key": 1}}


@pytest.mark.parametrize(
    "after", ["x", "é", "bnVsbA", "WzksMSwieCJd", "WzAsWzFdLCJ4Il0", "WzAseyJhdCI6MX0sIngiXQ", "WzAsMWU5OTksMV0"]
)
def test_a_place_that_is_none_is_refused(db, after):
    with pytest.raises(ConfigError, match="no place in this list"):
        page(db, sort="name", after=after)


def test_an_order_that_is_none_is_refused(db):
    with pytest.raises(ConfigError, match="neither a key of configs"):
        page(db, sort="a b")
    with pytest.raises(ConfigError, match="dot in its name"):
        page(db, sort="-metrics.val.acc")


def test_pages_of_a_list_read_no_more_than_their_rows(db):
    """By what the server examined: the last page costs what the first one does."""
    fill(db, [(number / 7, 0, "done") for number in range(500)])
    db.command("profile", 2)
    try:
        walk(db, 50, sort="-metrics.f")
    finally:
        db.command("profile", 0)
    examined = [
        entry["docsExamined"] for entry in db.system.profile.find({"ns": f"{db.name}.runs"}) if "docsExamined" in entry
    ]
    assert examined
    assert max(examined) <= 51
