"""`repro tree`, `repro breed` and `repro evolve` as a user types them."""

import json
import sys
from threading import Thread

import pytest

from tests import toy
from tests.repro.terminal import golden, on_terminal


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    for number, letter in enumerate("abcd"):
        config = {"stage": "toy_write", "text": letter * (number + 1), "seed": number}
        (tmp_path / "configs" / f"m{letter}.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "configs"


@pytest.fixture
def repro(cli, folder, settings_environment, tmp_path):
    toy.install(tmp_path / "toy")
    settings_environment["PYTHONPATH"] = str(tmp_path / "toy")
    return lambda *words, **more: cli(sys.executable, "-m", "repro", *words, **more)


FILES = tuple(f"configs/m{letter}.json" for letter in "abcd")


@pytest.mark.parametrize("columns", [80, 200])
def test_a_tree_on_a_terminal(repro, settings_environment, columns):
    words = [sys.executable, "-m", "repro", "tree", *FILES]
    golden(f"tree-{columns}.terminal", on_terminal(words, settings_environment, columns))


def test_a_tree_in_a_pipe(repro):
    golden("tree.txt", repro("tree", *FILES, COLUMNS="80").stdout)
    golden("tree.json", repro("tree", *FILES, "--json").stdout)
    golden("tree.newick", repro("tree", *FILES, "--newick").stdout)


def test_a_tree_as_a_picture(repro, tmp_path):
    assert repro("tree", *FILES, "-o", "tree.png").stdout == "tree.png\n"
    assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")
    refused = repro("tree", *FILES, "--metric", "length")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: --metric length: no result has it; there are: no results\n",
    )


def test_breed_in_its_three_forms(repro, folder, settings_environment):
    words = ["breed", *FILES, "--children", "3", "--mutate", "0.5", "--dry-run"]
    golden("breed.terminal", on_terminal([sys.executable, "-m", "repro", *words], settings_environment))
    golden("breed.txt", repro(*words).stdout)
    golden("breed.json", repro(*words, "--json").stdout)
    assert len(list(folder.iterdir())) == 4


def test_children_are_written_with_their_lineage_beside_them_and_submitted(repro, folder, database):
    done = repro("breed", *FILES[:2], "--children", "2", "--name", "child", "--submit")
    assert done.stdout == "childa: submitted, pending\nchildb: submitted, pending\n", done.stderr
    run = database.runs.find_one({"_id": "childa"})
    lineage = json.loads((folder / ".lineage" / "childa.json").read_text())
    assert sorted(lineage["parents"]) == ["ma", "mb"]
    assert run["tags"] == [f"parents:{'+'.join(lineage['parents'])}"]
    assert run["config"] == json.loads((folder / "childa.json").read_text())


@pytest.fixture
def climbers(folder):
    """Four runs of a stage that learns, which differ in all kinds of keys."""
    for number, letter in enumerate("abcd"):
        config = {
            "stage": "toy_climbs",
            "epochs": 1,
            "lr": 0.01 * 4**number,
            "size": 3 + number,
            "kind": "ab"[number % 2],
        }
        (folder / f"c{letter}.json").write_text(json.dumps(config))
    return ["ca", "cb", "cc", "cd"]


def test_evolve_is_a_search_that_breeds_the_best(repro, folder, climbers, work, database, tmp_path):
    repro("submit", *(f"configs/{name}.json" for name in climbers))
    work()
    words = ("evolve", *climbers, "--metric", "score", "--children", "3", "--generations", "3", "--seed", "1")
    worker = Thread(target=repro, args=("worker", "--gpus", "none", "--max-idle", "30"), kwargs={"timeout": 200})
    worker.start()
    done = repro(*words, "-o", "evolution.png", "--json", timeout=500)
    for found in database.workers.find():
        repro("drain", found["_id"])
    worker.join()
    assert done.returncode == 0, done.stderr
    config = json.loads((folder / "c-evolved.json").read_text())
    assert config["source"] == climbers
    assert config["space_lr"] == "0.01..0.64"
    assert config["space_size"] == "3..6"
    assert config["space_kind"] == ["a", "b"]
    assert "space_epochs" not in config
    first, second, third = json.loads(done.stdout)
    assert sorted(run["name"] for run in first) == climbers
    assert sorted(run["name"] for run in second) == ["c-evolveda", "c-evolvedb", "c-evolvedc"]
    assert sorted(run["name"] for run in third) == ["c-evolvedd", "c-evolvede", "c-evolvedf"]
    assert (tmp_path / "evolution.png").read_bytes().startswith(b"\x89PNG")
    best = max([*first, *second, *third], key=lambda run: run["score"])
    assert database.runs.find_one({"_id": "c-evolved"})["same_as"] == best["name"]
    # Started again it finds all done: nobody has to compute anything.
    runs = database.runs.count_documents({})
    again = repro(*words, "--json", timeout=500)
    assert (again.returncode, json.loads(again.stdout)) == (0, [first, second, third])
    assert database.runs.count_documents({}) == runs
    assert repro("search", "c-evolved", "--check").returncode == 0
    told = repro("search", "c-evolved").stdout
    assert sum(line.endswith((",given", ",the source")) for line in told.splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ca",), "it takes two parents or more"),
        (("ca", "nobody"), "no such run: nobody; repro status lists them"),
        (("ca", "same"), "the runs differ in no key that could be crossed; add runs that do"),
        (("ca", "ma"), "parents of different stages have no children: toy_climbs, toy_write"),
    ],
    ids=["one", "nobody", "equal", "stages"],
)
def test_what_can_t_evolve_is_one_clear_line(repro, folder, climbers, work, words, said):
    (folder / "same.json").write_text((folder / "ca.json").read_text())
    repro("submit", "configs/ca.json", "configs/same.json", "configs/ma.json")
    work()
    refused = repro("evolve", *words, "--metric", "score")
    assert (refused.returncode, refused.stderr) == (2, f"error: {said}\n")
