"""Images on disk and stages run on them, for the tests of the first two stages."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from repro.stages.own_files import OWN_FILES
from repro.stages.running.standalone import Options, run_alone
from repro.stages.running.warming import warm_up_fully


def png(seed: int, height: int = 6, width: int = 6, mode: str = "L") -> bytes:
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, names: list[str], height: int = 6, width: int = 6, mode: str = "L") -> None:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed, height, width, mode))


def two_classes(count: int) -> list[str]:
    return [f"images/{'ab'[i % 2]}/{i:03}.png" for i in range(count)]


def run_stage(work: Path, name: str, **config: Any) -> Path:
    """Run one config without a queue, in `work`/runs; its folder."""
    warm_up_fully()
    path = work / f"{name}.json"
    path.write_text(json.dumps(config))
    return run_alone(path, Options(root=work / "runs"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in OWN_FILES}


def metadata_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metadata.json").read_text())
    return found
