"""`repro verify`, as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
def done(repro, work, database):
    assert repro("submit", "model.json").returncode == 0
    work()
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


DRAWS = """
    import random
    first, second = random.random(), random.random()
"""


@pytest.fixture
def verified(repro):
    """`repro verify` with a worker that runs beside it."""

    def call(*words):
        repro_verify = repro("verify", *words, "--no-wait")
        assert repro_verify.returncode == 0, repro_verify.stderr
        assert repro("worker", "--burst", "--gpus", "none").returncode == 0
        return repro("verify", "--collect", *(word for word in words if word.startswith("--level") or word in LEVELS))

    return call


LEVELS = ("identical", "equal", "close", "--json")


def test_todays_code_gives_the_same_bytes_and_the_original_stays_as_it_is(repro, verified, done, database, tmp_path):
    before = {p: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()}
    made = verified("model")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("model: identical (1 outputs; ")
    assert made.stderr == "1 verified, 0 worse than asked for\n"
    assert all(path.read_bytes() == data for path, data in before.items())
    after = database.runs.find_one({"_id": "model"})
    (kept,) = after.pop("verdicts")
    assert after == done
    assert (kept["level"], kept["worst"], kept["same_hardware"]) == ("identical", [], True)
    assert kept["environment"]["processor"] == done["environment"]["processor"]
    # The documented query finds results only, and what the rerun left is not the store's either.
    assert [run["_id"] for run in database.runs.find({"state": "done"})] == ["model"]
    rerun = database.runs.find_one({"_id": "model.verify"})
    assert (rerun["state"], rerun["priority"]) == ("verified", -1000)
    assert "1 verified" in repro("status").stderr
    assert repro("verify", "--collect").stderr == "0 verified, 0 worse than asked for\n"


def test_the_stored_bytes_are_read_if_asked_for(repro, verified, done, database):
    assert verified("model", "--check").stdout.startswith("model: identical")
    stored = Path(done["location"].removeprefix("file://")) / "text.txt"
    before = stored.stat()
    stored.chmod(0o644)
    stored.write_text("jello")
    os.utime(stored, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk that rots
    told = repro("verify", "model", "--check")
    assert told.returncode == 1
    assert told.stderr.startswith("model: a file has changed in the store: ")
    assert "1 verified, 1 worse than asked for" in told.stderr
    assert database.runs.find_one({"_id": "model.verify"})["state"] == "verified"  # no rerun was made of it


def test_a_changed_default_is_caught(verified, done, tmp_path, database):
    change(tmp_path, '"text", "hello"', '"text", "goodbye"')
    made = verified("--all")
    assert made.returncode == 1
    assert made.stdout.splitlines()[0].startswith("model: different")
    assert "text.txt: different" in made.stdout
    assert "(metrics): different, largest difference 2" in made.stdout
    (kept,) = database.runs.find_one({"_id": "model"})["verdicts"]
    assert [one["path"] for one in kept["worst"]] == ["(metrics)", "text.txt"]


def test_a_reordered_random_draw_is_caught(repro, verified, database, tmp_path):
    change(
        tmp_path, '    print("said"', f"{DRAWS}    print(first, second, file=run.open('draws.csv'))\n    print(\"said\""
    )
    assert repro("submit", "model.json").returncode == 0
    assert repro("worker", "--burst", "--gpus", "none").returncode == 0
    assert verified("model").returncode == 0
    change(tmp_path, "first, second = ", "second, first = ")
    made = verified("model")
    assert made.returncode == 1
    assert "draws.csv: different" in made.stdout
    assert "text.txt" not in made.stdout
    verdicts = database.runs.find_one({"_id": "model"})["verdicts"]
    assert [verdict["level"] for verdict in verdicts] == ["identical", "different"]


def test_the_level_that_is_asked_for_decides(repro, verified, database, tmp_path):
    change(tmp_path, '    print("said"', "    run.open('x.csv').write('0.50\\n')\n    print(\"said\"")
    assert repro("submit", "model.json").returncode == 0
    assert repro("worker", "--burst", "--gpus", "none").returncode == 0
    change(tmp_path, "0.50", "0.5")
    assert verified("model").returncode == 1
    made = verified("model", "--level", "equal")
    assert made.returncode == 0
    assert made.stdout.startswith("model: equal")
    change(tmp_path, "0.5\\n", "0.5001\\n")
    assert verified("model", "--level", "equal").returncode == 1
    made = verified("model", "--level", "close", "--json")
    assert made.returncode == 0
    (found,) = json.loads(made.stdout)
    assert found["worst"][0]["absolute"] == pytest.approx(0.0001)


def test_a_rerun_that_fails_is_different(verified, done, tmp_path):
    change(tmp_path, '    print("said"', '    raise ValueError("not today")\n    print("said"')
    made = verified("model")
    assert made.returncode == 1
    assert "model: different: the rerun failed: ValueError: not today" in made.stdout


def test_verify_waits_for_a_worker_and_says_that_there_is_none(repro, done, settings_environment):
    with subprocess.Popen(
        [sys.executable, "-m", "repro", "verify", "model"], env=settings_environment, text=True, stdout=-1, stderr=-1
    ) as waiting:
        assert waiting.stderr.readline() == "no worker is alive: start one with repro worker; waiting\n"
        assert repro("worker", "--burst", "--gpus", "none").returncode == 0
        said, told = waiting.communicate(timeout=300)
    assert (waiting.returncode, told) == (0, "1 verified, 0 worse than asked for\n")
    assert said.startswith("model: identical")


def test_what_can_not_be_verified_is_refused(repro, done, database):
    assert "which runs?" in repro("verify").stderr
    assert "no such run: modle" in repro("verify", "modle").stderr
    repro("submit", "model.json", "--set", "text=other")
    refused = repro("verify", "modela")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: only done runs can be verified: modela is pending\n",
    )
    assert database.runs.count_documents({}) == 2


def test_reruns_are_no_results_to_rebuild_and_are_left_to_gc(repro, verified, done, database, tmp_path):
    verified("model")
    assert len(list((tmp_path / "store").glob("model*"))) == 2
    assert json.loads(repro("gc", "--json").stdout) == []  # too young
    (found,) = json.loads(repro("gc", "--older-than", "0", "--delete", "--json").stdout)
    assert (found["removed"], "rerun" in found["why"]) == (True, True)
    (left,) = (tmp_path / "store").glob("model*")
    assert f"file://{left}" == done["location"]
    verified("model")
    database.client.drop_database(database.name)
    assert repro("rebuild").returncode == 0
    assert [run["_id"] for run in database.runs.find()] == ["model"]
    assert repro("submit", "model.json", "--set", "text=other").stdout.startswith("modela: submitted")
