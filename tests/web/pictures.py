"""`make pictures`: the pages of the demo's queue as small PNG files, for README and `docs/ui.md`.

python -m tests.web.pictures docs/pictures
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from repro.scheduler.server import embedded
from tests.web.conftest import FLAGS, Site

CONFIGS = Path(__file__).parents[2] / "configs"
WIDTH, HEIGHT, COLOURS = 1280, 760, 48
PICTURES = {
    "home": "/",
    "runs": "/runs?name=model*&sort=-metrics.validation_accuracy",
    "curves": "/compare?names=model&names=modela&names=modelb&names=modelc&tab=curves",
    "lineage": "/runs/evaluate/lineage",
}
WAIT = 300_000  # ms


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as text:
        work = Path(text)
        shutil.copytree(CONFIGS, work / "configs")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REPRO_")}
        environment |= {"REPRO_HOME": f"{text}/home", "REPRO_DATA": f"{text}/demo"}
        try:
            fill(work, environment)
            picture(folder, work, environment)
        finally:
            embedded.stop(work / "home")


def fill(work: Path, environment: dict[str, str]) -> None:
    """The demo, variations of its model, one that fails, some that nobody can run."""

    def repro(*words: str, check: bool = True) -> None:
        subprocess.run([sys.executable, "-m", "repro", *words], cwd=work, env=environment, check=check)

    subprocess.run([sys.executable, "-m", "repro.tools.demo"], cwd=work, env=environment, check=True)
    repro("clone", "model", "--set", "lr=1e-3,1e-2,3e-2", "--set", "epochs=8", "--submit", "--tag", "rates")
    repro("submit", "configs/model.json", "--set", "lr=1e9", "--set", "epochs=1", "--name", "too-fast")
    repro("worker", "--burst", "--gpus", "none")
    repro("clone", "model", "--set", "gpus=4", "--set", "seed=1,2,3", "--submit")
    repro("submit", "configs/model.json", "--set", "epochs=2000", "--name", "long")
    repro("submit", "configs/evaluate.json", "--name", "long-evaluation", "--set", 'source=["long","data"]')


def picture(folder: Path, work: Path, environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "repro", "worker", "--gpus", "none"]
    with subprocess.Popen(words, cwd=work, env=environment, stderr=subprocess.DEVNULL) as worker:
        site = Site(environment | {"PWD": str(work)})
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
                tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
                tab.goto(site.root)
                tab.locator("#running progress").wait_for(timeout=WAIT)
                for name, path in PICTURES.items():
                    tab.goto(site.root + path)
                    if "tab=curves" in path:
                        tab.locator("[data-state=drawn]").wait_for(timeout=WAIT)
                    small = Image.open(io.BytesIO(tab.screenshot())).convert("RGB").quantize(COLOURS)
                    small.save(folder / f"{name}.png", optimize=True)
                    print(f"{name}.png: {(folder / f'{name}.png').stat().st_size / 1e3:.0f} kB")
                browser.close()
        finally:
            site.stop()
            worker.kill()


if __name__ == "__main__":
    main()
