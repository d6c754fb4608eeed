"""Variations of a run from a form; verdicts, changed defaults and the tree."""

import json

import pytest

from repro.scheduler import runs
from tests.web import sample_queue
from tests.web.test_actions import FORM
from tests.web.test_security import ask


@pytest.fixture
def filled(database, settings_environment, tmp_path):
    """A real config of the stage `train` on a dataset, both done."""
    runs.create_indexes(database)
    store = sample_queue.store_of(settings_environment)
    store.objects.check()
    data, model = {"stage": "make_dataset", "images": "*.png"}, {"stage": "train", "source": "data", "lr": 0.1}
    sample_queue.submit(database, "data", data)
    sample_queue.finish(database, store, tmp_path / "made", "data")
    sample_queue.submit(database, "model", model, sources=["data"], waiting_for=[])
    params = {"lr": {"value": 0.1, "default": False}, "epochs": {"value": 17, "default": True}}
    sample_queue.finish(database, store, tmp_path / "made", "model", params=params, metrics={"loss": 0.5})
    return database


def test_a_grid_is_planned_written_and_submitted(filled, ui, visit, tmp_path):
    folder = tmp_path / "configs"
    folder.mkdir()
    tab = visit().open(ui("--write", str(folder)), "/runs/model")
    changed = tab.locator("#keys-of-run tr.default", has_text="epochs").inner_text()
    assert "in today's code" in changed
    tab.get_by_role("link", name="New from it").click()
    tab.get_by_label("lr", exact=True).fill("0.01,0.02")
    tab.get_by_label("epochs", exact=True).fill("2")
    tab.locator("#more").fill("optimizer=adam")
    tab.get_by_role("button", name="What would this make?").click()
    rows = [row.split("\t") for row in tab.locator("#planned tbody tr").all_inner_texts()]
    assert rows == [["modela", "0.01", "2", "adam", "new"], ["modelb", "0.02", "2", "adam", "new"]]
    command = tab.locator("#planned code").last.inner_text()
    assert command == "repro clone model --set lr=0.01,0.02 --set epochs=2 --set optimizer=adam --submit"
    assert not list(folder.iterdir())
    tab.locator("[name=tags]").fill("grid today")
    tab.get_by_role("button", name="Write the files and submit").click()
    assert tab.locator("li").all_inner_texts() == ["modela: pending", "modelb: pending"]
    assert json.loads((folder / "modelb.json").read_text())["lr"] == 0.02
    assert filled.runs.find_one({"_id": "modela"})["tags"] == ["grid", "today"]
    tab.go_back()
    assert [row.split("\t")[-1] for row in tab.locator("#planned tbody tr").all_inner_texts()] == [
        "is there already: costs nothing"
    ] * 2


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("set.epoch=1", "did you mean"),
        ("set.lr=abc", "expected a number"),
        ("set.lr=0.1", "this would change nothing"),
        ("set.lr=1..2", "a range is for samples"),
        ("set.seed=" + ",".join(map(str, range(300))), "at most 200 at once"),
        ("set.source=nobody", "is not in the queue"),
        ("set.lr=%7B%7D", "lr"),
    ],
)
def test_what_is_wrong_with_a_change_is_told_and_nothing_is_written(filled, ui, query, said):
    answer = ask(ui(), f"/api/new?from=model&{query}")
    view = json.loads(answer.body)
    assert answer.status == 200
    assert said in view["wrong"]
    assert view["planned"] == []


def test_without_a_folder_for_files_nothing_is_submitted(filled, ui):
    site = ui()
    assert b"Write the files" not in ask(site, "/new?from=model&set.lr=1").body
    answer = ask(site, "/do", "POST", body=b"verb=submit&from=model&set.lr=1", **FORM)
    assert (answer.status, b"--write FOLDER" in answer.body) == (403, True)
    assert ask(site, "/new?from=nobody").status == 404
    assert ask(site, "/new?from=model&more=x").status == 400
    assert filled.runs.count_documents({}) == 2


def test_a_default_that_changed_is_told_with_the_runs_that_had_it(filled, ui, visit):
    tab = visit().open(ui(), "/drift")
    row = tab.locator("#drifts tr", has_text="epochs").inner_text().split("\t")
    assert row[:3] == ["train", "epochs", "17"]
    assert row[4:] == ["1", "model"]
    tab.get_by_role("link", name="make_dataset").click()
    assert tab.locator("#drifts tr", has_text="epochs").count() == 0


def test_the_board_has_the_last_verdict_of_each_run(filled, ui, visit):
    ended = filled.runs.find_one({"_id": "model"})["finished_at"]
    for level in ("different", "identical"):
        verdict = {"level": level, "ended_at": ended, "outputs": 2, "worst": [], "environment": {"commit": "ab12" * 10}}
        filled.runs.update_one({"_id": "model"}, {"$push": {"verdicts": verdict | {"at": ended}}})
    site = ui()
    tab = visit().open(site, "/verify")
    assert tab.locator("#run-model").inner_text().split("\t")[2] == "identical"
    tab.get_by_role("link", name="different", exact=True).click()
    assert "No run has this verdict" in tab.locator("#verdicts").inner_text()
    assert ask(site, "/verify?level=nice").status == 400


def test_the_tree_is_a_picture_and_json(filled, ui):
    site = ui()
    picture = ask(site, "/tree.png?metric=loss")
    assert (picture.status, picture.body[:4]) == (200, b"\x89PNG")
    view = json.loads(ask(site, "/api/tree?metric=loss").body)
    assert {leaf["name"] for leaf in view["tree"]["children"]} == {"data", "model"}
    assert ask(site, "/tree.png?name=model").status == 404  # of one run there is no tree
    assert ask(site, "/tree?metric=none").status == 400
