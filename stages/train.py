"""stage train: a stream of images -> a model and its losses."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from stages import determinism, models, optim, plots
from stages.errors import StageError
from stages.params import Params
from stages.run import Metrics, Run
from stages.state import State
from stages.stream import Stream

PRECISIONS = ("fp32", "bf16")
EVERY = 10  # steps between two looks at the loss: a look makes the host wait for the card
EPOCHS = re.compile(r"([1-9][0-9]*) epochs?")


def train(run: Run) -> Metrics:
    """Train the network that the config names on the stream of its only source.

    Creates `model.safetensors`, `losses.csv` (epoch, train_loss, validation_loss, validation_accuracy; one
    row an epoch) and `losses.png`. Losses are cross-entropy in nats: the training loss is a mean over the
    epoch's steps, the validation loss one over its images and without label smoothing. Without validation
    images its columns stay empty. With `ema`, what is validated and saved is the average of the weights.

    Goes on from a checkpoint to the same bytes as if it had never been stopped.

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
    state = _state(params, stream)
    if found := run.resume():
        state.restore(found)
    epochs: int = params.get("epochs", 20)
    if params.get("warmup", 0) >= epochs * stream.batches:
        raise StageError(f'"warmup": expected fewer than the {epochs * stream.batches} steps, got: {params["warmup"]}')
    forward = _forward(params, state)
    for epoch in range(len(state.history), epochs):
        _epoch(run, stream, state, forward, epoch, epochs * stream.batches)
        state.history.append(_measure(stream, state))
        state.losses.clear()
    _save_losses(run, state.history)
    models.save(run, state.result, {"arch": arch, "params": options, "shape": data.shape, "classes": data.classes})
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


def _state(params: Params, stream: Stream) -> State:
    """As a training begins."""
    data = stream.dataset
    model = models.build(params.get("arch", "baseline"), data.shape, len(data.classes), params)
    model = model.to(determinism.device(params))
    if params.get("channels_last", False):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return State(model, optim.optimizer(params, model), optim.average(params, model))


def _forward(params: Params, state: State) -> Callable[[Tensor], Tensor]:
    """Images -> logits in float32, by the model in training and as the config wants it computed."""
    # One graph for each size of batch, so that none depends on which sizes came before.
    model = torch.compile(state.model, dynamic=False) if params.get("compile", False) else state.model
    half, last = params.get("precision", "fp32") == "bf16", params.get("channels_last", False)
    device = determinism.device(params)

    def forward(images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last) if last else images
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits: Tensor = model(images)
        return logits.float()

    return forward


def _epoch(run: Run, stream: Stream, state: State, forward: Callable[[Tensor], Tensor], epoch: int, steps: int) -> None:
    """The epoch's steps from where `state` stands."""
    state.model.train()
    every = _checkpoint_every(run.params, stream.batches)
    for index in range(state.step - epoch * stream.batches, stream.batches):
        images, labels = stream.batch(epoch, index)
        state.losses.append(_step(run.params, state, forward, images, labels, steps))
        if state.step % EVERY == 0 or index + 1 == stream.batches:
            run.progress(state.step, steps, loss=_look(state, epoch))
        if run.checkpoint_due(state.step, every):
            run.checkpoint(state.step, state.tensors(), state.facts())


def _step(
    params: Mapping[str, Any],
    state: State,
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    steps: int,
) -> Tensor:
    # Dropout's random numbers follow from the step alone, so that a resumed training draws the same ones.
    torch.manual_seed((params.get("seed", 0) * 1_000_003 + state.step) % 2**63)
    state.optimizer.zero_grad()
    loss = _backward(params, forward, images, labels)
    optim.update(params, state.model, state.optimizer, optim.rate(params, state.step, steps))
    if state.average is not None:
        optim.follow(params, state.average, state.model, state.step)
    state.step += 1
    return loss


def _backward(params: Mapping[str, Any], forward: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Leave the gradients of the batch's mean loss in the weights, computed in `accumulate` parts one after the
    other; returns the loss."""
    parts = zip(*(batch.tensor_split(params.get("accumulate", 1)) for batch in (images, labels)), strict=True)
    losses = []
    for some, their in ((some, their) for some, their in parts if len(their)):
        loss = cross_entropy(forward(some), their, label_smoothing=params.get("label_smoothing", 0.0))
        loss = loss * (len(their) / len(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return torch.stack(losses).sum()


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
        logits, labels = models.answers(state.result, stream, indices)
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


def _checkpoint_every(params: Mapping[str, Any], batches: int) -> int:
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


def _check(params: Mapping[str, Any]) -> None:
    """Every mistake that the config alone shows, before any work."""
    _one_of("optimizer", params.get("optimizer", "adam"), optim.OPTIMIZERS)
    _one_of("schedule", params.get("schedule", "cosine"), optim.SCHEDULES)
    _one_of("precision", params.get("precision", "fp32"), PRECISIONS)
    _checkpoint_every(params, 1)
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


if __name__ == "__main__":
    from stages import alone

    alone.main("train")
