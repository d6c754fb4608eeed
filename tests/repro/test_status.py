"""`repro status` in its three forms, its filters, and its refreshed screen."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import pyte
import pytest

from repro.scheduler import runs
from repro.scheduler.lists import listing
from repro.scheduler.queue import workers
from repro.views import tables
from tests.repro.terminal import golden, on_terminal


def settled(text):
    """Without what time and the machine make of it."""
    text = re.sub(r"\d+s\b", "0s", text)
    text = re.sub(r"[0-9T:.-]{20,}Z", "TIME", text)
    return re.sub(r"[0-9a-f]{32}", "TOKEN", re.sub(" {2,}", "  ", text))


def submit(db, name, waiting_for=(), **options):
    config = {"stage": options.pop("stage", "train"), "gpus": options.pop("gpus", 0)}
    runs.submit(db, [runs.document(name, config, name, list(waiting_for), list(waiting_for), **options)])


@pytest.fixture
def queue(database):
    workers.announce(database, "box:1", ["GPU-a", "GPU-b"], 1, numbers=[2, 3])
    for name, options in {
        "broken": {"priority": 3},
        "good": {"priority": 2},
        "running": {"priority": 1, "gpus": 1},
        "big": {"gpus": 4, "tags": ["sweep"]},
        "idle": {"held": True, "stage": "augment"},
    }.items():
        submit(database, name, **options)
    submit(database, "child", ["running"])
    claim = [runs.claim(database, "box:1", [0, 1], 600)["lease"]["token"] for _ in range(3)]
    runs.fail(database, "broken", claim[0], {"type": "ValueError", "message": "the loss is nan\nand more"})
    runs.complete(database, "good", claim[1], "file:///s/good", {"metrics": {"accuracy": 0.91234}, "outputs": []})
    progress = {"step": 30, "total": 40, "metrics": {"loss": 0.5}}
    used = {"steps_per_second": 12.34, "memory": 912e6, "cards": [{"utilisation": 93, "memory": 12_400_000_000}]}
    news = {"progress": progress, "cards": ["GPU-b"], "telemetry": used}
    runs.renew(database, "running", claim[2], 600, news)
    return database


@pytest.fixture
def status(cli):
    return lambda *words, **more: cli(sys.executable, "-m", "repro", "status", *words, **more)


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal(queue, settings_environment, columns):
    words = [sys.executable, "-m", "repro", "status"]
    golden(f"status-{columns}.terminal", settled(on_terminal(words, settings_environment, columns)))


def test_in_a_pipe_and_as_json(queue, status):
    done = status()
    golden("status.csv", settled(done.stdout))
    assert done.stderr == "1 waiting, 2 pending, 1 running, 1 done, 1 failed\n"
    golden("status.json", settled(status("running", "child", "--json").stdout))


def names(done):
    return [run["_id"] for run in json.loads(done.stdout)["runs"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--state", "failed", "--state", "done"], ["broken", "good"]),
        (["--stage", "augment"], ["idle"]),
        (["--tag", "sweep"], ["big"]),
        (["b*"], ["big", "broken"]),
        (["good", "c*"], ["child", "good"]),
        (["-n", "2"], ["running", "broken"]),
    ],
)
def test_filters(queue, status, words, expected):
    assert names(status(*words, "--json")) == expected


def test_where_and_sort_show_what_they_go_by(queue, status):
    done = status("--where", "gpus>=1", "--sort", "-gpus", "--state", "pending", "--state", "running")
    assert done.returncode == 0, done.stderr
    head, *rows = (line.split(",") for line in done.stdout.splitlines())
    assert [(row[0], row[head.index("gpus")]) for row in rows] == [("big", "4"), ("running", "1")]
    (row,) = status("--sort", "-metrics.accuracy").stdout.splitlines()[1:]
    assert (row.split(",")[0], row.split(",")[-2]) == ("good", "0.91234")
    shown = json.loads(status("--where", "metrics.accuracy exists", "--json").stdout)["runs"]
    assert [run["_id"] for run in shown] == ["good"]


def test_a_mistyped_key_is_told(queue, status):
    done = status("--where", "gpu>1")
    assert done.returncode == 0
    assert done.stderr == "warning: no run has gpu; did you mean gpus?\n"
    done = status("--sort", "-metrics.acuracy")
    assert done.stderr == "warning: no run has metrics.acuracy; did you mean metrics.accuracy?\n"
    done = status("--where", "gpus")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 'gpus' is no condition; write KEY OP VALUE, such as 'lr>1e-3', ")


def test_a_name_that_is_not_there_is_refused(queue, status):
    assert status("nobody").stderr == "error: no such run: nobody; repro status lists them\n"
    assert "needs a terminal" in status("--watch").stderr


def test_a_long_queue_does_not_hide_the_newest_failures(queue):
    for number in range(30):
        submit(queue, f"more{number}")
    found = [run["_id"] for run in listing.newest(queue, limit=10)]
    assert len(found) == 10
    assert found[-1] == "broken"


def test_counts_of_a_long_history_do_not_walk_it(queue, monkeypatch):
    exact = listing.counts(queue)
    monkeypatch.setattr(listing, "MANY", 1)
    assert listing.counts(queue) == exact


@pytest.mark.parametrize(
    ("used", "shown"),
    [
        ({}, ("", "")),
        ({"steps_per_second": 0.0512, "memory": 999_600_000}, ("0.0512/s", "1G")),
        ({"steps_per_second": 12345.6, "memory": 812_000}, ("12346/s", "812K")),
        (
            {"memory": 1, "cards": [{"utilisation": 90, "memory": 3e9}, {"utilisation": 95, "memory": 4e9}]},
            ("", "92% 7G"),
        ),
        ({"memory": 5e6, "cards": [{"utilisation": None, "memory": 0}]}, ("", "5M")),
    ],
)
def test_speed_and_load_in_a_cell(used, shown):
    assert (tables.speed(used), tables.load(used)) == shown


def test_a_card_of_two_workers_is_told(queue, status):
    workers.announce(queue, "other:2", ["GPU-b"], 1)
    told = "GPU-b by box:1 and other:2"
    assert f"warning: a card is used by two workers: {told};" in status().stderr
    assert json.loads(status("--json").stdout)["shared_cards"] == {"GPU-b": ["box:1", "other:2"]}


def test_watch_shows_what_has_become_of_the_queue(queue, settings_environment):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    words = [sys.executable, "-m", "repro", "status", "--watch"]
    process = subprocess.Popen(words, env=settings_environment | {"TERM": "xterm-256color"}, stdout=follower)
    os.close(follower)
    screen = pyte.Screen(120, 24)
    stream = pyte.ByteStream(screen)

    deadline = time.monotonic() + 300

    def wait_for(text):
        while not any(text in line for line in screen.display):
            assert time.monotonic() < deadline, screen.display
            stream.feed(os.read(leader, 65536))

    try:
        wait_for("needs 4 GPUs")
        runs.cancel(queue, "big")
        wait_for("cancelled")
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the terminal has been closed; a full one would keep the command
            while os.read(leader, 65536):
                pass
        assert process.wait(300) == 130
    finally:
        process.kill()
        os.close(leader)
