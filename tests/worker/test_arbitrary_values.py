"""Whatever a stage says, of whatever type: its worker lives, its run ends, the run beside it is untouched, and every
view can show it."""

import json
import shutil
from datetime import UTC, datetime
from itertools import cycle

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from repro.readers.raw_files import of_folder
from repro.scheduler import runs
from repro.stages.source import provenance
from repro.views import run_details, status_table, tables

CODE = """
import contextlib, math, os
from pathlib import Path
import numpy as np, torch

class Broken:
    def __str__(self): raise RuntimeError("no text")
    __repr__ = __str__

def say(run):
    if (how := run.params["how"]) == "config":
        return {"read": str(run.params["odd"])}
    value = eval(run.params["value"])
    if how == "metric": run.progress(1, 2, loss=value)
    if how == "name": run.progress(1, 2, **{value if isinstance(value, str) else "x": 1.0})
    if how == "step": run.progress(value, 2)
    if how == "total": run.progress(1, value)
    if how == "returned": return {"loss": value}
    if how == "returned name": return {value: 1}
    if how == "all": return value
    if how == "error": raise value if isinstance(value, BaseException) else ValueError(value)
    if how == "output":
        path = os.path.join(os.fsencode(run.out), value if isinstance(value, bytes) else os.fsencode(str(value)))
        with contextlib.suppress(OSError, ValueError), open(path, "xb") as file:
            file.write(b"kept")
    if how == "default": run.params.get("some_key", value)
"""
HOWS = ("metric", "name", "step", "total", "returned", "returned name", "all", "error", "output", "default")
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.floats(), st.complex_numbers(), st.binary(max_size=20),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=30), st.decimals(), st.fractions(),
)  # fmt: skip
nested = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
SPECIAL = (
    "Broken()", "[Broken()]", "float('nan')", "float('inf')", "np.float32('inf')", "np.int64(3)", "np.array([1, 2])",
    "np.array(1.5)", "np.bool_(True)", "np.datetime64('2020-01-01')", "torch.tensor(2.0)", "torch.zeros(2)",
    "torch.tensor(1.0, requires_grad=True)", "torch.tensor(1, dtype=torch.bfloat16)", "'x' * 8_000_000", "2**70",
    "10**400",
    "'\\ud800\\x1b[31m\\0'", "{'$set': 1}", "'$a.b'", "''", "'a.b'", "KeyboardInterrupt()", "SystemExit(0)",
    "ExceptionGroup('g', [ValueError('a')])", "OSError(2**40, 'odd')", "b'caf\\xe9'", "b'a\\nb'", "'../out'",
    "'a' * 300", "GeneratorExit()",
    "type", "run", "lambda: 1", "(i for i in 'ab')", "math", "Path('a')", "{1, 2}", "range(3)", "object()",
)  # fmt: skip
values = st.sampled_from(SPECIAL) | nested.map(repr)
# What a document can hold, whoever has inserted it.
kept = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=3), inner, max_size=3)
    ),
)
CALL = st.tuples(st.sampled_from(HOWS), values) | st.tuples(st.just("config"), kept)
CALLS = st.lists(CALL, min_size=4, max_size=4)


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    (folder / "says.py").write_text(CODE)
    return folder


@pytest.fixture
def scene(bench, code, monkeypatch):
    monkeypatch.chdir(code)
    return bench


def every_view(run):
    """As the commands show it."""
    now = datetime.now(UTC)
    (row,) = status_table.rows([run], {}, {}, now)
    for column, cell in zip(status_table.COLUMNS, row, strict=True):
        status_table.paint(column, cell)
        assert "\x1b" not in cell
    run_details.lines(run, {}, of_folder)
    json.loads(json.dumps(tables.strict(run), default=str, allow_nan=False))
    return row


def ends_well(bench, calls):
    names = []
    for number, (how, value) in enumerate(calls):
        name, key = f"r{bench.db.runs.estimated_document_count()}", "odd" if how == "config" else "value"
        config = {"stage": "says:say", "how": how, key: value}
        names.append(name)
        assert runs.submit(bench.db, [runs.document(name, config, f"{name:0>64}", [], [])]) == [], number
    beside = f"r{bench.db.runs.estimated_document_count()}"
    bench.submit(beside, "write", text="beside")
    bench.work(lease=600)  # on no machine, however busy, does a run lose it, and begin again
    for name, call in zip(names, calls, strict=True):
        run = bench.get(name)
        assert run["state"] in ("done", "failed"), (call, run)
        assert run["attempts"] == 1, (call, run["history"])
        if run["state"] == "failed":
            message = run["error"]["message"]
            assert message, call
            assert len(message) < 11_000, call
            assert "\x1b" not in message, call
        every_view(run)
        shutil.rmtree(next((bench.folder / "store").glob(f"{name}-*")))
    (folder,) = (bench.folder / "store").glob(f"{beside}-*")
    assert (folder / "text.txt").read_text() == "beside"


COMMON = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck), "database": None}


def test_each_odd_value_in_each_place(scene):
    calls = [(how, value) for value, how in zip(SPECIAL, cycle(("metric", "returned", "error")), strict=False)]
    calls += [("output", "b'caf\\xe9'"), ("output", "b'a\\nb'"), ("step", "2**70"), ("total", "float('inf')")]
    calls += [("config", odd) for odd in (None, "", "$stage", "\0", [[1], {}], {"$set": {"a.b": 1}}, 2**63 - 1)]
    calls += [("default", "2**70"), ("default", "object()"), ("name", "'$a.b'"), ("returned name", "'x' * 9999")]
    ends_well(scene, calls)


@pytest.mark.parametrize("key", ["", "a.b", "$set", "$a.b", "caf\xe9", "\x1b[31m", "stage ", "__class__", "a" * 5000])
def test_a_key_that_no_code_could_know_is_left_to_others(scene, key):
    config = {"stage": "says:say", "how": "metric", "value": "1.5", key: 1}
    code = provenance.submitted("says:say")
    assert runs.submit(scene.db, [runs.document("odd", config, f"{0:>64}", [], [], code=code)]) == []
    scene.submit("beside", "write", text="beside")
    scene.work()
    odd = scene.get("odd")
    assert (odd["state"], odd["attempts"]) == ("pending", 0)
    assert scene.get("beside")["state"] == "done"
    every_view(odd)


@settings(max_examples=15, **COMMON)
@example([("all", "[1]"), ("all", "{'a': {'b': 1}}"), ("step", "1.5"), ("step", "None")])
@given(CALLS)
def test_arbitrary_values(scene, calls):
    ends_well(scene, calls)


@pytest.mark.slow
@settings(max_examples=400, **COMMON)
@given(CALLS)
def test_many_arbitrary_values(scene, calls):
    ends_well(scene, calls)
