"""The commands as a user types them, in processes of their own: output, exit codes, one line for a mistake."""

import csv
import io
import json
import sys
import time

import pytest

from tests import toy
from tests.disk import small_disk


@pytest.fixture
def folder(tmp_path):
    configs = {
        "a": {"stage": "toy_write", "text": "abc"},
        "b": {"stage": "toy_write", "source": "a"},
        "bad": {"stage": "toy_raises", "text": "what went wrong"},
    }
    for name, config in configs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    return tmp_path


@pytest.fixture
def repro(cli, folder, settings_environment):
    toy.install(folder / "toy")
    settings_environment["PYTHONPATH"] = str(folder / "toy")

    def call(command, *words, **more):
        words = [str(folder / word) if word.endswith(".json") else word for word in words]
        return cli(sys.executable, "-m", "repro", command, *words, **more)

    return call


def refused(done, code, *texts):
    """One line on stderr, nothing on stdout, no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for text in texts:
        assert text in done.stderr


def test_from_a_file_to_a_finished_run(repro, database):
    submitted = repro("submit", "b.json")
    assert submitted.stdout == "a: submitted, pending\nb: submitted, waiting\n"
    worked = repro("worker", "--burst", "--gpus", "none")
    assert worked.returncode == 0, worked.stderr
    assert "\x1b" not in worked.stderr
    assert "b: done  length 8" in worked.stderr
    waited = repro("wait", "b", "a")
    assert waited.returncode == 0
    location = database.runs.find_one({"_id": "b"})["location"]
    assert f"b: done ({location.removeprefix('file://')})" in waited.stdout
    assert repro("submit", "b.json").stdout.splitlines()[1].startswith("b: already submitted, done (file://")


def test_status_is_csv_in_a_pipe_and_json_on_request(repro):
    assert repro("status").stdout == "the queue is empty\n"
    repro("submit", "b.json")
    done = repro("status")
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert (rows["a"]["state"], rows["a"]["what"]) == ("pending", "no worker is alive")
    assert (rows["b"]["state"], rows["b"]["what"]) == ("waiting", "a is pending")
    assert done.stderr == "1 waiting, 1 pending\n"
    found = json.loads(repro("status", "--json").stdout)
    assert found["counts"] == {"waiting": 1, "pending": 1}
    assert [run["_id"] for run in found["runs"]] == ["a", "b"]
    assert [run["_id"] for run in json.loads(repro("status", "b", "--json").stdout)["runs"]] == ["b"]


def test_a_failed_run_is_explained(repro, work):
    repro("submit", "bad.json")
    work()
    waited = repro("wait", "bad")
    assert waited.returncode == 1
    assert "bad: failed (what went wrong)" in waited.stdout
    shown = repro("show", "bad").stdout
    assert "ValueError: what went wrong" in shown
    assert "| before the end" in shown
    assert "repro-log.txt" in shown


def test_show_gives_the_config_and_the_defaults_that_were_used(repro, work):
    repro("submit", "b.json")
    work()
    shown = repro("show", "b").stdout
    assert '  source = "a"' in shown
    assert '  text = "hello"  (default)' in shown
    assert "sha256" in shown
    assert json.loads(repro("show", "b", "--json").stdout)[0]["_id"] == "b"


def test_submit_wait_ends_with_the_run(repro):
    from threading import Thread

    worker = Thread(target=repro, args=("worker", "--max-runs", "1", "--gpus", "none"))
    worker.start()
    done = repro("submit", "a.json", "--wait")
    worker.join()
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("a: done")


def test_wait_does_not_wait_for_what_can_never_start(repro, work, folder):
    (folder / "child.json").write_text(json.dumps({"stage": "toy_write", "source": "bad"}))
    repro("submit", "child.json")
    work()
    done = repro("wait", "child")
    assert done.returncode == 1
    assert "can never start" in done.stdout
    assert "bad is failed" in repro("status", "child").stdout


def test_a_dry_run_inserts_nothing(repro, database):
    done = repro("submit", "b.json", "--dry-run")
    assert "b: would be inserted" in done.stdout
    assert database.runs.count_documents({}) == 0


def test_a_change_takes_a_letter_and_a_mistyped_key_is_refused(repro, database):
    assert "aa: submitted" in repro("submit", "a.json", "--set", "text=other").stdout
    assert "ab: submitted" in repro("submit", "a.json", "--conf", '{"text": "third"}').stdout
    refused(repro("submit", "a.json", "--set", "txet=other"), 2, '"txet"', 'did you mean "text"?')
    assert database.runs.count_documents({}) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"stage": "toy_write",\n "text": }', "x.json:2:10: broken JSON"),
        ('{"stage": "toy_write", "text": {"a": 1}}', '"text_a": 1'),
        ('{"stage": "toy_write", "text": "a", "text": "b"}', "twice"),
        ('{"stage": "toy_write", "text": NaN}', "no finite number"),
        ('{"stage": "toy_wirte"}', 'did you mean "toy_write"'),
        ('{"stage": 3}', '"stage": expected a string'),
        ('{"stage": "toy_write", "text": 5}', '"text": expected a string'),
        ('{"stage": "toy_write", "seed": "five"}', '"seed"'),
        ('{"stage": "toy_write", "source": "nowhere"}', "nowhere"),
        ('{"text": "a"}', '"stage"'),
        ("[]", "expected one JSON object"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_inserted(repro, folder, database, text, message):
    (folder / "x.json").write_text(text)
    refused(repro("submit", "a.json", "x.json"), 2, "x.json", message)
    assert database.runs.count_documents({}) == 0


def test_a_bad_name_a_missing_file_and_a_taken_name_are_refused(repro, folder):
    (folder / "-x y.json").write_text('{"stage": "toy_write"}')
    refused(repro("submit", "./-x y.json"), 2, "bad name")
    refused(repro("submit", "nowhere.json"), 2, "nowhere.json", "No such file")
    repro("submit", "a.json")
    (folder / "a.json").write_text('{"stage": "toy_write", "text": "changed"}')
    refused(repro("submit", "a.json"), 2, 'text: "abc" -> "changed"')
    refused(repro("show", "nothing"), 2, "no such run: nothing")
    refused(repro("status", "--state", "runing"), 2, "runing")


def test_an_argument_that_is_no_text_is_refused(repro):
    for words in (["submit", "m\udcff.json"], ["show", "m\udcff"], ["status", "--tag", "\udcff"]):
        refused(repro(*words), 2, "is no UTF-8 text")


def test_an_endpoint_without_a_scheme_is_told(repro):
    environment = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "localhost:9000"}
    refused(
        repro("worker", "--burst", "--gpus", "none", REPRO_STORE="s3://bucket/x", **environment),
        *(2, "Invalid endpoint: localhost:9000", "AWS_ENDPOINT_URL is written http://HOST:PORT"),
    )


def test_a_full_disk_is_told_with_its_place(repro, folder):
    (folder / "toy/big.py").write_text("def write(run):\n    run.open('x', 'xb').write(bytes(4 << 20))\n")
    (folder / "big.json").write_text('{"stage": "big:write"}')
    with small_disk(folder / "small", 1) as disk:
        done = repro("run", "big.json", "--root", str(disk.folder / "runs"))
        assert done.returncode == 1
        assert f"No space left on device; the disk of {disk.folder}/runs/big is full" in done.stderr.splitlines()[-1]
        disk.fill()
        refused(repro("run", "big.json", "--root", str(disk.folder / "more")), 2, f"{disk.folder}/more", "No space")
        refused(repro("status", REPRO_HOME=str(disk.folder / "home"), REPRO_MONGO_URL=""), 3, "No space", "home")


def test_an_unreachable_mongodb_is_told_in_seconds(repro):
    """Five on a machine with nothing else to do: the driver is asked for 3.5."""
    began = time.monotonic()
    done = repro("status", REPRO_MONGO_URL="mongodb://user:secret@127.0.0.1:1/repro")
    assert time.monotonic() - began < 50
    refused(done, 3, "127.0.0.1:1")
    assert "secret" not in done.stderr


def test_an_unwritable_store_is_told_before_anything_is_claimed(repro, folder, database):
    repro("submit", "a.json")
    (folder / "file").write_text("")
    refused(repro("worker", "--burst", "--gpus", "none", REPRO_STORE=str(folder / "file")), 3, "can't be written")
    assert database.runs.find_one({"_id": "a"})["state"] == "pending"


def test_a_queue_has_one_store(repro, work, folder):
    work()
    done = repro("worker", "--burst", "--gpus", "none", REPRO_STORE=str(folder / "other"))
    refused(done, 2, "keeps its results in")


def test_cards_that_are_not_there(repro):
    done = repro("worker", "--burst", "--gpus", "0")
    assert done.returncode == 0
    assert "no CUDA device here" in done.stderr
    refused(repro("worker", "--gpus", "zero"), 2, "--gpus zero")
