"""Checkpoints on disk: each a folder named after its step.

It holds the tensors (safetensors) and the rest (JSON). The JSON comes last, whole and durable or not at all, and marks
a whole checkpoint: whatever dies at whatever moment, one without it counts for nothing.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.stages import files

if TYPE_CHECKING:
    from torch import Tensor

STATE, FACTS = "state.safetensors", "state.json"
KEEP = 2  # on this machine's disk; more would help only against a broken disk


@dataclass(frozen=True)
class Checkpoint:
    """`step`: how many steps were done. The tensors lie on the CPU."""

    step: int
    tensors: "dict[str, Tensor]"
    facts: dict[str, Any]


def maker(folder: Path, step: int) -> dict[str, Any]:
    """What the checkpoint of a step was made by: config, code, versions, hardware."""
    return dict(json.loads((folder / name_of(step) / FACTS).read_bytes())["made_by"])


def read(folder: Path, step: int) -> Checkpoint:
    from safetensors.torch import load_file

    place = folder / name_of(step)
    facts = json.loads((place / FACTS).read_bytes())["facts"]
    return Checkpoint(step, load_file(place / STATE), facts)


def curve(folder: Path, step: int) -> dict[str, Any]:
    """The state of the curve then; empty in a checkpoint of before there was one."""
    return dict(json.loads((folder / name_of(step) / FACTS).read_bytes()).get("curve", {}))


def write(folder: Path, step: int, tensors: "dict[str, Tensor]", content: Mapping[str, Any]) -> bool:
    """Write a checkpoint, its mark last, and drop the oldest; False if that step has one already.

    `content`: `made_by`, `facts` and `curve`.
    """
    from safetensors.torch import save_file

    place = folder / name_of(step)
    if (place / FACTS).exists():
        return False
    shutil.rmtree(place, ignore_errors=True)  # half of one, by an attempt that died here
    place.mkdir(parents=True)
    save_file(tensors, place / STATE)
    files.sync(place / STATE)
    files.create(place / FACTS, json.dumps(content).encode())
    files.sync(folder)
    oldest = name_of(steps_in(folder)[:KEEP][-1])
    for old in [old for old in folder.glob("[0-9]*") if old.name < oldest]:
        (old / FACTS).unlink(missing_ok=True)
        shutil.rmtree(old)
    return True


def name_of(step: int) -> str:
    return f"{step:012}"


def steps_in(folder: Path) -> list[int]:
    """The steps of the whole checkpoints in a folder, the newest first."""
    return sorted((int(mark.parent.name) for mark in folder.glob(f"[0-9]*/{FACTS}")), reverse=True)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of what made a checkpoint is not so any more."""
    changed = [key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key)]
    return [f"the {key} has changed" if key in ("code", "config") else _change(key, then, now) for key in changed]


def _change(key: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return f"{key} was {then.get(key)} and is {now.get(key)}"
