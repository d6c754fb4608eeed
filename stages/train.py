"""stage train: a stream of images -> a model and its losses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages import determinism, models, plots
from stages.errors import StageError
from stages.run import Metrics, Run
from stages.stream import Stream

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")
EVERY = 10  # steps between two looks at the loss: a look makes the host wait for the card


@dataclass
class State:
    """All that a training is between two steps; the rate and the random numbers follow from `step`.

    Attributes:
        step: steps done since the beginning.
        history: one row (train loss, validation loss, validation accuracy) for every epoch done.
        losses: of this epoch's steps so far, left on the device.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)


def train(run: Run) -> Metrics:
    """Train the network that the config names on the stream of its only source.

    Creates `model.safetensors`, `losses.csv` (epoch, train_loss, validation_loss, validation_accuracy; one
    row an epoch) and `losses.png`. Losses are cross-entropy in nats: the training loss is a mean over the
    epoch's steps, the validation loss one over its images and without label smoothing. Without validation
    images its columns stay empty.

    Returns:
        The last epoch's row, and `epochs`.

    Raises:
        StageError: an unknown option or one out of range; no images to train on; a loss that is not finite.
    """
    params = run.params
    _check(params)
    stream = _stream(run)
    data, arch = stream.dataset, params.get("arch", "baseline")
    options = models.resolve(arch, params)
    model = models.build(arch, data.shape, len(data.classes), params).to(determinism.device(params))
    state = State(model, _optimizer(params, model))
    epochs: int = params.get("epochs", 20)
    for epoch in range(epochs):
        _epoch(run, stream, state, epoch, epochs * stream.batches)
        state.history.append(_measure(stream, state))
        state.losses.clear()
    _save_losses(run, state.history)
    models.save(run, model, {"arch": arch, "params": options, "shape": data.shape, "classes": data.classes})
    return {**state.history[-1], "epochs": epochs}


def _stream(run: Run) -> Stream:
    params = run.params
    stream = Stream(
        run.source,
        params.get("batch_size", 32),
        determinism.device(params),
        params.get("seed", 0),
        params.get("metadata", "metadata.json"),
    )
    if not stream.batches:
        raise StageError(f'source "{next(iter(run.inputs))}" holds no images to train on')
    return stream


def _epoch(run: Run, stream: Stream, state: State, epoch: int, steps: int) -> None:
    """The epoch's steps from where `state` stands."""
    state.model.train()
    for index in range(state.step - epoch * stream.batches, stream.batches):
        images, labels = stream.batch(epoch, index)
        state.losses.append(_step(run.params, state, images, labels, steps))
        if state.step % EVERY == 0 or index + 1 == stream.batches:
            run.progress(state.step, steps, loss=_look(state, epoch))


def _step(params: Mapping[str, Any], state: State, images: Tensor, labels: Tensor, steps: int) -> Tensor:
    # Dropout's random numbers follow from the step alone, so that a resumed training draws the same ones.
    torch.manual_seed((params.get("seed", 0) * 1_000_003 + state.step) % 2**63)
    for group in state.optimizer.param_groups:
        group["lr"] = rate(params, state.step, steps)
    loss = cross_entropy(state.model(images), labels, label_smoothing=params.get("label_smoothing", 0.0))
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.step += 1
    return loss.detach()


def rate(params: Mapping[str, Any], step: int, steps: int) -> float:
    """The learning rate at a step of `steps`.

    Returns:
        "constant": `lr`; "cosine": from `lr` down to 0 (Loshchilov and Hutter 2017, one period, no restart);
        "step": `lr` times `lr_factor` again after every `lr_every`, a fraction of the training.
    """
    lr: float = params.get("lr", 3e-3)
    done = step / steps
    match params.get("schedule", "cosine"):
        case "cosine":
            return lr * 0.5 * (1 + math.cos(math.pi * done))
        case "step":
            factor: float = params.get("lr_factor", 0.1) ** int(done / params.get("lr_every", 0.34))
            return lr * factor
        case _:
            return lr


def _look(state: State, epoch: int) -> float:
    """The last loss, after a look at all since the last look."""
    losses: list[float] = torch.stack(state.losses[-EVERY:]).tolist()
    for step, loss in enumerate(losses, state.step - len(losses) + 1):
        if not math.isfinite(loss):
            raise StageError(f'the loss is {loss} in epoch {epoch + 1}, step {step}; try a smaller "lr"')
    return losses[-1]


def _measure(stream: Stream, state: State) -> dict[str, float]:
    """The row of an epoch that is over."""
    row = {"train_loss": float(torch.stack(state.losses).double().mean())}
    indices = stream.dataset.indices("validation")
    if len(indices):
        logits, labels = models.answers(state.model, stream, indices)
        row["validation_loss"] = float(cross_entropy(logits, labels))
        row["validation_accuracy"] = float((logits.argmax(1) == labels).double().mean())
    return row


def _save_losses(run: Run, history: list[dict[str, float]]) -> None:
    columns = ("train_loss", "validation_loss", "validation_accuracy")
    with run.open("losses.csv") as file:
        file.write(f"epoch,{','.join(columns)}\n")
        for epoch, row in enumerate(history, 1):
            file.write(f"{epoch},{','.join(repr(row[c]) if c in row else '' for c in columns)}\n")
    curves = {c: [row[c] for row in history] for c in columns[:2] if c in history[0]}
    plots.losses(run, "losses.png", curves)


def _optimizer(params: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    weights, decay = model.parameters(), params.get("weight_decay", 0.0)
    lr = params.get("lr", 3e-3)
    match params.get("optimizer", "adam"):
        case "sgd":
            return torch.optim.SGD(weights, lr, params.get("momentum", 0.9), weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(weights, lr, weight_decay=decay)
        case _:
            return torch.optim.Adam(weights, lr, weight_decay=decay)


def _check(params: Mapping[str, Any]) -> None:
    """Every mistake that the config alone shows, before any work."""
    _one_of("optimizer", params.get("optimizer", "adam"), OPTIMIZERS)
    _one_of("schedule", params.get("schedule", "cosine"), SCHEDULES)
    bounds = {
        "epochs": (params.get("epochs", 20) >= 1, "1 or more"),
        "batch_size": (params.get("batch_size", 32) >= 1, "1 or more"),
        "lr": (params.get("lr", 3e-3) > 0, "more than 0"),
        "lr_factor": (params.get("lr_factor", 0.1) > 0, "more than 0"),
        "lr_every": (params.get("lr_every", 0.34) > 0, "more than 0"),
        "weight_decay": (params.get("weight_decay", 0.0) >= 0, "0 or more"),
        "label_smoothing": (0 <= params.get("label_smoothing", 0.0) < 1, "from 0 to below 1"),
    }
    for key, (good, expected) in bounds.items():
        if not good:
            raise StageError(f'"{key}": expected {expected}, got: {params[key]}')


def _one_of(key: str, value: str, possible: tuple[str, ...]) -> None:
    if value not in possible:
        raise StageError(f'"{key}": unknown "{value}"; there are: {", ".join(possible)}')


if __name__ == "__main__":
    from stages import alone

    alone.main("train")
