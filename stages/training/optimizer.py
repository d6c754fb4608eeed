"""What a training's steps do to the weights: optimiser, learning rate, clipping, a running average."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")


def optimizer(params: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    weights, decay = model.parameters(), params.get("weight_decay", 0.0)
    lr = params.get("lr", 3e-3)
    match params.get("optimizer", "adam"):
        case "sgd":
            return torch.optim.SGD(weights, lr, params.get("momentum", 0.9), weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(weights, lr, weight_decay=decay)
        case _:
            return torch.optim.Adam(weights, lr, weight_decay=decay)


def rate(params: Mapping[str, Any], step: int, steps: int) -> float:
    """The learning rate at a step of `steps`.

    Returns:
        While `warmup` steps last, evenly up to `lr` (Goyal et al. 2017); over the steps after them,
        "constant": `lr`; "cosine": from `lr` down to 0 (Loshchilov and Hutter 2017, one period, no restart);
        "step": `lr` times `lr_factor` again after every `lr_every`, a fraction of those steps.
    """
    lr: float = params.get("lr", 3e-3)
    warmup: int = params.get("warmup", 0)
    if step < warmup:
        return lr * (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    match params.get("schedule", "cosine"):
        case "cosine":
            return lr * 0.5 * (1 + math.cos(math.pi * done))
        case "step":
            factor: float = params.get("lr_factor", 0.1) ** int(done / params.get("lr_every", 0.34))
            return lr * factor
        case _:
            return lr


def update(params: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, lr: float) -> None:
    """One step down the gradients, whose norm, over all of them, is held to `clip` if that is not 0."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    if clip := params.get("clip", 0.0):
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def average(params: Mapping[str, Any], model: nn.Module) -> nn.Module | None:
    """A copy of the model for the running average of its weights; None if `ema` is 0."""
    return copy.deepcopy(model).requires_grad_(False) if params.get("ema", 0.0) else None


@torch.no_grad()
def follow(params: Mapping[str, Any], average: nn.Module, model: nn.Module, step: int) -> None:
    """Let the average keep `ema` of itself after a step (Polyak and Juditsky 1992); less at first, so that the
    weights of the beginning are soon forgotten: (1 + step) / (10 + step)."""
    keep = min(params.get("ema", 0.0), (1 + step) / (10 + step))
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, 1 - keep)
    for kept, value in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(value)
