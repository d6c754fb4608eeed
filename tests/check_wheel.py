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
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.repro.test_foreign_folders import crowd  # noqa: E402

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
        one_package(wheel, binaries, folder)
        whole_job(binaries, folder)
        crowded_folder(binaries, folder / "crowded")
    print(f"{wheel.name}: installs and runs")


def fresh_environment(folder: Path, wheel: Path) -> Path:
    """An environment with this wheel; its dependencies come from this one's site-packages, by a .pth file."""
    venv.create(folder, with_pip=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    call(folder / "bin" / "pip", "install", "--quiet", "--no-deps", wheel)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def one_package(wheel: Path, binaries: Path, folder: Path) -> None:
    """`repro` and nothing else."""
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith((".dist-info", ".data"))} == {"repro"}, names
    for name in ("stages", "scheduler", "worker", "tests"):
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"
        call(binaries / "python", "-c", code, cwd=folder)


def crowded_folder(binaries: Path, folder: Path) -> None:
    """A folder whose files have our names, and names of the standard library, with and without PYTHONPATH."""
    crowd(folder, "my")
    for name, path in (("a", {}), ("b", {"PYTHONPATH": "."})):
        (folder / f"{name}.json").write_text(json.dumps({"stage": "mine:write", "seed": ord(name)}))
        try:
            call(binaries / "repro-submit", f"{name}.json", cwd=folder, **path)
            call(binaries / "repro-worker", "--burst", "--gpus", "none", cwd=folder, **path)
            call(binaries / "repro", "wait", name, cwd=folder, **path)
            call(binaries / "repro", "run", f"{name}.json", cwd=folder, **path)
            call(binaries / "repro", "verify", name, "--no-wait", cwd=folder, **path)
            call(binaries / "repro-worker", "--burst", "--gpus", "none", cwd=folder, **path)
            call(binaries / "repro", "verify", "--collect", cwd=folder, **path)
        finally:
            call(binaries / "repro", "server", "stop", cwd=folder, **path)


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


def call(*words: object, cwd: Path = ROOT, **variables: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("REPRO_", "PYTHON"))}
    environment |= variables
    subprocess.run([str(word) for word in words], cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
