"""Stages of a user's own, in plain files of his folder, as `module:function`: submitted, run, edited, verified."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.worker.test_worker import wait_for

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "texts"

STAGE = '''
"""A stage that lies in a folder with its helper."""

from helper import decorated

ENVIRONMENT = ("ASKED_*",)


def write(run):
    with run.open("text.txt") as file:
        file.write(decorated(run.params.get("text", "hello"), run.params))


def peeks(run):
    from pathlib import Path
    with run.open("text.txt") as file:
        file.write(Path("/" + run.params["where"]).read_text())


constant = 5
'''
HELPER = """
def decorated(text, params):
    return text + params.get("mark", "!")
"""


class Place:
    """A user's folder, and what he types there."""

    def __init__(self, folder, environment, database):
        self.folder, self.environment, self.db = folder, environment, database
        folder.mkdir()

    def __call__(self, *words, timeout=400, **environment):
        more = {"env": self.environment | environment, "cwd": self.folder}
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, **more)

    def well(self, *words, **more):
        made = self(*words, **more)
        assert made.returncode == 0, made.stdout + made.stderr
        return made

    def write(self, name, content):
        """Without a change of the file's time in whole seconds, once it is there."""
        path, text = self.folder / name, content if isinstance(content, str) else json.dumps(content)
        before = path.stat().st_mtime_ns if path.exists() else None
        path.write_text(text)
        if before is not None:
            second = before // 10**9 * 10**9
            os.utime(path, ns=(second, second + (before - second + 1) % 10**9))

    def work(self):
        return self.well("repro-worker", "--burst", "--gpus", "none")

    def run(self, name):
        return self.db.runs.find_one({"_id": name})

    def text(self, name):
        return (Path(self.run(name)["location"].removeprefix("file://")) / "text.txt").read_text()


@pytest.fixture
def place(tmp_path, settings_environment, database):
    found = Place(tmp_path / "mine", settings_environment, database)
    found.write("texts.py", STAGE)
    found.write("helper.py", HELPER)
    found.write("a.json", {"stage": "texts:write"})
    return found


def test_the_example_trains_a_classifier_and_gives_the_same_bytes_again(tmp_path, settings_environment, database):
    settings_environment["REPRO_DATA"] = sysconfig.get_path("stdlib")
    place = Place(tmp_path / "mine", settings_environment, database)
    for path in EXAMPLE.iterdir():
        if path.is_file():
            shutil.copy(path, place.folder)
    place.well("repro-submit", "model.json")
    place.work()
    model = place.run("model")
    assert model["state"] == "done", model.get("error")
    assert model["metrics"]["held_out"] > 300
    assert model["metrics"]["accuracy"] > max(0.7, 1.4 * model["metrics"]["chance"])
    assert "undeclared" not in place.run("pieces")["environment"]
    assert model["usage"]["steps_per_second"] > 0
    assert re.search(r"^  used: [\d.]+/s, [\d.]+[MG]$", place.well("repro", "show", "model").stdout, re.MULTILINE)
    for stage, name in (("collect", "pieces"), ("train", "model")):  # without any queue, in another process
        place.well(sys.executable, "classify.py", stage, "-c", f"{name}.json")
        for output in place.run(name)["outputs"]:
            there = Path(place.run(name)["location"].removeprefix("file://")) / output["path"]
            assert (place.folder / "runs" / name / output["path"]).read_bytes() == there.read_bytes()
    refused = place("repro-submit", "model.json", "--set", "ngram=5")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'reads "ngram"; did you mean "ngrams"?' in refused.stderr


def test_keys_are_known_from_the_file_and_from_what_lies_beside_it(place):
    place.well("repro-submit", "a.json", "--set", "mark=?")
    refused = place("repro-submit", "a.json", "--set", "marc=?")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'no code of stage "texts:write" reads "marc"; did you mean "mark"?' in refused.stderr
    place.work()
    assert place.text("aa") == "hello?"
    assert place.run("aa")["params"]["text"] == {"value": "hello", "default": True}


def test_two_defaults_of_one_key_are_told_at_submit(place):
    code = "def write(run):\n    if run.params.get('big', False):\n        run.params.get('width', 8)\n"
    place.write("texts.py", code + "    else:\n        run.params.get('width', 4)\n")
    assert '"width" with two defaults, 8 and 4: a run' in place.well("repro-submit", "a.json").stderr
    place.write("texts.py", STAGE)
    assert "two defaults" not in place.well("repro-submit", "a.json", "--set", "mark=?").stderr


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        ("text:write", "no Python module text in {folder}, on PYTHONPATH or installed; submit, and start workers,"),
        ("texts.deep:write", "no Python module texts.deep in"),
        ("texts:wriet", '{folder}/texts.py has no wriet; did you mean "texts:write"?'),
        ("texts:run", "{folder}/texts.py has no run; define it there: def stage(run)"),
        ("broken:write", "{folder}/broken.py:1: the stage's code can't be read:"),
        ("texts:", 'expected a name or module:function, got: "texts:"'),
        ("../texts:write", 'expected a name or module:function, got: "../texts:write"'),
        ("texts:write:more", "expected a name or module:function"),
    ],
)
def test_a_stage_that_is_not_there_is_one_line_at_submit(place, stage, told):
    place.write("broken.py", "def write(run:\n")
    place.write("b.json", {"stage": stage})
    refused = place("repro-submit", "b.json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert told.format(folder=place.folder) in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert place.run("b") is None


def test_a_worker_that_does_not_have_it_leaves_it_to_one_that_has(place, tmp_path):
    place.well("repro-submit", "a.json", "--here")
    (tmp_path / "elsewhere").mkdir()
    place.folder = tmp_path / "elsewhere"
    place.work()
    assert place.run("a")["state"] == "pending"
    assert any("no Python module texts" in entry.get("why", "") for entry in place.run("a")["history"])
    place.environment |= {"PYTHONPATH": str(tmp_path / "mine")}
    place.work()
    assert place.text("a") == "hello!"


def test_a_worker_that_goes_on_computes_with_the_code_as_it_is_now(place):
    """Even if an edit changes neither the size of a file nor its time in whole seconds; and its helper's likewise."""
    command = ["repro-worker", "--gpus", "none"]
    worker = subprocess.Popen(command, env=place.environment, cwd=place.folder, stderr=subprocess.DEVNULL)
    try:
        for name, file, old, new in (
            ("a", "texts.py", "hello", "HELLO"),
            ("b", "helper.py", '"!"', '"?"'),
            ("c", "texts.py", "HELLO", "howdy"),
        ):
            place.write(f"{name}.json", {"stage": "texts:write", "threads": ord(name) - ord("a") + 1})
            place.well("repro-submit", f"{name}.json", "--here")
            wait_for(lambda: place.run(name)["state"] in ("done", "failed"))  # noqa: B023
            place.write(file, (place.folder / file).read_text().replace(old, new))
        assert [place.text(name) for name in "abc"] == ["hello!", "HELLO!", "HELLO?"]
    finally:
        worker.terminate()
        worker.wait(300)
    assert not list(place.folder.glob("**/__pycache__"))


def test_again_of_a_name_that_is_there_says_what_to_do(place):
    place.well("repro-submit", "a.json")
    place.work()
    refused = place("repro-submit", "a.json", "--again")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "a is done already, and a name is one run for ever; compute it under another one: --name" in refused.stderr
    place.well("repro-submit", "a.json", "--again", "--name", "b")
    assert place.run("b")["state"] == "pending"


HANGS = """
import time
from pathlib import Path

def stage(run):
    first = Path(run.params["hold"])
    if first.exists():
        first.unlink()
        time.sleep(600)
    return {"ok": True}
"""


def test_a_burst_right_after_a_worker_was_killed_takes_up_what_it_had(place, tmp_path):
    (tmp_path / "hold").touch()
    place.write("hangs.py", HANGS)
    place.write("h.json", {"stage": "hangs:stage", "hold": str(tmp_path / "hold")})
    place.well("repro-submit", "h.json")
    command = ["repro-worker", "--gpus", "none", "--lease", "8"]
    worker = subprocess.Popen(command, env=place.environment, cwd=place.folder, stderr=subprocess.DEVNULL)
    wait_for(lambda: not (tmp_path / "hold").exists())
    worker.kill()
    worker.wait()
    told = place.work().stderr
    assert place.run("h")["state"] == "done", told
    assert "h: its worker" in told
    assert "is gone; waiting for its lease to end" in told


def git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_users_own_repository(place):
    git(place.folder, "init", "-q")
    git(place.folder, "add", ".")
    git(place.folder, "commit", "-q", "-m", "mine")
    place.write("helper.py", HELPER.replace("!", "?"))
    submitted = place.well("repro-submit", "a.json", "--here")
    assert "note: texts has changes that are not committed" in submitted.stderr
    place.work()
    environment = place.run("a")["environment"]
    assert (environment["commit"], environment["dirty"]) == (git(place.folder, "rev-parse", "HEAD"), True)
    folder = Path(place.run("a")["location"].removeprefix("file://"))
    assert '+    return text + params.get("mark", "?")' in (folder / "repro-code.diff").read_text()


def test_verify_golden_and_drift_know_it(place):
    place.well("repro-submit", "a.json")
    place.work()
    place.well("repro", "golden", "add", "a.json", "--folder", "golden")
    assert place.well("repro", "golden", "check", "--folder", "golden").stdout == "a: identical\n"
    place.well("repro", "verify", "a", "--no-wait")
    place.work()
    assert place.well("repro", "verify", "--collect").stdout.startswith("a: identical")
    assert place.well("repro", "verify", "--defaults").stderr == "no default has drifted\n"
    place.write("texts.py", STAGE.replace("hello", "howdy"))
    drifted = place("repro", "verify", "--defaults")
    assert (drifted.returncode, drifted.stdout) == (
        1,
        'texts:write: text was "hello" in 1 done run, is "howdy" today (e.g. a)\n',
    )
    changed = place("repro", "golden", "check", "--folder", "golden")
    assert (changed.returncode, changed.stdout.splitlines()[0]) == (1, "a: different")


def test_what_it_reads_besides_is_seen(place, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.txt").write_text("s")
    where = f"{tmp_path}/other/secret.txt"[1:]  # a text that begins with a slash would declare it
    place.write("peeks.json", {"stage": "texts:peeks", "where": where})
    place.write("strict.json", {"stage": "texts:peeks", "where": where, "threads": 2})
    place.write("tidy.json", {"stage": "texts:write"})
    place.well("repro-submit", "peeks.json")
    place.well("repro-submit", "strict.json", "tidy.json", "--hermetic")
    place.work()
    assert place.run("peeks")["environment"]["undeclared"] == {"files": [f"{tmp_path}/other/secret.txt"]}
    assert "not hermetic: files: " in place.run("strict")["error"]["message"]
    assert place.run("tidy")["state"] == "done"
    assert "undeclared" not in place.run("tidy")["environment"]
