"""Whatever a stage says, of whatever type: its worker lives, its run ends, the run beside it is untouched, and every
view can show it."""

import json
import shutil
from datetime import UTC, datetime
from itertools import cycle

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from repro.scheduler import runs
from repro.views import run_details, status_table, tables

CODE = """
import contextlib, math, os
from pathlib import Path
import numpy as np, torch

class Broken:
    def __str__(self): raise RuntimeError("no text")
    __repr__ = __str__

def say(run):
    how, value = run.params["how"], eval(run.params["value"])
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
CALLS = st.lists(st.tuples(st.sampled_from(HOWS), values), min_size=4, max_size=4)


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
    run_details.lines(run, {})
    json.loads(json.dumps(tables.strict(run), default=str, allow_nan=False))
    return row


def ends_well(bench, calls):
    names = []
    for number, (how, value) in enumerate(calls):
        name, config = f"r{bench.db.runs.estimated_document_count()}", {"stage": "says:say", "how": how, "value": value}
        names.append(name)
        assert runs.submit(bench.db, [runs.document(name, config, f"{name:0>64}", [], [])]) == [], number
    beside = f"r{bench.db.runs.estimated_document_count()}"
    bench.submit(beside, "write", text="beside")
    bench.work()
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
    calls += [("default", "2**70"), ("default", "object()"), ("name", "'$a.b'"), ("returned name", "'x' * 9999")]
    ends_well(scene, calls)


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
