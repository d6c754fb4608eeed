"""What a training's steps do to the weights: optimiser, learning rate, clipping, a running average."""

import copy
import math

import torch
from torch import nn

from repro.stages.training.options import TrainOptions


def create(options: TrainOptions, model: nn.Module) -> torch.optim.Optimizer:
    weights, lr, decay = model.parameters(), options.lr, options.weight_decay
    match options.optimizer:
        case "sgd":
            return torch.optim.SGD(weights, lr, options.momentum, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(weights, lr, weight_decay=decay)
        case _:
            return torch.optim.Adam(weights, lr, weight_decay=decay)


def rate(options: TrainOptions, step: int, steps: int) -> float:
    """The learning rate at a step of `steps`.

    Returns:
        While `warmup` steps last, evenly up to `lr` (Goyal et al. 2017); over the steps after them,
        "constant": `lr`; "cosine": from `lr` down to 0 (Loshchilov and Hutter 2017, one period, no restart);
        "step": `lr` times `lr_factor` again after every `lr_every`, a fraction of those steps.
    """
    lr, warmup = options.lr, options.warmup
    if step < warmup:
        return lr * (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    match options.schedule:
        case "cosine":
            return lr * 0.5 * (1 + math.cos(math.pi * done))
        case "step":
            factor: float = options.lr_factor ** int(done / options.lr_every)
            return lr * factor
        case _:
            return lr


def update(options: TrainOptions, model: nn.Module, optimizer: torch.optim.Optimizer, lr: float) -> None:
    """One step down the gradients, whose norm, over all of them, is held to `clip` if that is not 0."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    if options.clip:
        nn.utils.clip_grad_norm_(model.parameters(), options.clip)
    optimizer.step()


def average(options: TrainOptions, model: nn.Module) -> nn.Module | None:
    """A copy of the model for the running average of its weights; None if `ema` is 0."""
    return copy.deepcopy(model).requires_grad_(False) if options.ema else None


@torch.no_grad()
def follow(options: TrainOptions, average: nn.Module, model: nn.Module, step: int) -> None:
    """Let the average keep `ema` of itself after a step (Polyak and Juditsky 1992); less at first, so that the
    weights of the beginning are soon forgotten: (1 + step) / (10 + step)."""
    keep = min(options.ema, (1 + step) / (10 + step))
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, 1 - keep)
    for kept, value in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(value)
