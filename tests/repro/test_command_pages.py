"""The pages of docs/commands are what `--help` says today, and Tab knows runs and keys."""

import json
import sys
from pathlib import Path

import pytest

from repro.scheduler import runs
from repro.tools import command_pages

FOLDER = Path(__file__).parents[2] / "docs" / "commands"


def test_the_pages_are_up_to_date():
    found = {page.name: page.read_text() for page in FOLDER.glob("*.md")}
    assert found == command_pages.pages(), "make docs"


@pytest.fixture
def tab(cli, database):
    """What a Tab behind these words offers."""
    runs.create_indexes(database)
    for name in ("model", "modela", "data"):
        runs.submit(database, [runs.document(name, {"stage": "train"}, name, [], [])])

    def press(*words, **more):
        asked = {
            "COMP_WORDS": " ".join(["repro", *words]),
            "COMP_CWORD": str(len(words)),
            "_REPRO_COMPLETE": "bash_complete",
        }
        done = cli(str(Path(sys.executable).with_name("repro")), **asked | more)
        return [line.partition(",")[2] for line in done.stdout.splitlines() if line.startswith("plain,")]

    return press


@pytest.mark.parametrize("command", ["show", "logs", "wait", "cancel", "status", "diff", "losses", "tree", "clone"])
def test_names_of_runs(tab, command):
    assert tab(command, "mo") == ["model", "modela"]


def test_keys_of_the_stage_of_the_named_config(tab, tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text(json.dumps({"stage": "augment"}))
    monkeypatch.chdir(tmp_path)
    assert tab("clone", "x.json", "--set", "rot") == ["rotation="]
    assert tab("clone", "x.json", "--set", "optim") == []
    assert tab("diff", "--sort", "optim") == ["optimizer"]
    assert tab("status", "--state", "c") == ["cancelled"]


def test_no_queue_no_names_and_no_word_about_it(tab, tmp_path):
    assert tab("show", "mo", REPRO_MONGO_URL="mongodb://127.0.0.1:1/x") == []
    assert tab("show", "mo", REPRO_MONGO_URL="") == []
    assert not (tmp_path / "home" / "mongo").exists()
