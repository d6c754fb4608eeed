"""`repro verify`, as a user calls it."""

import json
import sys

import pytest

from tests import toy


@pytest.fixture
def repro(cli, tmp_path, settings_environment):
    toy.install(tmp_path / "toy")
    settings_environment["PYTHONPATH"] = str(tmp_path / "toy")
    (tmp_path / "model.json").write_text('{"stage": "toy_write"}')

    def call(*words):
        words = [str(tmp_path / word) if word.endswith(".json") else word for word in words]
        return cli(sys.executable, "-m", "repro", *words)

    return call


@pytest.fixture
def done(repro, database):
    assert repro("submit", "model.json").returncode == 0
    assert repro("worker", "--burst", "--gpus", "none").returncode == 0
    return database.runs.find_one({"_id": "model", "state": "done"})


def change(folder, old, new):
    """Somebody edits the code of the stages."""
    path = folder / "toy" / "toy.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_changed_default_is_told_without_a_worker(repro, done, tmp_path):
    quiet = repro("verify", "--defaults")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "no default has drifted\n")
    change(tmp_path, '"text", "hello"', '"text", "goodbye"')
    told = repro("verify", "--defaults")
    assert told.returncode == 1
    assert told.stdout == 'toy_write: text was "hello" in 1 done run, is "goodbye" today (e.g. model)\n'
    (found,) = json.loads(repro("verify", "--defaults", "--json").stdout)
    assert (found["key"], found["was"], found["runs"]) == ("text", "hello", 1)
    assert repro("verify", "--defaults", "--stage", "train").returncode == 0
    assert "no such run" in repro("verify", "--defaults", "modle").stderr
