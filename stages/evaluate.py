"""stage evaluate: a model and a dataset -> how good the one is on the other."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn.functional import cross_entropy

from repro.stages.errors import StageError
from repro.stages.images import inference, model_file, plots
from repro.stages.images.dataset import Dataset
from repro.stages.images.stream import Stream
from repro.stages.run import Metrics, Run
from repro.stages.running import determinism

SPLITS = ("validation", "train", "all")


def evaluate(run: Run) -> Metrics:
    """Compare a model's answers on a split of a dataset with its labels.

    The two sources may stand in any order: the one with a `model.safetensors` is the model. Creates
    `confusion.csv` (a row a true class, a column a predicted one, counts), `confusion.png` and `classes.csv`
    (class, count, precision, recall, f1; a ratio with nothing below its line is 0).

    Returns:
        accuracy, loss (cross-entropy in nats, a mean over images) and count of images.

    Raises:
        StageError: not one model and one dataset, or they don't fit together; an empty or unknown split.
    """
    params = run.params
    of_model, of_data = _sources(run)
    model, description = model_file.load(of_model)
    device = determinism.device(params)
    stream = Stream(of_data, inference.PORTION, device, 0, params.get("metadata", "metadata.json"))
    _check_fit(description, stream.dataset, of_data.name)
    indices = _indices(stream.dataset, params.get("split", "validation"), of_data.name)
    logits, labels = inference.answers(model.to(device), stream, indices)
    counts = count(labels.numpy(), logits.argmax(1).numpy(), len(stream.dataset.classes))
    _save(run, counts, stream.dataset.classes)
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "loss": float(cross_entropy(logits, labels)),
        "count": len(indices),
    }


def count(labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """The confusion matrix: int64, true class x predicted class."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return counts


def ratios(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class of a confusion matrix; 0 where there is nothing to divide by."""
    right, answered, existing = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    return (
        right / np.maximum(answered, 1),
        right / np.maximum(existing, 1),
        2 * right / np.maximum(answered + existing, 1),
    )


def _sources(run: Run) -> tuple[Path, Path]:
    """The folders of the model and of the dataset, told apart by their files."""
    models = [name for name, folder in run.inputs.items() if (folder / model_file.MODEL).is_file()]
    datasets = [name for name in run.inputs if name not in models]
    if len(models) != 1 or len(datasets) != 1:
        raise StageError(
            '"source": this stage takes one model and one dataset, e.g. ["model", "data"]; '
            f"got models: {', '.join(models) or 'none'}; others: {', '.join(datasets) or 'none'}"
        )
    return run.inputs[models[0]], run.inputs[datasets[0]]


def _check_fit(description: dict[str, Any], dataset: Dataset, where: str) -> None:
    wanted, existing = description["classes"], dataset.classes
    if wanted != existing:
        extra, missing = sorted(set(existing) - set(wanted)), sorted(set(wanted) - set(existing))
        how = f"more: {', '.join(extra) or 'none'}; missing: {', '.join(missing) or 'none'}"
        raise StageError(
            f'dataset "{where}" has other classes than the model, ' + (how if extra or missing else "in another order")
        )
    if tuple(description["shape"]) != tuple(dataset.shape):
        shapes = " and ".join(" x ".join(map(str, s)) for s in (dataset.shape, description["shape"]))
        raise StageError(f'dataset "{where}" and the model differ in shape (height x width x channels): {shapes}')


def _indices(dataset: Dataset, split: str, where: str) -> np.ndarray:
    if split not in SPLITS:
        raise StageError(f'"split": unknown "{split}"; there are: {", ".join(SPLITS)}')
    indices = dataset.indices(split)
    if not len(indices):
        raise StageError(f'dataset "{where}" has no images in split "{split}"; take another "split"')
    return indices


def _save(run: Run, counts: np.ndarray, classes: list[str]) -> None:
    with run.open("confusion.csv") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["class", *classes])
        table.writerows([name, *row] for name, row in zip(classes, counts.tolist(), strict=True))
    columns = [values.tolist() for values in (counts.sum(axis=1), *ratios(counts))]
    with run.open("classes.csv") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["class", "count", "precision", "recall", "f1"])
        table.writerows(zip(classes, *columns, strict=True))
    plots.confusion(run, "confusion.png", counts, classes)


if __name__ == "__main__":
    from repro.stages.running.arguments import main

    main("evaluate")
