"""`repro logs`: bars collapse, colours stay, and attempts have numbers."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.scheduler import runs
from repro.scheduler.live import log_pieces
from repro.views.log_lines import Collapse
from tests.repro.terminal import golden, on_terminal

BAR = "".join(f"\r{n}%|{'#' * (n // 10):10}|" for n in range(0, 101, 10))
LOG = f"begin\n{BAR}\nepoch 1\r\n\x1b[31mred\x1b[0m\r\x1b[32mgreen\x1b[0m\nlast without an end"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("a\nb\n", "a\nb\n"),
        ("1%\r2%\r3%\ndone", "3%\ndone"),
        ("windows\r\n", "windows\n"),
        ("1%\r2%", "2%"),
        ("1%\r2%\r", "2%"),
        ("\n\n", "\n\n"),
        ("", ""),
    ],
)
def test_a_line_is_as_a_terminal_leaves_it(printed, shown):
    lines = Collapse()
    assert lines.feed(printed) + lines.close() == shown


@given(st.lists(st.text(st.sampled_from("ab\r\n"), max_size=8)))
def test_in_whatever_pieces_it_comes(pieces):
    lines, whole = Collapse(), Collapse()
    together = "".join(pieces)
    assert "".join(map(lines.feed, pieces)) + lines.close() == whole.feed(together) + whole.close()


def test_a_bar_that_never_ends_takes_no_memory():
    lines = Collapse()
    for n in range(1000):
        lines.feed(f"\r{n}%")
    assert lines.close() == "999%"


@pytest.fixture
def running(database):
    runs.submit(database, [runs.document("a", {"stage": "train"}, "f", [], [])])
    token = runs.claim(database, "w", [0], 600)["lease"]["token"]
    log_pieces.append(database, token, log_pieces.Piece(0, LOG.encode()))


@pytest.fixture
def shown(cli):
    return lambda *words: cli(sys.executable, "-m", "repro", "logs", "a", *words)


def test_in_its_three_forms(running, shown, settings_environment):
    words = [sys.executable, "-m", "repro", "logs", "a"]
    golden("logs.terminal", on_terminal(words, settings_environment))
    golden("logs.txt", shown().stdout)
    assert json.loads(shown("--json").stdout) == shown().stdout.split("\n")
    assert shown("-n", "2").stdout == "\x1b[32mgreen\x1b[0m\nlast without an end"
    assert "\r" not in shown().stdout
    assert "10%" in shown("--raw").stdout


def test_an_attempt_that_was_not_is_refused(running, shown):
    assert shown("--attempt", "1").stdout == shown().stdout
    done = shown("--attempt", "2")
    assert (done.returncode, done.stderr) == (1, "error: a has no attempt 2; there were 1\n")
