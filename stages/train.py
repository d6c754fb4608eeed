"""stage train: a stream of images -> a model and its losses."""

import torch
from torch.nn.functional import cross_entropy

from repro.stages.errors import StageError
from repro.stages.images import inference, model_file, networks, plots
from repro.stages.images.stream import Stream
from repro.stages.run import Metrics, Run
from repro.stages.running import determinism
from repro.stages.training import optimizer
from repro.stages.training.forward import forward_of
from repro.stages.training.options import TrainOptions, read
from repro.stages.training.state import State
from repro.stages.training.steps import Training

RANKS = True
PREFIX = "until"


def train(run: Run) -> Metrics:
    """Train the network that the config names on the stream of its only source.

    Creates `model.safetensors`, `losses.csv` (epoch, train_loss, validation_loss, validation_accuracy; one
    row an epoch) and `losses.png`. Losses are cross-entropy in nats: the training loss is a mean over the
    epoch's steps, the validation loss one over its images and without label smoothing. Without validation
    images its columns stay empty. With `ema`, what is validated and saved is the average of the weights.

    Goes on from a checkpoint to the same bytes as if it had never been stopped. With `until` it ends after so many of
    its epochs, as the beginning of the whole training, and leaves a checkpoint from which that can go on.

    Returns:
        The last epoch's row, and `epochs`.

    Raises:
        StageError: an unknown option or one out of range; no images to train on; a loss that is not finite.
    """
    options = read(run.params)
    stream = _stream(run, options)
    state = _state(run, options, stream)
    if checkpoint := run.resume():
        state.restore(checkpoint)
    forward = forward_of(run, options, state.model)
    training = Training(run, options, stream, state, forward, options.epochs * stream.batches)
    for epoch in range(len(state.history), options.last_epoch):
        training.epoch(epoch)
        if run.rank == 0:
            state.history.append(_measure(stream, state))
        state.losses.clear()
    if options.until:
        run.checkpoint(state.step, state.tensors(), state.facts(), last=True)
    if run.rank:
        return {}
    _save_losses(run, state.history)
    _save_model(run, options, stream, state)
    return {**state.history[-1], "epochs": options.last_epoch}


def _stream(run: Run, options: TrainOptions) -> Stream:
    device = determinism.device(run.params)
    stream = Stream(run.source, options.batch_size, device, options.seed, options.metadata)
    if not stream.batches:
        raise StageError(f'source "{next(iter(run.inputs))}" holds no images to train on')
    return stream


def _state(run: Run, options: TrainOptions, stream: Stream) -> State:
    """As a training begins."""
    data = stream.dataset
    model = networks.build(options.arch, data.shape, len(data.classes), run.params)
    model = model.to(determinism.device(run.params))
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return State(model, optimizer.create(options, model), optimizer.average(options, model))


def _measure(stream: Stream, state: State) -> dict[str, float]:
    """The row of an epoch that is over."""
    row = {"train_loss": float(torch.stack(state.losses).double().mean())}
    indices = stream.dataset.indices("validation")
    if len(indices):
        logits, labels = inference.answers(state.result, stream, indices)
        row["validation_loss"] = float(cross_entropy(logits, labels))
        row["validation_accuracy"] = float((logits.argmax(1) == labels).double().mean())
    return row


def _save_model(run: Run, options: TrainOptions, stream: Stream, state: State) -> None:
    data, network = stream.dataset, networks.resolve(options.arch, run.params)
    description = {"arch": options.arch, "params": network, "shape": data.shape, "classes": data.classes}
    model_file.save(run, state.result, description)


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
