"""The `repro` command itself: quick help, exit codes, and the server commands."""

import json
import os
import subprocess
import sys

import click
import pytest

from repro import cli
from repro.stages.errors import Unreachable

HEAVY = {"torch", "pymongo", "numpy", "rich", "fsspec", "matplotlib"}


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = "import sys; from repro.cli import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    for name in cli.COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "Example: repro " in done.stdout
    assert not HEAVY & set(done.stderr.split())


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_a_command_has_an_example_and_imports_nothing_heavy(name):
    code = "import sys; from repro.cli import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, check=True)
    assert f"Usage: repro {name} " in done.stdout
    assert "Example: " in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_completion_imports_no_command():
    asked = {"COMP_WORDS": "repro s", "COMP_CWORD": "1", "_REPRO_COMPLETE": "bash_complete"}
    done = subprocess.run(["repro"], env=os.environ | asked | _path(), capture_output=True, text=True, check=False)
    assert {"plain,submit", "plain,status", "plain,server"} <= set(done.stdout.split())


def _path():
    return {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}  # noqa: PTH120


@pytest.mark.parametrize("short", ["submit", "worker"])
def test_the_short_forms(cli, short):
    assert cli(f"repro-{short}", "--help").stdout == cli("repro", short, "--help").stdout


@pytest.mark.parametrize("words", [["sumbit"], ["status", "--jsn"], ["wait"]])
def test_a_usage_error_exits_2(cli, words):
    done = cli("repro", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (Unreachable("no server"), 3, "error: no server\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), None, ""),
    ],
)
def test_what_a_command_raises_becomes_an_exit_code(monkeypatch, capfd, raised, code, line):
    def fail():
        raise raised

    monkeypatch.setattr(cli.Lazy, "get_command", lambda *_: click.Command("status", callback=fail))
    if code is None:
        assert b"Traceback" not in _into_a_closed_pipe().stderr
        return
    assert cli.run(["status"]) == code
    assert capfd.readouterr().err.strip() == line.strip()


def _into_a_closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        return subprocess.run(["repro", "--help"], env=os.environ | _path(), stdout=closed, stderr=-1, check=False)


@pytest.fixture
def server(cli, own_home):
    def call(*words, **more):
        return cli("repro", "server", *words, REPRO_HOME=str(own_home), **{"REPRO_MONGO_URL": ""} | more)

    return call


def test_the_server_commands(server, own_home):
    assert f"no server runs for {own_home}" in server("status").stdout
    assert json.loads(server("status", "--json").stdout) == {"running": False, "home": str(own_home)}
    assert not own_home.exists()
    url = server("url").stdout.strip()
    found = json.loads(server("status", "--json").stdout)
    assert (found["running"], found["url"]) == (True, url)
    assert url in server("status").stdout
    assert server("stop").stdout == "stopped\n"
    assert server("stop").stdout.startswith("no server runs")


def test_a_server_of_the_users_own_is_named(server):
    given = "mongodb://127.0.0.1:1/repro"
    assert server("url", REPRO_MONGO_URL=given).stdout == given + "\n"
    assert "REPRO_MONGO_URL is set" in server("status", REPRO_MONGO_URL=given).stderr
