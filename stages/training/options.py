"""The options of a training: each key of a config read once, with its default, and checked before any work."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repro.stages.errors import StageError

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")
PRECISIONS = ("fp32", "bf16")
EPOCHS = re.compile(r"([1-9][0-9]*) epochs?")


@dataclass(frozen=True)
class TrainOptions:
    """What a config says about a training; docs/training.md explains the keys.

    Attributes:
        momentum: of `sgd`, which alone has it.
        until: stop after so many of `epochs`, for which the rate is still meant: the beginning of the whole training,
            byte by byte.
        checkpoint_steps, checkpoint_epochs: how far two checkpoints are apart, in one of the two; both 0 for so seldom
            that they cost little, which is best left to the machine.
    """

    optimizer: str
    schedule: str
    precision: str
    checkpoint_steps: int
    checkpoint_epochs: int
    epochs: int
    until: int | None
    batch_size: int
    accumulate: int
    lr: float
    lr_factor: float
    lr_every: float
    warmup: int
    weight_decay: float
    clip: float
    ema: float
    label_smoothing: float
    momentum: float
    channels_last: bool
    compile: bool
    arch: str
    metadata: str
    seed: int

    @property
    def last_epoch(self) -> int:
        """After which the training stops."""
        return self.until or self.epochs

    def checkpoint_every(self, batches: int) -> int:
        """Steps between two checkpoints, where an epoch has so many; 0 leaves it to the machine."""
        return self.checkpoint_steps or self.checkpoint_epochs * batches


def read(params: Mapping[str, Any]) -> TrainOptions:
    """The options of a config.

    Raises:
        StageError: every mistake that the config alone shows.
    """
    optimizer = _one_of("optimizer", params.get("optimizer", "adam"), OPTIMIZERS)
    schedule = _one_of("schedule", params.get("schedule", "cosine"), SCHEDULES)
    precision = _one_of("precision", params.get("precision", "fp32"), PRECISIONS)
    checkpoint_steps, checkpoint_epochs = _interval(params.get("checkpoint_every"))
    options = TrainOptions(
        optimizer=optimizer,
        schedule=schedule,
        precision=precision,
        checkpoint_steps=checkpoint_steps,
        checkpoint_epochs=checkpoint_epochs,
        epochs=params.get("epochs", 20),
        until=_whole_or_none("until", params.get("until")),
        batch_size=params.get("batch_size", 32),
        accumulate=params.get("accumulate", 1),
        lr=params.get("lr", 3e-3),
        lr_factor=params.get("lr_factor", 0.1),
        lr_every=params.get("lr_every", 0.34),
        warmup=params.get("warmup", 0),
        weight_decay=params.get("weight_decay", 0.0),
        clip=params.get("clip", 0.0),
        ema=params.get("ema", 0.0),
        label_smoothing=params.get("label_smoothing", 0.0),
        # Read for sgd alone: a key that a training does not use is not recorded with its result.
        momentum=params.get("momentum", 0.9) if optimizer == "sgd" else 0.0,
        channels_last=params.get("channels_last", False),
        compile=params.get("compile", False),
        arch=params.get("arch", "baseline"),
        metadata=params.get("metadata", "metadata.json"),
        seed=params.get("seed", 0),
    )
    _check_bounds(options)
    return options


def _check_bounds(options: TrainOptions) -> None:
    bounds = {
        "epochs": (options.epochs >= 1, "1 or more"),
        "until": (options.until is None or 1 <= options.until <= options.epochs, f"from 1 to {options.epochs}"),
        "batch_size": (options.batch_size >= 1, "1 or more"),
        "accumulate": (options.accumulate >= 1, "1 or more"),
        "lr": (options.lr > 0, "more than 0"),
        "lr_factor": (options.lr_factor > 0, "more than 0"),
        "lr_every": (options.lr_every > 0, "more than 0"),
        "warmup": (options.warmup >= 0, "0 or more"),
        "weight_decay": (options.weight_decay >= 0, "0 or more"),
        "clip": (options.clip >= 0, "0 or more"),
        "ema": (0 <= options.ema < 1, "from 0 to below 1"),
        "label_smoothing": (0 <= options.label_smoothing < 1, "from 0 to below 1"),
    }
    for key, (good, expected) in bounds.items():
        if not good:
            raise StageError(f'"{key}": expected {expected}, got: {getattr(options, key)}')


def _interval(value: Any) -> tuple[int, int]:
    """(steps, epochs) between two checkpoints, one of them 0; both are where the config does not say."""
    match value:
        case None:
            return 0, 0
        case bool():
            pass
        case int() if value >= 1:
            return value, 0
        case str() if written := EPOCHS.fullmatch(value):
            return 0, int(written[1])
    raise StageError(f'"checkpoint_every": expected a number of steps, or "2 epochs", got: {value!r}')


def _whole_or_none(key: str, value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise StageError(f'"{key}": expected a whole number, got: {value!r}')
    return value


def _one_of(key: str, value: str, possible: tuple[str, ...]) -> str:
    if value not in possible:
        raise StageError(f'"{key}": unknown "{value}"; there are: {", ".join(possible)}')
    return value
