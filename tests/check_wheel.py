"""A built wheel installs into an empty environment, and its commands run there: `make wheel`.

The environment gets the wheel alone (`--no-deps`) and finds the dependencies where they are installed
already, so that nothing of the checkout can help it.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMANDS = (
    ["repro", "--version"],
    ["repro", "--help"],
    ["repro-submit", "--help"],
    ["repro-worker", "--help"],
    ["repro", "run", "--help"],
)


def main() -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        shutil.rmtree(ROOT / "build", ignore_errors=True)  # what an earlier build left would be packed again
        call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
        (wheel,) = folder.glob("*.whl")
        binaries = fresh_environment(folder / "venv", wheel)
        for program, *words in COMMANDS:
            call(binaries / program, *words, cwd=folder)
        whole_job(binaries, folder)
    print(f"{wheel.name}: installs and runs")


def fresh_environment(folder: Path, wheel: Path) -> Path:
    """An environment with this wheel; its dependencies come from this one's site-packages, by a .pth file."""
    venv.create(folder, with_pip=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    call(folder / "bin" / "pip", "install", "--quiet", "--no-deps", wheel)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def whole_job(binaries: Path, folder: Path) -> None:
    """A real config goes through the embedded MongoDB and a worker of the wheel."""
    from PIL import Image

    for name, shade in (("a", 10), ("b", 200)):
        (folder / "images" / name).mkdir(parents=True)
        Image.new("L", (8, 8), shade).save(folder / "images" / name / "1.png")
    (folder / "data.json").write_text(
        json.dumps({"stage": "make_dataset", "images": "images/**/*.png", "validation": 0.0})
    )
    try:
        call(binaries / "repro-submit", "data.json", cwd=folder)
        call(binaries / "repro-worker", "--burst", "--gpus", "none", cwd=folder)
        call(binaries / "repro", "wait", "data", cwd=folder)
    finally:
        call(binaries / "repro", "server", "stop", cwd=folder)


def call(*words: object, cwd: Path = ROOT) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("REPRO_", "PYTHON"))}
    subprocess.run([str(word) for word in words], cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
