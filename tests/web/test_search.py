"""The page of a search: while it is under way, when it is over, and the doings that it offers."""

import json

import pytest
from axe_playwright_python.sync_playwright import Axe

from repro.scheduler.queue import searches
from repro.scheduler.queue.submission import submit
from tests.scheduler import test_searches as queue
from tests.web.test_security import ask

RUNGS = queue.RUNGS | {"trials": 14}


@pytest.fixture
def begun(database, tmp_path):
    """A search of which some runs have ended, and one has failed by accident."""
    for name, config in queue.CHAIN.items():
        queue.write(tmp_path, name, config)
    queue.start(database, tmp_path, RUNGS)
    queue.fail(database, "digitsa-2", {"type": "ValueError", "message": "<b>boom</b>"})
    for _ in range(2):
        queue.end(database, queue.claim(database))
    return database


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_at_each_stage(ui, begun, visit, scheme):
    site = ui()
    tab = visit(color_scheme=scheme).open(site, "/searches/digits")
    look(tab, site, "waiting")
    assert "waits for digitsa-2" in tab.locator("#why").inner_text()
    assert "ValueError: <b>boom</b>" in tab.locator("#run-digitsa-2").inner_text()
    begun.runs.update_one({"_id": "digits"}, {"$set": {"config.failures": "all"}})
    searches.advance(begun, "digits")
    queue.work(begun)
    tab.wait_for_function("() => document.querySelector('h1 .state').textContent === 'done'", timeout=120_000)
    look(tab, site, "done")
    best = begun.runs.find_one({"_id": "digits"})["same_as"]
    assert best in tab.locator("#best").inner_text()
    for part in ("history", "importance", "slices", "parallel"):
        assert tab.locator(f"#{part}").is_visible(), part
    assert tab.locator("#slices svg").count() == 3
    whole = begun.runs.find_one({"search": "digits", "rung": None})["_id"]
    tab.locator("#runs").get_by_role("link", name=whole, exact=True).first.click()
    assert "of search digits" in tab.locator("#facts").inner_text()
    tab.get_by_role("link", name="digits", exact=True).first.click()
    tab.get_by_role("heading", name="Search digits").wait_for()


def look(tab, site, state):
    """As every page: read by axe, as wide as a phone."""
    assert tab.locator("h1 .state").inner_text() == state
    tab.set_viewport_size({"width": 390, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.set_viewport_size({"width": 1280, "height": 860})
    found = Axe().run(tab, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()
    assert site.process.poll() is None


def test_the_first_page_tells_of_it_and_a_cancel_takes_its_runs_along(ui, begun, visit):
    site = ui()
    tab = visit(java_script_enabled=False).open(site)
    row = tab.locator("#search-digits").inner_text()
    assert "runs asked for have ended" in row
    assert "digits" not in tab.locator("#waiting").inner_text()
    tab.locator("#search-digits a").first.click()
    tab.get_by_role("button", name="Cancel").click()
    tab.get_by_role("button", name="Cancel").click()
    assert begun.runs.count_documents({"search": "digits", "state": {"$in": ["pending", "running", "waiting"]}}) == 0
    assert begun.runs.find_one({"_id": "digits"})["state"] == "cancelled"


def test_its_json_is_that_of_the_command(ui, begun):
    site = ui()
    told = json.loads(ask(site, "/api/searches/digits").body)
    assert (told["state"], told["metric"], told["keys"]) == ("waiting", "accuracy", ["lr", "batch_size", "warmup"])
    assert {run["rung"] for run in told["rows"] if run["trial"]} <= {2, 6}
    assert [run["name"] for run in told["rows"] if run["error"]] == ["digitsa-2"]
    for name, status in (("model", 404), ("nobody", 404), ("%2e%2e", 404)):
        assert ask(site, f"/api/searches/{name}").status == status, name


def test_a_search_whose_source_is_not_done_has_a_page(ui, database, tmp_path, visit):
    for name, config in queue.CHAIN.items():
        queue.write(tmp_path, name, config)
    submit(database, [queue.write(tmp_path, "digits", queue.DIGITS)])
    tab = visit().open(ui(), "/searches/digits")
    assert "its source is not done" in tab.locator("main").inner_text()
    tab.goto(tab.url.replace("searches", "runs"))
    assert "model is waiting" in tab.locator("#why").inner_text()
