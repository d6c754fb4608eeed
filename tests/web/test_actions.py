"""What viewers do: through a page that says what it costs, guarded by what they have seen."""

from datetime import timedelta

import pytest

from repro.scheduler import runs
from repro.scheduler.queue.submission import submitter
from tests.web import sample_queue
from tests.web.test_security import ask

FORM = {"Sec_Fetch_Site": "same-origin", "Content_Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def filled(database, settings_environment, tmp_path):
    sample_queue.fill(database, settings_environment, tmp_path / "made")
    return database


def state(db, name):
    return db.runs.find_one({"_id": name})["state"]


def test_a_cancel_says_what_it_costs_and_does_it_after_a_yes(filled, ui, visit):
    location = {"step": 20, "location": "file:///s/running-1/20"}
    token = filled.runs.find_one({"_id": "running"})["lease"]["token"]
    assert runs.renew(filled, "running", token, 600, {"checkpoint": location, "cards": ["GPU-a"]})
    began = filled.runs.find_one({"_id": "running"})["started_at"] - timedelta(hours=3, minutes=12)
    filled.runs.update_one({"_id": "running"}, {"$set": {"started_at": began}})
    tab = visit().open(ui(), "/runs/running")
    tab.get_by_role("button", name="Cancel").click()
    told = tab.locator(".warning").inner_text()
    assert "1 of them runs: 3h12m of work, 3h12m of card time in this attempt; last checkpoint " in told
    assert told.endswith("1 run waits for it.")
    tab.get_by_role("link", name="No").click()
    assert state(filled, "running") == "running"
    tab.go_back()
    tab.get_by_role("button", name="Yes, cancel it").click()
    assert tab.locator("li").inner_text() == "running: cancelled"
    history = filled.runs.find_one({"_id": "running"})["history"][-1]
    assert (history["to"], history["by"]) == ("cancelled", f"{submitter()} (page)")


def test_chosen_runs_are_changed_without_scripts_and_what_does_not_fit_is_told(filled, ui, visit):
    tab = visit(java_script_enabled=False).open(ui(), "/runs")
    for name in ("big", "held", "model"):
        tab.get_by_label(f"Choose {name}", exact=True).check()
    tab.get_by_role("button", name="Hold", exact=True).click()
    assert "1 of those chosen can't be held: only waiting, pending runs can." in tab.locator("main").inner_text()
    tab.get_by_role("button", name="Yes, hold them").click()
    assert tab.locator("h1").inner_text() == "Not all of it was done"
    lines = tab.locator("li").all_inner_texts()
    assert sorted(lines) == [
        "big: pending, held",
        "held: pending, held",
        "model: is done; only waiting or pending runs can be held",
    ]
    assert filled.runs.count_documents({"held": True}) == 2


def many(db, count):
    runs.submit(db, [runs.document(f"m{lr:02}", {"stage": "train", "lr": lr}, str(lr), [], []) for lr in range(count)])


def test_all_of_a_list_means_the_list_that_was_looked_at(filled, ui, visit):
    many(filled, 30)
    site = ui()
    one = visit()
    one.expected.append("403")
    tab = one.open(site, "/runs?name=m*&where=lr%3C25&where=lr+exists")
    tab.get_by_text("All that are in this list").click()
    tab.get_by_role("button", name="Cancel all").click()
    assert tab.locator("h1").inner_text() == "Cancel 25 runs?"
    assert "and 5 more" in tab.locator("main").inner_text()
    tab.locator("[name=typed]").fill("24")
    tab.get_by_role("button", name="Yes").click()
    assert "Type the number of runs, 25" in tab.locator(".message").inner_text()
    assert filled.runs.count_documents({"state": "cancelled"}) == 0
    tab.go_back()
    runs.submit(filled, [runs.document("mlate", {"stage": "train", "lr": 1}, "late", [], [])])  # is not meant
    tab.locator("[name=typed]").fill("25")
    tab.get_by_role("button", name="Yes").click()
    assert tab.locator("li").inner_text() == "25 runs cancelled"
    assert filled.runs.count_documents({"state": "cancelled"}) == 25
    assert [state(filled, name) for name in ("m25", "mlate", "big")] == ["pending"] * 3


def test_what_has_changed_since_it_was_confirmed_is_not_done(filled, ui, visit):
    many(filled, 5)
    one = visit()
    one.expected.append("403")
    tab = one.open(ui(), "/confirm?verb=hold&all=1&filter=name%3Dm0*")
    runs.cancel(filled, "m03")
    tab.get_by_role("button", name="Yes").click()
    assert "There are 4 such runs now, 5 were confirmed" in tab.locator(".message").inner_text()
    assert filled.runs.count_documents({"held": True}) == 1


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ("verb=delete&names=big", 400, "is nothing that can be done"),
        ("verb=cancel", 400, ""),
        ("verb=cancel&names=nobody", 404, "no such run: nobody"),
        ("verb=priority&names=big&number=x", 400, "is no priority"),
        ("verb=priority&names=big&number=99999999999", 400, "is no priority"),
        ("verb=cancel&all=1&filter=state%3Dpending&count=2", 403, "It is not said which runs are meant"),
        ("verb=cancel&all=1&filter=state%3Dpending&count=2&until=never", 403, "It is not said which runs are meant"),
        ("verb=cancel&all=1&filter=where%3Dx&count=2&until=2099-01-01", 400, "is no condition"),
        ("verb=drain&names=nobody", 404, "no such worker: nobody"),
        ("names=" + "x" * (1 << 20), 400, "too many runs at once"),
        ("%ff=%ff", 400, "is nothing that can be done"),
    ],
)
def test_a_form_that_says_nothing_changes_nothing(shared_site, form, status, said):
    answer = ask(shared_site, "/do", "POST", body=form.encode(), **FORM)
    if form == "verb=cancel":
        assert answer.status == 200
        return
    assert (answer.status, said in answer.body.decode()) == (status, True), answer.body[-600:]


def test_who_may_only_look_is_offered_nothing_and_can_do_nothing(filled, ui):
    site = ui("--read-only")
    for path in ("/runs", "/runs/big", "/workers"):
        text = ask(site, path).body.decode()
        assert "confirm" not in text
        assert "Drain" not in text
    answer = ask(site, "/do", "POST", body=b"verb=cancel&names=big", **FORM)
    assert (answer.status, "for looking alone" in answer.body.decode()) == (403, True)
    assert state(filled, "big") == "pending"


def test_a_proxy_says_who_it_was(filled, ui):
    site = ui("--user-header", "X-User")
    answer = ask(site, "/do", "POST", body=b"verb=cancel&names=big", X_User="ann\x1b[31m", **FORM)
    assert answer.status == 200
    assert filled.runs.find_one({"_id": "big"})["history"][-1]["by"] == "ann\\x1b[31m (page)"


def test_a_worker_is_drained(filled, ui, visit):
    tab = visit().open(ui(), "/workers")
    assert tab.locator("#worker-1").inner_text().split()[0] == "box:1"
    tab.get_by_role("button", name="Drain").click()
    tab.get_by_role("button", name="Yes, drain it").click()
    assert tab.locator("li").inner_text() == "box:1: drains"
    assert filled.workers.find_one({"_id": "box:1"})["drain"] is True


def test_attempts_lineage_and_the_order_of_claims(shared_site, visit):
    tab = visit().open(shared_site, "/runs/grandchild/lineage")
    assert tab.locator("#above tbody tr").count() == 1
    tab.goto(shared_site.root + "/runs/model/lineage")
    assert tab.locator("#below tbody tr a").all_inner_texts() == ["grandchild"]
    assert "has no files.csv" in tab.locator("#above").inner_text()
    tab.goto(shared_site.root + "/runs/running/attempts")
    cells = tab.locator("#attempt-1 td").all_inner_texts()
    assert (cells[4], cells[5], cells[7], cells[8]) == ("box:1", "GPU-a", "30", "runs")
    tab.goto(shared_site.root + "/queue")
    assert sorted(tab.locator("tbody tr a").all_inner_texts()) == ["big", "grandchild", "held"]
    assert "needs 4 GPUs and no live worker has them" in tab.locator("#run-big").inner_text()
