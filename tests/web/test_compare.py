"""Runs side by side: keys that differ, curves, figures over keys, files; in a browser and as JSON."""

import json
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe

from repro.pages import compare
from repro.scheduler import runs
from repro.scheduler.live import points
from repro.scheduler.live.points import Point
from repro.scheduler.queue import workers
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
PIXELS = """canvas => Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).join()"""


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
