"""The options of a training: every mistake that the config alone shows, found before any work."""

import re
from collections.abc import Mapping
from typing import Any

from repro.stages.errors import StageError
from repro.stages.training import optimizer

PRECISIONS = ("fp32", "bf16")
EPOCHS = re.compile(r"([1-9][0-9]*) epochs?")


def checkpoint_every(params: Mapping[str, Any], batches: int) -> int:
    """Steps between two checkpoints; 0 for so seldom that they cost little, which is best left to the machine."""
    match params.get("checkpoint_every"):
        case None:
            return 0
        case bool() as value:
            pass
        case int(value) if value >= 1:
            return value
        case str(value) if found := EPOCHS.fullmatch(value):
            return int(found[1]) * batches
        case value:
            pass
    raise StageError(f'"checkpoint_every": expected a number of steps, or "2 epochs", got: {value!r}')


def check(params: Mapping[str, Any]) -> None:
    """Every mistake that the config alone shows, before any work."""
    _one_of("optimizer", params.get("optimizer", "adam"), optimizer.OPTIMIZERS)
    _one_of("schedule", params.get("schedule", "cosine"), optimizer.SCHEDULES)
    _one_of("precision", params.get("precision", "fp32"), PRECISIONS)
    checkpoint_every(params, 1)
    bounds = {
        "epochs": (params.get("epochs", 20) >= 1, "1 or more"),
        "batch_size": (params.get("batch_size", 32) >= 1, "1 or more"),
        "accumulate": (params.get("accumulate", 1) >= 1, "1 or more"),
        "lr": (params.get("lr", 3e-3) > 0, "more than 0"),
        "lr_factor": (params.get("lr_factor", 0.1) > 0, "more than 0"),
        "lr_every": (params.get("lr_every", 0.34) > 0, "more than 0"),
        "warmup": (params.get("warmup", 0) >= 0, "0 or more"),
        "weight_decay": (params.get("weight_decay", 0.0) >= 0, "0 or more"),
        "clip": (params.get("clip", 0.0) >= 0, "0 or more"),
        "ema": (0 <= params.get("ema", 0.0) < 1, "from 0 to below 1"),
        "label_smoothing": (0 <= params.get("label_smoothing", 0.0) < 1, "from 0 to below 1"),
    }
    for key, (good, expected) in bounds.items():
        if not good:
            raise StageError(f'"{key}": expected {expected}, got: {params[key]}')


def _one_of(key: str, value: str, possible: tuple[str, ...]) -> None:
    if value not in possible:
        raise StageError(f'"{key}": unknown "{value}"; there are: {", ".join(possible)}')
