"""Runs side by side: keys that differ, curves, figures over keys, files; in a browser and as JSON."""

import json
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe

from repro.pages import compare
from repro.scheduler import runs
from repro.scheduler.live import points
from repro.scheduler.live.points import Point
from repro.stages.plain import clean
from tests.web import sample_queue
from tests.web.sample_queue import EVIL
from tests.web.test_security import ask

WAIT = 120_000  # ms until something must have come
NAMES = "model,modela,evil,running"
COUNT_PAINTED = """canvas => {
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let painted = 0;
    for (let i = 3; i < data.length; i += 4) painted += data[i] > 0;
    return painted;
}"""
PIXELS = "canvas => canvas.toDataURL()"

FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def get(site, path):
    answer = ask(site, path)
    return answer.status, json.loads(answer.body)


def charts(tab):
    """The canvases, drawn."""
    tab.locator("[data-state=drawn]").wait_for(timeout=WAIT)
    return tab.locator("figure.chart canvas")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tab_name", compare.TABS)
def test_every_tab_is_whole_and_everybody_can_read_it(shared_site, visit, tab_name, scheme):
    paths = [f"/compare?names={NAMES}&tab={tab_name}", f"/compare?names=model*&tab={tab_name}"]
    paths += [f"/compare?names=big,held&tab={tab_name}", f"/compare?tab={tab_name}"]
    tab = visit(color_scheme=scheme).open(shared_site)
    for path in paths:
        tab.goto(shared_site.root + path)
        tab.wait_for_load_state("load")
        if tab_name == "curves" and "model" in path:
            charts(tab)
        tab.set_viewport_size({"width": 390, "height": 800})
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)
        tab.set_viewport_size({"width": 1280, "height": 860})
        found = Axe().run(tab, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        assert found.violations_count == 0, (path, found.generate_report())
        assert "<script>alert" not in tab.content()


def test_the_diff_says_what_differs_and_what_nobody_said(shared_site, visit):
    tab = visit().open(shared_site, "/runs?tag=sweep&sort=name")
    for box in tab.locator("td.pick input").all():
        box.check()
    tab.keyboard.press("c")
    tab.wait_for_url("**/compare?names=model&names=modela")
    rows = tab.locator("#diff tbody tr")
    assert [text.split() for text in rows.all_inner_texts()] == [
        ["model", "base", "0.1", "0.9", "nan"],
        ["modela", "base", "0.01", "0.95", "nan"],
    ]
    assert tab.locator(".same code").inner_text() == "repro diff model modela --metrics"
    tab.get_by_role("link", name="accuracy").click()
    assert rows.first.inner_text().split()[0] == "modela"
    rows.first.get_by_role("link", name="base").click()
    assert rows.nth(1).inner_text().split() == ["model", "base", "0.1", "0.9", "·"]
    command = "repro diff model modela --metrics --sort -metrics.accuracy --base modela"
    assert tab.locator(".same code").inner_text() == command
    tab.goto(f"{shared_site.root}/compare?names=evil,running")
    assert "(never read)" in tab.locator("#diff .unread").inner_text()
    assert "20" in tab.locator("#diff .default").all_inner_texts()


def test_the_same_as_json(shared_site):
    status, view = get(shared_site, "/api/compare?names=model&names=modela,model")
    assert status == 200
    assert view["names"] == ["model", "modela"]
    assert view["keys"] == ["lr", "metrics.accuracy", "metrics.loss"]
    assert view["configs"][1] == {
        "name": "modela",
        "values": {"lr": 0.01},
        "defaults": [],
        "metrics": {"accuracy": 0.95, "loss": "NaN"},
        "unread": [],
        "same": [],
    }
    assert get(shared_site, "/api/compare")[1]["names"] == []


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("names=nobody", 404),
        ("names=nobody*", 404),
        ("names=" + ",".join(f"r{number}" for number in range(51)), 400),
        ("names=../model", 400),
        ("names=/etc/passwd", 400),
        ("names=model.json", 400),
        ("names=" + quote("<script>alert(1)</script>"), 400),
        ("names=" + "a" * 3000, 400),
        ("names=model%00", 400),
        ("names=model&tab=nothing", 400),
        ("names=model&sort=nothing", 400),
        ("names=model&base=modela", 400),
        ("names=model,modela&tab=scatter&x=nothing", 400),
        ("names=model,modela&tab=parallel&axes=nothing", 400),
        ("names=model,modela&tab=parallel" + "&axes=lr" * 8, 400),
        ("names=model&tab=files&path=../x", 404),
        ("names=model&tab=files&path=repro-log.txt", 404),
    ],
)
def test_bad_comparisons_get_one_line(shared_site, words, status):
    for path in (f"/compare?{words}", f"/api/compare?{words}"):
        answer = ask(shared_site, path)
        assert answer.status == status, answer.body[-500:]
        assert b"Traceback" not in answer.body
        assert b"<script>alert" not in answer.body or path.startswith("/api/")
    assert "\n" not in json.loads(answer.body)["error"]


def test_curves_as_json(shared_site):
    status, view = get(shared_site, "/api/curves?names=model*,running,broken")
    assert status == 200
    assert view["runs"] == ["model", "modela", "running", "broken"]
    assert view["unfinished"] == ["running"]
    assert view["figures"] == ["train_loss", "validation_loss"]
    assert view["missing"] == ["running is running and has no curve", "broken is failed and has no curve"]
    train, validation = view["curves"][:2]
    assert (train["run"], train["figure"], train["unit"], train["validation"]) == (
        "model",
        "train_loss",
        "epoch",
        False,
    )
    assert (train["x"], train["y"][:2]) == (list(range(1, 40)), [1, 0.5])
    assert train["label"] == "model  lr=0.1  (not finite from epoch 1 on)"
    assert (validation["figure"], validation["y"]) == ("validation_loss", ["NaN"] * 39)
    assert validation["validation"]
    (part,) = get(shared_site, "/api/curves?names=model&figure=train_loss&begin=10&end=12.5")[1]["curves"]
    assert part["x"] == [9, 10, 11, 12, 13]
    (thin,) = get(shared_site, "/api/curves?names=model&figure=train_loss&columns=2")[1]["curves"]
    assert thin["x"] == [1, 2, 19, 20, 38, 39]
    _, none = get(shared_site, "/api/curves?names=running,broken,big")
    assert (none["curves"], len(none["missing"])) == ([], 3)
    _, none = get(shared_site, "/api/curves?names=model&figure=other")
    assert none["missing"] == ["model has no such figure; there are: train_loss, validation_loss"]
    assert get(shared_site, "/api/curves")[1]["curves"] == []


@pytest.mark.parametrize(
    "words",
    [
        *("columns=0", "columns=4001", "columns=x", "columns=-5", "columns=1.5", "columns=" + "9" * 5000),
        *("begin=x", "begin=nan", "begin=inf", "end=-inf", "end=1e999", "begin=2&end=1", "begin=" + "1" * 5000),
        "&".join(["figure=a"] * 25),
    ],
)
def test_a_part_of_a_curve_that_can_not_be_is_refused_in_one_line(shared_site, words):
    status, view = get(shared_site, f"/api/curves?names=model&{words}")
    assert status == 400
    assert list(view) == ["error"]
    assert 0 < len(view["error"]) < 200
    assert "\n" not in view["error"]


def test_curves_are_drawn_and_what_is_not_finite_is_on_the_rim(shared_site, visit):
    tab = visit().open(shared_site, f"/compare?names={NAMES}&tab=curves")
    canvases = charts(tab)
    assert canvases.count() == 2
    train, validation = canvases.nth(0), canvases.nth(1)
    assert train.evaluate(COUNT_PAINTED) > 1000
    assert train.evaluate("canvas => canvas.height / canvas.clientHeight === devicePixelRatio")
    crosses = validation.evaluate(
        """canvas => {
            const {data} = canvas.getContext("2d").getImageData(70, 6, canvas.width - 220, 9);
            let coloured = 0;
            for (let i = 0; i < data.length; i += 4) {
                const shades = data.slice(i, i + 3);
                coloured += data[i + 3] > 100 && Math.max(...shades) - Math.min(...shades) > 60;
            }
            return coloured;
        }"""
    )
    assert crosses > 100
    validation.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    readout = tab.locator("figure.chart .readout").nth(1)
    readout.get_by_text("epoch 2").first.wait_for(timeout=WAIT)
    assert "model NaN at epoch 2" in readout.inner_text().replace("\n", " ")
    assert "modela  lr=0.01" in tab.locator(".legend li").nth(1).text_content()
    assert "from epoch 1" in tab.locator("#in-numbers").inner_text()


def test_the_keyboard_reads_and_zooms(shared_site, visit):
    tab = visit().open(shared_site, "/compare?names=model*&tab=curves&figure=train_loss")
    canvas = charts(tab).first
    readout = tab.locator(".readout")
    canvas.focus()
    for key, step in (("ArrowRight", 1), ("ArrowRight", 2), ("End", 39), ("ArrowLeft", 38), ("Home", 1)):
        tab.keyboard.press(key)
        readout.locator(f"p:text-is('epoch {step}')").wait_for(timeout=WAIT)
    with tab.expect_request("**/api/curves?*begin=*") as asked:
        tab.keyboard.press("+")
    assert "figure=train_loss" in asked.value.url
    whole = tab.get_by_role("button", name="Whole")
    whole.wait_for(timeout=WAIT)
    tab.keyboard.press("-")
    whole.wait_for(state="hidden", timeout=WAIT)


def test_a_part_is_asked_for_again_when_somebody_pulls_over_it(shared_site, visit):
    tab = visit().open(shared_site, "/compare?names=model*&tab=curves")
    canvas = charts(tab).first
    canvas.scroll_into_view_if_needed()
    before, box = canvas.evaluate(PIXELS), canvas.bounding_box()
    tab.mouse.move(box["x"] + 150, box["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 250, box["y"] + 100, steps=3)
    with tab.expect_response("**/api/curves?*begin=*") as asked:
        tab.mouse.up()
    assert asked.value.status == 200
    (curve, _) = asked.value.json()["curves"]
    assert 1 < curve["x"][0] < curve["x"][-1] < 39
    tab.get_by_role("button", name="Whole").wait_for(timeout=WAIT)
    tab.evaluate(FRAMES)
    assert canvas.evaluate(PIXELS) != before
    canvas.dblclick(position={"x": 200, "y": 100})
    tab.get_by_role("button", name="Whole").wait_for(state="hidden", timeout=WAIT)


def test_smoothing_leaves_the_validation_alone(shared_site, visit):
    tab = visit().open(shared_site, "/compare?names=model*&tab=curves")
    train, validation = charts(tab).all()
    before = [canvas.evaluate(PIXELS) for canvas in (train, validation)]
    sliders = tab.locator("figure.chart input[type=range]")
    assert sliders.count() == 1  # of two charts
    sliders.fill("0.9")
    tab.evaluate(FRAMES)
    after = [canvas.evaluate(PIXELS) for canvas in (train, validation)]
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    tab.locator("figure.chart input[type=checkbox]").first.check()
    tab.evaluate(FRAMES)
    assert train.evaluate(PIXELS) != after[0]


def test_a_theme_gives_other_colours(shared_site, visit):
    tab = visit(color_scheme="light").open(shared_site, "/compare?names=model*&tab=curves")
    canvas = charts(tab).first
    before = canvas.evaluate(PIXELS)
    tab.get_by_role("button", name="Light or dark").click()
    tab.evaluate(FRAMES)
    assert canvas.evaluate(PIXELS) != before


def test_without_scripts_there_is_a_table_of_the_curves(shared_site, visit):
    tab = visit(java_script_enabled=False).open(shared_site, "/compare?names=model*,running&tab=curves")
    row = tab.locator("#in-numbers tbody tr").first.inner_text().split()
    assert row == ["model", "train_loss", "1", "0.025641", "epoch", "39", "0.025641", "1"]
    assert "running is running and has no curve" in tab.locator("#in-numbers").inner_text()


def test_points_lead_to_their_runs(shared_site, visit):
    tab = visit().open(shared_site, "/compare?names=model*&tab=scatter&x=lr&y=metrics.accuracy&log_x=1")
    assert tab.locator("svg.scatter a").count() == 2
    assert tab.locator("svg.scatter a title").first.text_content() == "model: lr 0.1, metrics.accuracy 0.9"
    tab.locator("svg.scatter a circle").first.click()
    tab.wait_for_url("**/runs/model")
    tab.goto(shared_site.root + "/compare?names=model*&tab=scatter&y=metrics.loss")
    assert "model: lr 0.1, metrics.loss nan" in tab.locator("#left-out").inner_text()
    tab.goto(shared_site.root + "/compare?names=model*&tab=parallel")
    assert tab.locator("svg.parallel a.run").count() == 2


def test_files_stand_side_by_side(shared_site, visit):
    tab = visit().open(shared_site, f"/compare?names={NAMES}&tab=files")
    tab.wait_for_function(
        "() => [...document.querySelectorAll('#files img')].every(img => img.naturalWidth)", timeout=WAIT
    )
    assert tab.locator("#files img").count() == 3
    tab.locator("select[name=path]").select_option("losses.csv")
    tab.get_by_role("button", name="Show").click()
    assert tab.locator("#files pre").first.inner_text().startswith("epoch,train_loss,validation_loss\n1,")
    assert "the same as in model" in tab.locator("#files figcaption").nth(1).inner_text()
    assert "Without this file: running" in tab.locator("main").inner_text()
    tab.locator("select[name=path]").select_option("page.html")
    tab.get_by_role("button", name="Show").click()
    assert tab.locator("#files a", has_text="Download").count() == 3


WHERE = """() => [...document.querySelectorAll("#files img")].map(img => {
    const [box, frame] = [img, img.parentElement].map(one => one.getBoundingClientRect());
    return [box.width / frame.width, (frame.x - box.x) / box.width, (frame.y - box.y) / box.height]
        .map(share => Math.round(share * 1000) / 1000);
})"""


def test_one_zoom_for_all_pictures(shared_site, visit):
    tab = visit().open(shared_site, f"/compare?names={NAMES}&tab=files")
    tab.wait_for_function(
        "() => [...document.querySelectorAll('#files img')].every(img => img.naturalWidth)", timeout=WAIT
    )
    assert tab.evaluate(WHERE) == [[1, 0, 0]] * 3
    tab.get_by_role("button", name="Closer").click()
    tab.get_by_role("button", name="Closer").click()
    assert tab.evaluate(WHERE) == [[2.25, 0.278, 0.278]] * 3  # 0.5 - 0.5 / 2.25: the middle stays in the middle
    frame = tab.locator("#files .look").nth(1)
    box = frame.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(*middle)
    tab.mouse.down()
    tab.mouse.move(middle[0] + box["width"], middle[1] + box["height"] / 4, steps=5)
    tab.mouse.up()
    assert tab.evaluate(WHERE) == [[2.25, 0, 0.167]] * 3  # as far as the left rim, and a quarter of a frame down
    assert "/compare?" in tab.url  # a pull is no click on the link
    frame.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(WHERE) == [[2.25, 0.044, 0.167]] * 3
    tab.evaluate("document.getElementById('main').dispatchEvent(new CustomEvent('renewed'))")
    assert tab.get_by_role("button", name="Closer").count() == 1
    tab.keyboard.press("0")
    assert tab.evaluate(WHERE) == [[1, 0, 0]] * 3
    tab.mouse.move(box["x"] + 1, box["y"] + 1)
    tab.keyboard.down("Control")
    tab.mouse.wheel(0, -100)
    tab.keyboard.up("Control")
    tab.wait_for_function(f"() => ({WHERE})()[0][0] === 1.5")
    assert tab.evaluate(WHERE)[2][1:] == pytest.approx([0, 0], abs=0.01)  # the corner stays where it was
    assert frame.get_attribute("href").endswith("/files/dot.png")


def test_texts_beside_one_another_are_read_together(shared_site, visit):
    tab = visit().open(shared_site, f"/compare?names={NAMES}&tab=files&path=losses.csv")
    tab.evaluate("for (const pre of document.querySelectorAll('#files pre')) pre.style.height = '2em'")
    tab.locator("#files pre").first.evaluate("pre => pre.scrollTo(0, 7)")
    tab.wait_for_function("() => [...document.querySelectorAll('#files pre')].every(pre => pre.scrollTop === 7)")


def test_curves_of_a_running_run_grow_while_somebody_looks(ui, database, visit):
    runs.create_indexes(database)
    points.create_indexes(database)
    sample_queue.submit(database, "live", {"epochs": 4})
    token = sample_queue.claim(database)
    points.append(database, token, Point(1, 40, {"loss": 2.0, clean(EVIL): 1.0}))
    tab = visit().open(ui(), "/runs/live")
    canvas = charts(tab).first
    canvas.focus()
    tab.keyboard.press("End")
    readout = tab.locator(".readout").first
    readout.get_by_text("epoch 0.1").first.wait_for(timeout=WAIT)
    for step in (2, 3):
        points.append(database, token, Point(step, 40, {"loss": float("inf"), clean(EVIL): 1.0}))
    assert runs.renew(database, "live", token, 600, {"progress": {"step": 3, "total": 40, "metrics": {}}})
    tab.wait_for_function(
        """() => { document.querySelector("canvas").dispatchEvent(new KeyboardEvent("keydown", {key: "End"}));
                   return document.querySelector(".readout").textContent.includes("Infinity"); }""",
        polling=200,
        timeout=WAIT,
    )
    assert "<script>alert" not in tab.content()


def test_a_broken_file_of_one_run_hides_no_other(ui, database, settings_environment, tmp_path, monkeypatch):
    runs.create_indexes(database)
    store = sample_queue.store_of(settings_environment)
    store.objects.check()
    for name, table in (("good", b"epoch,train_loss\n1,2\n"), ("broken", b"epoch,train_loss\n1,x\n")):
        monkeypatch.setattr(sample_queue, "FILES", {"losses.csv": table})
        sample_queue.submit(database, name)
        sample_queue.finish(database, store, tmp_path, name)
    site = ui()
    status, view = get(site, "/api/curves?names=good,broken")
    assert (status, [curve["run"] for curve in view["curves"]]) == (200, ["good"])
    (line,) = view["missing"]
    assert line.startswith("broken: its losses.csv is no table of numbers")
    assert get(site, "/api/curves?names=broken")[1]["curves"] == []
    assert ask(site, "/compare?names=good,broken&tab=curves").status == 200


def test_what_somebody_looks_at_closely_stays_when_the_page_changes(
    ui, database, settings_environment, tmp_path, visit
):
    """A run ends: the page has other parts then, and the chart is still the one that was zoomed."""
    runs.create_indexes(database)
    points.create_indexes(database)
    store = sample_queue.store_of(settings_environment)
    store.objects.check()
    sample_queue.submit(database, "live")
    token = sample_queue.claim(database)
    for step in range(1, 9):
        points.append(database, token, Point(step, None, {"loss": 1 / step}))
    tab = visit().open(ui(), "/runs/live")
    canvas = charts(tab).first
    canvas.focus()
    tab.keyboard.press("+")
    tab.get_by_role("button", name="Whole").wait_for(timeout=WAIT)
    tab.evaluate("document.activeElement.blur(); document.querySelector('canvas').mark = 1")
    location = store.location("live", token)
    store.open_attempt(location)
    done = {"outputs": [], "params": {}, "environment": {}, "metrics": {"accuracy": 1.0}}
    assert runs.complete(database, "live", token, location, done)
    tab.locator("#figures").get_by_text("accuracy").wait_for(timeout=WAIT)
    assert tab.evaluate("document.querySelector('canvas').mark") == 1
    assert tab.get_by_role("button", name="Whole").is_visible()
