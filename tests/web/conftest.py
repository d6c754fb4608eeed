"""The page on a real server, a real mongod, and in Debian's Chromium."""

import shutil
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from tests.conftest import environment_in
from tests.needs import need
from tests.web import sample_queue

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


class Site:
    """A running `repro ui`."""

    def __init__(self, environment, *words):
        command = [sys.executable, "-m", "repro", "ui", "--port", "0", "--no-browser", *words]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.stderr.read()
        self.root = self.address.partition("?")[0].rstrip("/")
        self.port = urlsplit(self.address).port

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture
def ui(settings_environment, database):
    """Start a server with these options; what it said on its standard error must be nothing."""
    sites = []

    def start(*words, **environment):
        sites.append(Site(settings_environment | environment, *words))
        return sites[-1]

    yield start
    for site in sites:
        if site.process.poll() is None:
            code, said = site.stop()
            assert said == ""
            assert code in (0, -signal.SIGTERM)


@pytest.fixture(scope="module")
def shared_site(mongo_server, tmp_path_factory):
    """A server on a queue with a run in every state, for all tests of a file that change nothing."""
    folder = tmp_path_factory.mktemp("site")
    environment = environment_in(mongo_server, folder)
    db = connect(Settings.read(environment))
    sample_queue.fill(db, environment, folder / "made")
    site = Site(environment)
    yield site
    site.stop()
    db.client.drop_database(db.name)
    db.client.close()


@pytest.fixture(scope="session")
def chromium():
    need(CHROMIUM, "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A tab that notes all that must not happen: errors, refused content, requests to anywhere else."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(viewport={"width": 1280, "height": 860}, **options)
        self.context.set_default_timeout(60_000)
        self.context.set_default_navigation_timeout(60_000)
        self.bad, self.expected = [], []

    def open(self, site, path="/"):
        tab = self.context.new_page()
        tab.on("console", lambda message: message.type in ("error", "warning") and self.bad.append(message.text))
        tab.on("pageerror", lambda error: self.bad.append(str(error)))
        tab.on("request", lambda request: self._check(site, request.url))
        tab.goto(site.root + path)
        return tab

    def _check(self, site, url):
        if not url.startswith((site.root, "data:", "blob:")):
            self.bad.append(f"a request to {url}")

    def end(self):
        self.context.close()
        left = [text for text in self.bad if not any(part in text for part in self.expected)]
        assert left == []


@pytest.fixture
def visit(chromium):
    visits = []

    def start(**options):
        visits.append(Visit(chromium, **options))
        return visits[-1]

    yield start
    for one in visits:
        one.end()


@pytest.fixture
def worker(settings_environment):
    """Start a worker on the test's queue; it ends with the test."""
    workers = []

    def start(*words):
        command = [sys.executable, "-m", "repro", "worker", "--gpus", "none", *words]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        workers.append(subprocess.Popen(command, env=settings_environment, **quiet))
        return workers[-1]

    yield start
    for one in workers:
        if one.poll() is None:
            one.terminate()
            one.wait(60)
