"""`repro search` as a user types it, and what other commands say of searches."""

import json
import sys

import pytest

from repro.scheduler.queue import searches
from tests import toy

CLIMB = {"stage": "toy_climbs", "epochs": 3}
PEAK = {
    **{"stage": "search", "source": "climb", "metric": "score", "trials": 11, "lag": 2},
    **{"space_lr": "log:1e-4..1", "space_size": "1..9", "space_kind": ["a", "b"]},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    write(tmp_path, "climb", CLIMB)
    write(tmp_path, "peak", PEAK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, name, config):
    (folder / "configs" / f"{name}.json").write_text(json.dumps(config))


@pytest.fixture
def repro(cli, folder, settings_environment):
    toy.install(folder / "toy")
    settings_environment["PYTHONPATH"] = str(folder / "toy")
    return lambda *words, **more: cli(sys.executable, "-m", "repro", *words, **more)


def test_a_search_from_its_config_to_its_table(repro, work, database, folder):
    begun = repro("search", "configs/peak.json", "--no-wait", "--tag", "first", "--priority", "2")
    assert (begun.returncode, begun.stdout) == (0, "name,state,score,lr,size,kind,what\n"), begun.stderr
    assert begun.stderr == "peak: climb is pending\n"
    work()
    told = repro("search", "peak", "-o", "peak.png")
    assert told.returncode == 0, told.stderr
    head, *rows = told.stdout.splitlines()
    assert head == "name,state,score,lr,size,kind,what"
    assert rows.pop() == "peak.png"
    assert (folder / "peak.png").read_bytes().startswith(b"\x89PNG")
    assert len(rows) == 12
    figures = [float(row.split(",")[2]) for row in rows]
    assert figures == sorted(figures, reverse=True)
    (source,) = [row for row in rows if row.startswith("climb,")]
    assert source.endswith(",0.1,3,a,the source")  # the defaults of its code, which its config does not say
    best = rows[0].split(",")[0]
    assert told.stderr.startswith(f"peak: done, the best is {best} with score {figures[0]:.6g}; what matters: ")
    view = json.loads(repro("search", "configs/peak.json", "--json").stdout)
    assert (view["state"], view["best"], view["figure"]) == ("done", best, pytest.approx(figures[0], rel=1e-5))
    assert sum(view["importance"].values()) == pytest.approx(1)
    assert {run["priority"] for run in database.runs.find({"search": "peak"})} == {2}
    assert repro("search", "peak", "--check").stdout == "peak: each trial is proposed again as it was\n"
    database.runs.update_one({"_id": "peakk"}, {"$set": {"config.lr": 0.5}})
    checked = repro("search", "peak", "--check")
    assert (checked.returncode, checked.stdout) == (1, "peak: would be others today: peakk\n")


def test_it_follows_a_search_to_its_end_and_fails_with_it(repro, work, database, folder):
    write(folder, "bad", PEAK | {"metric": "scre"})
    repro("submit", "configs/bad.json")
    work()
    ended = repro("search", "bad")
    assert ended.returncode == 1
    assert ended.stderr == 'bad: failed, "metric": climb has no figure scre; did you mean score?\n'
    refused = repro("search", "configs/again.json")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    write(folder, "again", PEAK | {"metric": "scre"})
    refused = repro("search", "configs/again.json")
    assert (refused.returncode, refused.stderr) == (
        2,
        'error: configs/again.json: "metric": climb has no figure scre; did you mean score?\n',
    )


def test_a_search_whose_source_fails_is_not_waited_for(repro, work, database, folder):
    repro("submit", "configs/peak.json")
    database.runs.update_one({"_id": "climb"}, {"$set": {"state": "failed", "error": {"type": "E", "message": "m"}}})
    told = repro("search", "peak", timeout=60)
    assert (told.returncode, told.stderr) == (1, "peak: climb is failed\n")


def test_what_is_no_search_is_one_clear_line(repro, work, folder):
    refused = repro("search", "configs/climb.json")
    assert (refused.returncode, refused.stderr) == (
        2,
        'error: configs/climb.json: "stage": expected "search", got: "toy_climbs"\n',
    )
    repro("submit", "configs/climb.json")
    refused = repro("search", "climb")
    assert refused.stderr == "error: climb is no search, but a run of stage toy_climbs; repro show climb\n"
    assert repro("search", "nobody").stderr == "error: no such run: nobody; repro status lists them\n"


def test_what_other_commands_say_of_a_search(repro, work, database, folder):
    repro("submit", "configs/climb.json")
    work()
    repro("submit", "configs/peak.json")
    status = repro("status").stdout.splitlines()
    assert [line.split(",")[0] for line in status[1:]] == ["peak", "peaka", "peakb", "climb"]
    assert status[1].endswith("0 of 2 runs asked for have ended; best climb with 0.1862")
    shown = repro("show", "peaka").stdout
    assert "peaka  toy_climbs  pending" in shown
    assert "search: peak, trial 1" in shown
    work()
    assert searches.due(database) == []
    shown = repro("show", "peak").stdout
    assert f"equal to: {database.runs.find_one({'_id': 'peak'})['same_as']}" in shown
    differing = repro("diff", "peaka", "peakb").stdout
    assert differing.splitlines()[0].startswith("name,kind,lr,size")
    refused = repro("verify", "peak")
    assert (refused.returncode, refused.stderr.startswith("error: peak is a search: repro search peak --check")) == (
        2,
        True,
    )
    assert repro("verify", "--defaults").returncode == 0
    assert repro("retry", "peak").stderr == "error: peak: is done; only failed or cancelled runs can be retried\n"
    assert repro("gc").returncode == 0
    assert repro("tree", "peak*").returncode == 0
    assert repro("rebuild").returncode == 0


def test_a_search_is_rebuilt_from_the_store_without_computing(repro, work, database, folder):
    repro("submit", "configs/peak.json")
    work()
    before = database.runs.find_one({"_id": "peak"})
    tokens = {run["_id"]: run["location"] for run in database.runs.find({"search": "peak"})}
    database.runs.delete_many({})
    assert repro("rebuild").returncode == 0
    repro("submit", "configs/peak.json")
    work()
    after = database.runs.find_one({"_id": "peak"})
    assert (after["same_as"], after["location"]) == (before["same_as"], before["location"])
    assert {run["_id"]: run["location"] for run in database.runs.find({"search": "peak"})} == tokens
