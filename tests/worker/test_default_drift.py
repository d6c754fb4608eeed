"""Defaults that changed under done runs, found by one aggregation."""

import pytest

from repro.scheduler import runs
from repro.stages.source import registry
from repro.worker.audit import default_drift
from tests import sample

STAGE = """
PARAMS = 3

def stage(run):
    params = run.params
    params.get("channels", {channels}), params.get("lr", 0.1), params.get("sizes", [1, 2]), params["images"]
    params.get("computed", max(3, 2)), params.get("whole", 1)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Write today's code of a stage `lab`, which other packages offer as users' packages do."""
    info = tmp_path / "lab-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[repro.stages]\nlab = drifting_lab:stage\n")
    monkeypatch.syspath_prepend(tmp_path)

    def write(text=STAGE, **values):
        (tmp_path / "drifting_lab.py").write_text(text.format(**values))
        sample.forget()

    yield write
    sample.forget()


def done(db, name, stage="lab", config=None, **defaults):
    """A done run that read its config, and these defaults."""
    config = {"stage": stage} | (config or {})
    read = {k: {"value": v, "default": False} for k, v in config.items()}
    read |= {k: {"value": v, "default": True} for k, v in defaults.items()}
    document = runs.document(name, config, "0" * 64, [], [], params=read, location=f"file:///store/{name}-00000000")
    assert runs.restore(db, [document]) == []


def said(db, **only):
    return [str(found) for found in default_drift.drifts(db, **only)]


def test_a_changed_default_is_counted_once_for_all_its_runs(database, code):
    code(channels=10)
    for number in range(12):
        done(database, f"m{number:02}", channels=5, lr=0.1, sizes=[1, 2])
    done(database, "new", channels=10)
    done(database, "said", config={"channels": 5})
    assert said(database) == ["lab: channels was 5 in 12 done runs, is 10 today (e.g. m00)"]
    assert said(database, names=["new", "said"]) == []
    assert said(database, names=["m03"]) == ["lab: channels was 5 in 1 done run, is 10 today (e.g. m03)"]
    assert said(database, stage="train") == []
    code(channels=5)
    assert said(database) == ["lab: channels was 10 in 1 done run, is 5 today (e.g. new)"]


def test_a_default_of_another_type_is_another_default(database, code):
    code(channels="5.0")
    done(database, "whole", channels=5)
    done(database, "decimal", channels=5.0)
    done(database, "list", sizes=[1.0, 2])
    assert said(database) == [
        "lab: channels was 5 in 1 done run, is 5.0 today (e.g. whole)",
        "lab: sizes was [1.0, 2] in 1 done run, is [1, 2] today (e.g. list)",
    ]


def test_what_is_no_longer_read_is_harmless_only_if_no_config_said_it(database, code):
    code(channels=5)
    done(database, "idea", config={"dropout": 0.5})
    done(database, "plain", dropout=0.0)
    found = default_drift.drifts(database)
    assert [(str(f), f.harmless) for f in found] == [
        ("lab: dropout was given in 1 done run, is not read today (e.g. idea)", False),
        ("lab: dropout was 0.0 in 1 done run, is not read today (e.g. plain)", True),
    ]


def test_a_key_without_a_default_a_computed_one_and_a_stage_that_is_gone(database, code):
    code(channels=5)
    done(database, "a", images="*.png")
    done(database, "b", computed=3)
    done(database, "c", stage="gone", lr=1.0)
    found = {f.key: f for f in default_drift.drifts(database)}
    assert str(found["images"]).startswith('lab: images was "*.png" in 1 done run, has no default today')
    assert found["computed"].harmless
    assert 'unknown stage "gone"' in str(found[""])
    assert len(found) == 3


def test_only_done_runs_count(database, code):
    code(channels=10)
    done(database, "a", channels=5)
    database.runs.update_one({"_id": "a"}, {"$set": {"state": "failed"}})
    assert said(database) == []


def test_ten_thousand_runs_cost_one_aggregation(database, code, monkeypatch):
    code(channels=10)
    read = {f"key{n}": {"value": n, "default": True} for n in range(20)} | {"channels": {"value": 5, "default": True}}
    documents = [
        runs.document(f"m{n}", {"stage": "lab"}, "0" * 64, [], [], params=read, state="done") for n in range(10_000)
    ]
    database.runs.insert_many(documents)
    found = default_drift.drifts(database)
    assert [(f.key, f.runs) for f in found if not f.harmless] == [("channels", 10_000)]
    assert {f.runs for f in found} == {10_000}
    assert len(found) == 21


def test_the_built_in_stages_have_not_drifted_from_their_own_defaults(database):
    for name in registry.BUILT_IN:
        defaults = {key: values[0] for key, values in registry.defaults(name).items() if type(values[0]) is not object}
        done(database, name, stage=name, **{k: v for k, v in defaults.items() if k != "source"})
    assert said(database) == []
