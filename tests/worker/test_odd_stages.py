"""Odd stages end in a right result or in one clear line, on the queue and alone alike."""

import gzip
import hashlib
import json
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from repro.scheduler import runs
from repro.stages.own_files import OWN_FILES
from repro.stages.running import standalone
from repro.stages.running.terminal_report import exit_code
from repro.stages.running.warming import warm_up_fully
from tests import odd
from tests.processes import is_gone


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A folder that belongs to somebody else; it stands as it stood in the end."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "theirs.txt").write_text("theirs")
    (folder / "theirs.txt").chmod(0o640)
    monkeypatch.setenv(odd.TARGET, str(folder))
    before = _standing(folder)
    yield folder
    assert _standing(folder) == before


def _standing(folder):
    return {p.name: (p.read_bytes(), stat.S_IMODE(p.stat().st_mode), p.stat().st_mtime_ns) for p in folder.iterdir()}


@pytest.fixture
def on_the_queue(bench, theirs, monkeypatch):
    """Runs an odd stage by a worker: (its error or None, its outputs, their entries, its log)."""
    code = bench.folder / "code"
    code.mkdir()
    shutil.copy(odd.__file__, code / "odd.py")
    monkeypatch.chdir(code)

    def run(stage):
        config = {"stage": f"odd:{stage.__name__}"}
        digest = hashlib.sha256(stage.__name__.encode()).hexdigest()
        assert runs.submit(bench.db, [runs.document("a", config, digest, [], [])]) == []
        bench.work()
        found = bench.get("a")
        log = (bench.folder_of("a") / "repro-log.txt").read_text()
        if found["state"] != "done":
            assert found["attempts"] == 1, found
            return f"{found['error']['type']}: {found['error']['message']}", {}, [], log, {}
        pulled = bench.folder / "pulled"
        bench.store.pull(found["outputs"], found["location"], pulled)
        return None, _contents(pulled), found["outputs"], log, found["metrics"]

    return run


@pytest.fixture
def alone(tmp_path, theirs, monkeypatch, capfd):
    """Runs an odd stage without a queue; as above."""
    code = tmp_path / "code"
    code.mkdir()
    shutil.copy(odd.__file__, code / "odd.py")
    monkeypatch.chdir(code)
    warm_up_fully()  # once, instead of in every child

    def run(stage):
        Path("a.json").write_text(json.dumps({"stage": f"odd:{stage.__name__}"}))
        code = exit_code(lambda: standalone.run_alone(Path("a.json"), standalone.Options()))
        told, folder = capfd.readouterr().err, Path("runs", "a")
        if code:
            assert stage is odd.own_name or not (folder / "repro-run.json").exists()
            line = told.splitlines()[-1]
            assert line.startswith("error: "), told
            return line, {}, [], told, {}
        mark = json.loads((folder / "repro-run.json").read_text(), parse_constant=pytest.fail)
        contents = {name: data for name, data in _contents(folder).items() if name not in OWN_FILES}
        return None, contents, mark["outputs"], told, mark["metrics"]

    return run


def _contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(params=["on_the_queue", "alone"])
def go(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("stage", odd.GOOD, ids=lambda stage: stage.__name__)
def test_it_ends_with_what_it_wrote(go, stage):
    error, contents, entries, log, _ = go(stage)
    assert error is None, log
    assert contents == odd.GOOD[stage]
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    assert {entry["path"]: entry["sha256"] for entry in entries} == sums
    if stage is odd.empty_folder:
        assert "empty is an empty folder" in log
    assert [entry["path"] for entry in entries if entry.get("executable")] == ["tool.sh"] * (stage is odd.executable)


@pytest.mark.parametrize("stage", odd.REFUSED, ids=lambda stage: stage.__name__)
def test_it_is_refused_with_one_clear_line(go, stage):
    error, _, _, log, _ = go(stage)
    assert odd.REFUSED[stage] in str(error), log
    assert len(str(error)) < 20_000


def test_what_only_an_end_completes_is_complete(go, tmp_path):
    error, contents, *_ = go(odd.zipped)
    assert error is None
    (tmp_path / "got.zip").write_bytes(contents["a.zip"])
    assert zipfile.ZipFile(tmp_path / "got.zip").read("a") == b"b"
    assert gzip.decompress(contents["a.gz"]) == b"kept"


def test_nothing_that_it_started_lives_on_and_what_is_hashed_is_what_is_stored(go):
    error, contents, entries, _, metrics = go(odd.daemon)
    assert error is None
    assert is_gone(int(metrics["pid"]))
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    assert {entry["path"]: entry["sha256"] for entry in entries} == sums
