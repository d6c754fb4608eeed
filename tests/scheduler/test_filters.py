"""The filter language, alone and as a real mongod answers it."""

import math

import pytest

from repro.scheduler import runs
from repro.scheduler.lists import filters
from repro.scheduler.lists.listing import Only
from repro.scheduler.lists.pages import page
from repro.stages.errors import ConfigError

RUNS = {
    "a": ({"lr": 0.001, "arch": "resnet", "clip": None}, {"loss": 0.5, "val.acc": 0.9}),
    "b": ({"lr": 1, "arch": "baseline", "channels": [16, 32]}, {"loss": math.nan, "val.acc": 0.8}),
    "c": ({"lr": 1.0, "arch": "resnet", "ema": True}, {"loss": math.inf, "val.acc": "none"}),
    "d": ({"lr": "1", "note": "a=b in c"}, {}),
}


@pytest.fixture
def db(database):
    runs.create_indexes(database)
    for name, (config, metrics) in RUNS.items():
        more = {"params": {"momentum": {"value": 0.9, "default": True}}, "environment": {"torch": "2.13.0"}}
        run = runs.document(name, {"stage": "train"} | config, name, [], [])
        runs.restore(database, [run | {"location": "file:///s/x", "metrics": metrics} | more])
    return database


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("lr>1e-3", "bc"),
        ("lr >= 1e-3", "abc"),
        ("lr=1", "bc"),
        ("lr == 1.0", "bc"),
        ('lr="1"', "d"),
        ("lr!=1", "ad"),
        ("clip=null", "a"),
        ("clip exists", "a"),
        ("clip!=1", "a"),  # d and the others have none
        ("ema=true", "c"),
        ("ema=1", ""),
        ("arch=resnet", "ac"),
        ("arch in resnet,baseline", "abc"),
        ('arch in ["baseline", "x"]', "b"),
        ("lr in 0.001, 1", "abc"),
        ("arch<c", "b"),
        ("channels=32", "b"),
        ("channels=[16, 32]", "b"),
        ("note=a=b in c", "d"),
        ("metrics.loss<1", "a"),
        ("metrics.loss=NaN", "b"),
        ("metrics.loss=Infinity", "c"),
        ("metrics.loss exists", "abc"),
        ("metrics.val.acc>0.85", "a"),
        ("metrics.val.acc=none", "c"),
        ("metrics.val.acc!=0.9", "bc"),
        ("metrics.val.acc in 0.9,0.8", "ab"),
        ("params.momentum=0.9", "abcd"),
        ("environment.torch=2.13.0", "abcd"),
    ],
)
def test_it_means_what_it_says(db, where, names):
    found = page(db, Only(where=[filters.parse(where)]), sort="name").rows
    assert "".join(run["_id"] for run in found) == names


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("lr", "is no condition; write KEY OP VALUE"),
        ("", "is no condition"),
        ("lr>", "has no value"),
        ("arch in", "is no condition"),
        ("arch in []", "has no value"),
        ("lr={}", "values are numbers"),
        ("lr=[[1]]", "values are numbers"),
        ("lr=99999999999999999999", "at most 64 bits"),
        ("metric.loss>1", "did you mean metrics.loss?"),
        ("$where=1", "neither a key of configs"),
        ("metrics.$where=1", "neither a key of configs"),
        ("metrics.=1", "neither a key of configs"),
        ("metrics.a..b=1", "neither a key of configs"),
        ("a-b=1", "neither a key of configs"),
    ],
)
def test_what_is_no_condition_is_refused_with_how_to_write_one(where, said):
    with pytest.raises(ConfigError, match=said.replace("?", "[?]")):
        filters.parse(where)


def test_conditions_are_joined(db):
    where = [filters.parse(text) for text in ("lr>=0.001", "arch=resnet", "metrics.loss<1")]
    assert [run["_id"] for run in page(db, Only(where=where)).rows] == ["a"]
