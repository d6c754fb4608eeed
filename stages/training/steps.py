"""The steps of a training: forward, backward, update; a checkpoint now and then, a look at the loss."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from repro.stages.errors import StageError
from repro.stages.images.stream import Stream
from repro.stages.run import Run
from repro.stages.running import ranks
from repro.stages.training import optimizer
from repro.stages.training.forward import Forward
from repro.stages.training.options import TrainOptions
from repro.stages.training.state import State

EVERY = 10  # steps between two looks at the loss: a look makes the host wait for the card


@dataclass
class Training:
    """The steps of a training. `forward`: images -> logits; `steps`: of all epochs."""

    run: Run
    options: TrainOptions
    stream: Stream
    state: State
    forward: Forward
    steps: int

    def __post_init__(self) -> None:
        warmup = self.options.warmup
        if warmup >= self.steps:
            raise StageError(f'"warmup": expected fewer than the {self.steps} steps of the training, got: {warmup}')

    def epoch(self, epoch: int) -> None:
        """The epoch's steps from where the state stands."""
        run, state, batches = self.run, self.state, self.stream.batches
        every = self.options.checkpoint_every(batches)
        state.model.train()
        index = state.step - epoch * batches
        for images, labels in self.stream.from_batch(epoch, index, partial(ranks.part, run)):
            state.losses.append(self._step(images, labels, self.stream.size(state.step - epoch * batches)))
            if state.step % EVERY == 0 or state.step == (epoch + 1) * batches:
                run.progress(state.step, self.options.last_epoch * batches, loss=self._look(epoch))
            if run.checkpoint_due(state.step, every):
                run.checkpoint(state.step, state.tensors(), state.facts())

    def _step(self, images: Tensor, labels: Tensor, whole: int) -> Tensor:
        """On this rank's part of a batch of `whole`; returns the loss of the batch."""
        run, options, state = self.run, self.options, self.state
        # Dropout's random numbers follow from the step alone, so that a resumed training draws the same ones;
        # those of the ranks differ.
        torch.manual_seed((options.seed * 1_000_003 + state.step + (run.rank << 48)) % 2**63)
        state.optimizer.zero_grad()
        loss = self._backward(images, labels, whole)
        optimizer.update(options, state.model, state.optimizer, optimizer.rate(options, state.step, self.steps))
        if state.average is not None:
            optimizer.follow(options, state.average, state.model, state.step)
        state.step += 1
        return loss

    def _backward(self, images: Tensor, labels: Tensor, whole: int) -> Tensor:
        """Leave the gradients of the batch's mean loss in the weights, computed in `accumulate` parts one after the
        other, each of which counts by its share of the batch; returns that loss."""
        total = torch.zeros((), device=labels.device)
        parts = [tensor.tensor_split(self.options.accumulate) for tensor in (images, labels)]
        for part, answers in zip(*parts, strict=True):
            if len(answers):
                loss = cross_entropy(self.forward(part), answers, label_smoothing=self.options.label_smoothing)
                loss = loss * (len(answers) / whole)
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
