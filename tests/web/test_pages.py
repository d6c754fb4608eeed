"""The pages as a person meets them: in a browser, with and without scripts, with a keyboard alone, on a phone."""

import re
import shutil
import subprocess
import sys
import time

import pytest
from axe_playwright_python.sync_playwright import Axe

from repro.scheduler import runs
from repro.scheduler.queue.submission import submit
from repro.scheduler.server import embedded
from repro.scheduler.settings import Settings
from repro.web import app
from tests.web import sample_queue

ASKED = {"/new": "?from=model", "/drain": "?name=box:1"}
OF_SEARCHES = "/searches/{name}"  # has a file of its own
PATHS = [
    page.path.replace("{name}", "model") + ASKED.get(page.path, "") for page in app.PAGES if page.path != OF_SEARCHES
]
OTHERS = ["/runs/evil", "/runs/evil/log", "/runs/broken", "/runs/running", "/runs?state=done&sort=-metrics.accuracy"]
OTHERS += ["/runs?where=nothing%3D1", "/runs/model?x=1"]
WAIT = 120_000  # ms until something must have come


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_whole_and_everybody_can_read_it(shared_site, visit, scheme):
    """No error, no refused content, nothing from elsewhere; WCAG AA by axe; no sideways scrolling on a phone."""
    tab = (one := visit(color_scheme=scheme)).open(shared_site)
    for path in PATHS + OTHERS:
        tab.goto(shared_site.root + path)
        tab.wait_for_load_state("load")
        tab.set_viewport_size({"width": 390, "height": 800})
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)
        tab.set_viewport_size({"width": 1280, "height": 860})
        assert tab.title()
        one.context.new_cdp_session(tab)
        found = Axe().run(tab, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        assert found.violations_count == 0, (path, found.generate_report())


def test_without_scripts_it_says_the_same(shared_site, visit):
    tab = visit(java_script_enabled=False).open(shared_site)
    assert tab.locator("#counts").inner_text().split() == [
        "1",
        "waiting",
        "3",
        "pending",
        "1",
        "running",
        "3",
        "done",
        "1",
        "failed",
    ]
    assert tab.locator("#waiting").get_by_text("needs 4 GPUs and no live worker has them").is_visible()
    tab.get_by_role("link", name="Runs").click()
    tab.locator("[name=name]").fill("model*")
    tab.get_by_role("button", name="Show").click()
    assert tab.locator("tbody tr").count() == 2
    tab.get_by_role("link", name="accuracy").click()
    assert tab.locator("tbody tr a[href*='runs/']").all_inner_texts()[0] == "modela"
    tab.get_by_role("link", name="modela").click()
    assert tab.locator("#keys-of-run tr.default").inner_text().split("\t") == ["momentum", "0.9", "default"]
    tab.get_by_role("link", name="Log").click()
    assert "100%" in tab.locator("#log").inner_text()
    assert "50%" not in tab.locator("#log").inner_text()


def test_a_click_on_a_cell_asks_for_runs_with_its_value(shared_site, visit):
    tab = visit().open(shared_site, "/runs")
    tab.get_by_role("link", name="0.01", exact=True).click()
    assert tab.locator("tbody tr").count() == 1
    assert tab.locator("[name=where]").first.input_value() == "lr=0.01"
    command = tab.locator(".same code").inner_text()
    assert command == "repro status --where lr=0.01 -n 50"


def test_with_the_keyboard_alone(shared_site, visit):
    tab = visit().open(shared_site)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("?")
    assert not tab.locator("#keys").is_visible()  # a link has the focus: its keys are its own
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("?")
    assert tab.locator("#keys").is_visible()
    tab.keyboard.press("Escape")
    tab.keyboard.press("/")
    tab.keyboard.type("sweep")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/runs?tag=sweep")
    for key in "jjkx":
        tab.keyboard.press(key)
    assert tab.locator("tr.current td.pick input").is_checked()
    name = tab.locator("tr.current a").first.inner_text()
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/runs/{name}")


def test_times_are_local_for_who_wants_them_with_their_zone(shared_site, visit):
    tab = visit(timezone_id="Asia/Kolkata").open(shared_site, "/runs/model")
    finished = tab.locator("dt:text-is('Finished') + dd time")
    utc = finished.inner_text()
    assert utc.endswith(" UTC")
    tab.get_by_role("button", name="UTC").click()
    local = finished.inner_text()
    assert re.search(r"(GMT\+5:30|IST)$", local)
    assert local[14:16] != utc[14:16]
    tab.reload()
    assert finished.inner_text() == local


def test_pages_follow_one_another_through_a_long_list(ui, database, visit):
    runs.create_indexes(database)
    made = [runs.document(f"r{number:03}", {"stage": "train"}, str(number), [], []) for number in range(120)]
    runs.submit(database, made)
    tab = visit().open(ui(), "/runs?sort=name")
    seen = []
    while True:
        seen += tab.locator("tbody tr a[href*='runs/']").all_inner_texts()
        following = tab.get_by_role("link", name="Next page")
        if not following.count():
            break
        following.click()
    assert seen == [run["_id"] for run in made]


CHAIN = {
    "first": {"stage": "slow:work", "steps": 40},
    "second": {"stage": "slow:work", "source": "first", "steps": 5},
}
SLOW = """
import time
def work(run):
    for step in range(run.params["steps"]):
        time.sleep(0.1)
        run.progress(step + 1, run.params["steps"], loss=1 / (step + 1))
        print("step", step + 1, flush=True)
    return {"loss": 1 / run.params["steps"]}
"""


@pytest.fixture
def chain(tmp_path, monkeypatch, settings_environment):
    """Config files of two slow runs; their code is found by who submits and by the workers."""
    import json

    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "slow.py").write_text(SLOW)
    for name, config in CHAIN.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    settings_environment["PYTHONPATH"] = str(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_chain_is_followed_from_submit_to_done_without_a_reload(ui, database, chain, worker, visit):
    one = visit()
    site = ui()
    tab, list_, log = (one.open(site, path) for path in ("/", "/runs", "/"))
    assert "Nothing is submitted yet" in tab.locator("#counts").inner_text()
    tab.evaluate("window.mark = 1")
    list_.evaluate("window.mark = 1")
    submit(database, [chain / "second.json"])
    tab.locator("#waiting").get_by_text("no worker is alive").wait_for(timeout=WAIT)
    worker()
    tab.locator("#running").get_by_text("first").wait_for(timeout=WAIT)
    log.goto(f"{site.root}/runs/first/log")
    log.locator("#log").get_by_text("step 2", exact=True).wait_for(timeout=WAIT)
    log.locator("#log").get_by_text("step 40", exact=True).wait_for(timeout=WAIT)
    tab.locator("#counts").get_by_text("2 done").wait_for(timeout=WAIT)
    list_.bring_to_front()
    list_.locator("#run-second .state.done").wait_for(timeout=WAIT)
    assert [page.evaluate("window.mark") for page in (tab, list_)] == [1, 1]


def test_a_worker_that_is_killed_is_seen_to_lose_its_run(ui, database, chain, worker, visit):
    tab = visit().open(ui())
    submit(database, [chain / "first.json"])
    killed = worker("--lease", "4")
    tab.locator("#running").get_by_text("first").wait_for(timeout=WAIT)
    killed.kill()
    tab.locator("#running time.in").get_by_text("over").wait_for(timeout=WAIT)
    worker("--lease", "4")
    tab.locator("#run-first td:nth-child(9)").get_by_text("2").wait_for(timeout=WAIT)


def test_rows_do_not_move_under_somebodys_hand(ui, database, visit):
    runs.create_indexes(database)
    runs.submit(database, [runs.document("old", {"stage": "train"}, "old", [], [])])
    tab = visit().open(ui(), "/runs")
    tab.locator("#run-old td.pick input").check()
    runs.submit(database, [runs.document("new", {"stage": "train"}, "new", [], [])])
    tab.get_by_role("button", name="1 newer").wait_for(timeout=WAIT)
    assert tab.locator("tbody tr").count() == 1
    tab.get_by_role("button", name="1 newer").click()
    assert tab.locator("tbody tr").count() == 2


def test_mongodb_goes_and_comes_back_while_somebody_looks(ui, own_home, settings_environment, visit):
    """The page says that it is not connected; then it is new again, without a reload."""
    environment = {"REPRO_HOME": str(own_home), "REPRO_MONGO_URL": ""}
    site = ui(**environment)
    one = visit()
    one.expected += ["503", "Failed to load"]
    tab = one.open(site)
    embedded.stop(own_home)
    tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as who comes back to the tab
    tab.locator("#badge.lost").wait_for(timeout=WAIT)
    url = embedded.ensure(own_home)
    command = [sys.executable, "-c", "import sys; from repro.scheduler import runs; "
               "from repro.scheduler.server.connection import connect; from repro.scheduler.settings import Settings; "
               "runs.submit(connect(Settings.read({'REPRO_MONGO_URL': sys.argv[1]})), "
               "[runs.document('back', {'stage': 'train'}, 'back', [], [])])", url]  # fmt: skip
    subprocess.run(command, env=settings_environment, check=True)
    tab.locator("#counts").get_by_text("1 pending").wait_for(timeout=WAIT)
    assert tab.locator("#badge.lost").count() == 0


def test_more_tabs_than_a_browser_has_connections(shared_site, visit):
    """A hidden tab gives its stream back: six to one server is all that browsers allow."""
    one = visit()
    tabs = [one.open(shared_site, "/runs") for _ in range(8)]
    for tab in tabs:
        tab.bring_to_front()
        tab.goto(shared_site.root + "/runs/model", timeout=WAIT)
    assert [tab.title() for tab in tabs] == ["model · repro"] * 8


def test_told_to_stop_it_ends_although_tabs_are_open(ui, database, visit):
    one = visit()
    one.expected += ["ERR_", "Failed to load"]
    site = ui()
    one.open(site)
    began = time.monotonic()
    code, said = site.stop()
    assert (code, said) == (0, "") or code < 0
    assert time.monotonic() - began < 30


def test_where_it_can_not_listen_one_line_says_so(ui, cli, database):
    site = ui()
    done = cli(sys.executable, "-m", "repro", "ui", "--no-browser", "--port", str(site.port))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: can't listen on 127.0.0.1, port \d+: .*; see --host and --port\n", done.stderr)


def test_the_store_can_be_away(ui, database, settings_environment, tmp_path, visit):
    sample_queue.fill(database, settings_environment, tmp_path / "made")
    shutil.rmtree(Settings.read(settings_environment).store.removeprefix("file://"))
    one = visit()
    one.expected += ["404", "503"]
    tab = one.open(ui(), "/runs/model/log")
    assert "has left no log" in tab.locator(".empty").inner_text()
    tab.goto(tab.url.replace("/log", "/files/notes.txt"))
    assert "gone from the store" in tab.locator("body").inner_text()


def test_long_and_odd_values_break_no_page(ui, database, settings_environment, tmp_path, visit):
    """Thousands of keys, hundreds of figures and columns, a megabyte of text, words without a blank, right to left."""
    runs.create_indexes(database)
    store = sample_queue.store_of(settings_environment)
    store.objects.check()
    name = "x" * 64
    config = {f"key{number:04}": number for number in range(2000)} | {
        "long": "w" * 20_000,
        "rtl": "مرحبا بالعالم " * 40,
    }
    figures = {f"figure{number}": number / 7 for number in range(300)} | {"text": "é" * 900}
    params = {f"default{number:05}": {"value": [number] * 20, "default": True} for number in range(8000)}
    sample_queue.submit(database, "wide", config, tags=["t" * 200])
    result = {"metrics": figures, "params": params, "environment": {"packages": {f"p{n}": "1" for n in range(2000)}}}
    sample_queue.finish(database, store, tmp_path / "made", "wide", **result)
    sample_queue.submit(database, name, {"note": "z" * 60_000}, submitted_by="m" * 1000)
    error = {"type": "E" * 300, "message": "m" * 1_000_000, "log_tail": ["l" * 100_000] * 20}
    runs.fail(database, name, sample_queue.claim(database), error)
    columns = ",".join([*list(config)[:200], *(f"metrics.{figure}" for figure in list(figures)[:100])])
    site = ui()
    tab = visit().open(site)
    tab.set_viewport_size({"width": 390, "height": 800})
    for path in (
        *("/", "/runs", f"/runs?columns={columns}", "/runs/wide", f"/runs/{name}", f"/runs/{name}/attempts"),
        *("/compare?names=wide", f"/compare?names=wide,{name}", f"/compare?names=wide,{name}&tab=parallel"),
        *("/new?from=wide", "/runs/wide/lineage", "/tree", "/drift", "/confirm?verb=retry&names=" + name),
    ):
        answer = tab.goto(site.root + path)
        assert answer.status == 200, path
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert len(answer.body()) < 2_500_000, (path, len(answer.body()))


def test_a_list_draws_the_losses_where_somebody_asks_for_them(shared_site, visit):
    tab = visit().open(shared_site, "/runs?name=model*")
    assert tab.locator("td.spark").count() == 0
    tab.get_by_label("Loss curves").check()
    tab.get_by_role("button", name="Show").click()
    tab.locator("#run-model td.spark polyline").wait_for(timeout=WAIT)
    tab.locator("#run-modela td.spark polyline").wait_for(timeout=WAIT)
    assert tab.locator("#run-model td.spark svg").get_attribute("aria-label").startswith("train_loss, at last 0.0256")
