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


def test_evolve_breeds_the_best_over_generations(repro, folder, database, tmp_path):
    repro("submit", *FILES)
    worker = Thread(target=repro, args=("worker", "--gpus", "none", "--max-idle", "20"), kwargs={"timeout": 110})
    worker.start()
    repro("wait", "ma", "mb", "mc", "md", timeout=500)
    words = ("evolve", "ma", "mb", "mc", "md", "--metric", "length", "--children", "2", "--generations", "2")
    done = repro(*words, "-o", "evolution.png", "--json", timeout=500)
    for found in database.workers.find():
        repro("drain", found["_id"])
    worker.join()
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert [run["name"] for run in first] == ["md", "mc", "mb", "ma"]
    assert {"md", "mc", "mb"} < {run["name"] for run in second}
    assert len(second) == 5
    assert (tmp_path / "evolution.png").read_bytes().startswith(b"\x89PNG")
    # Started again it finds its children done: nobody has to compute anything.
    runs = database.runs.count_documents({})
    again = repro(*words, "--json", timeout=500)
    assert (again.returncode, json.loads(again.stdout)) == (0, [first, second])
    assert database.runs.count_documents({}) == runs
