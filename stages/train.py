"""stage train: a stream of images -> a model and its losses."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from repro.stages.errors import StageError
from repro.stages.images import models, plots
from repro.stages.images.stream import Stream
from repro.stages.params import Params
from repro.stages.run import Metrics, Run
from repro.stages.running import determinism, ranks
from repro.stages.training import optimizer, options
from repro.stages.training.state import State

RANKS = True
EVERY = 10  # steps between two looks at the loss: a look makes the host wait for the card


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
    options.check(params)
    stream = _stream(run)
    state = _state(params, stream)
    if found := run.resume():
        state.restore(found)
    epochs: int = params.get("epochs", 20)
    training = Training(run, stream, state, _forward(run, state), epochs * stream.batches)
    for epoch in range(len(state.history), epochs):
        training.epoch(epoch)
        if run.rank == 0:
            state.history.append(_measure(stream, state))
        state.losses.clear()
    if run.rank:
        return {}
    _save_losses(run, state.history)
    _save_model(run, stream, state)
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
    return State(model, optimizer.optimizer(params, model), optimizer.average(params, model))


def _forward(run: Run, state: State) -> Callable[[Tensor], Tensor]:
    """Images -> logits in float32, by the model in training and as the config wants it computed."""
    params = run.params
    model = _compiled(run, state.model) if params.get("compile", False) else state.model
    half, last = params.get("precision", "fp32") == "bf16", params.get("channels_last", False)
    device = determinism.device(params)

    def forward(images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last) if last else images
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits: Tensor = model(images)
        return logits.float()

    return forward


def _compiled(run: Run, model: nn.Module) -> Callable[[Tensor], Tensor]:
    """One graph for each size of batch, so that none depends on which sizes came before; what is compiled is this
    run's own, and in this process: a cache in /tmp belongs to nobody."""
    from torch._inductor import config

    if run.checkpoints is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(run.checkpoints.folder / ".compiled")
    config.compile_threads = 1
    if hasattr(config, "cpp_cache_precompile_headers"):  # they would lie in /tmp all the same
        config.cpp_cache_precompile_headers = False
    compiled: Callable[[Tensor], Tensor] = torch.compile(model, dynamic=False)
    return compiled


@dataclass
class Training:
    """The steps of a training. `forward`: images -> logits; `steps`: of all epochs."""

    run: Run
    stream: Stream
    state: State
    forward: Callable[[Tensor], Tensor]
    steps: int

    def __post_init__(self) -> None:
        warmup: int = self.run.params.get("warmup", 0)
        if warmup >= self.steps:
            raise StageError(f'"warmup": expected fewer than the {self.steps} steps of the training, got: {warmup}')

    def epoch(self, epoch: int) -> None:
        """The epoch's steps from where the state stands."""
        run, state, batches = self.run, self.state, self.stream.batches
        every = options.checkpoint_every(run.params, batches)
        state.model.train()
        index = state.step - epoch * batches
        for images, labels in self.stream.from_batch(epoch, index, partial(ranks.part, run)):
            state.losses.append(self._step(images, labels, self.stream.size(state.step - epoch * batches)))
            if state.step % EVERY == 0 or state.step == (epoch + 1) * batches:
                run.progress(state.step, self.steps, loss=self._look(epoch))
            if run.checkpoint_due(state.step, every):
                run.checkpoint(state.step, state.tensors(), state.facts())

    def _step(self, images: Tensor, labels: Tensor, whole: int) -> Tensor:
        """On this rank's part of a batch of `whole`; returns the loss of the batch."""
        run, state = self.run, self.state
        # Dropout's random numbers follow from the step alone, so that a resumed training draws the same ones;
        # those of the ranks differ.
        torch.manual_seed((run.params.get("seed", 0) * 1_000_003 + state.step + (run.rank << 48)) % 2**63)
        state.optimizer.zero_grad()
        loss = self._backward(images, labels, whole)
        optimizer.update(run.params, state.model, state.optimizer, optimizer.rate(run.params, state.step, self.steps))
        if state.average is not None:
            optimizer.follow(run.params, state.average, state.model, state.step)
        state.step += 1
        return loss

    def _backward(self, images: Tensor, labels: Tensor, whole: int) -> Tensor:
        """Leave the gradients of the batch's mean loss in the weights, computed in `accumulate` parts one after the
        other, each of which counts by its share of the batch; returns that loss."""
        params = self.run.params
        total = torch.zeros((), device=labels.device)
        parts = [tensor.tensor_split(params.get("accumulate", 1)) for tensor in (images, labels)]
        for some, their in zip(*parts, strict=True):
            if len(their):
                loss = cross_entropy(self.forward(some), their, label_smoothing=params.get("label_smoothing", 0.0))
                loss = loss * (len(their) / whole)
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
        return ranks.add_up(self.run, self.state.model, total)

    def _look(self, epoch: int) -> float:
        """The last loss, after a look at all since the last look."""
        losses: list[float] = torch.stack(self.state.losses[-EVERY:]).tolist()
        for step, loss in enumerate(losses, self.state.step - len(losses) + 1):
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


def _save_model(run: Run, stream: Stream, state: State) -> None:
    data, arch = stream.dataset, run.params.get("arch", "baseline")
    found = {"params": models.resolve(arch, run.params), "shape": data.shape, "classes": data.classes}
    models.save(run, state.result, {"arch": arch} | found)


def _save_losses(run: Run, history: list[dict[str, float]]) -> None:
    columns = ("train_loss", "validation_loss", "validation_accuracy")
    with run.open("losses.csv") as file:
        file.write(f"epoch,{','.join(columns)}\n")
        for epoch, row in enumerate(history, 1):
            file.write(f"{epoch},{','.join(repr(row[c]) if c in row else '' for c in columns)}\n")
    curves = {c: [row[c] for row in history] for c in columns[:2] if c in history[0]}
    plots.losses(run, "losses.png", curves)


if __name__ == "__main__":
    from repro.stages.running.arguments import main

    main("train")
