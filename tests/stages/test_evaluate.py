"""stage evaluate: figures against scikit-learn's, sources in any order, what does not fit is refused."""

import csv
import json

import numpy as np
import pytest

from repro.stages import evaluate
from repro.stages.errors import StageError
from repro.stages.own_files import MANIFEST
from tests.stages.patterns import CLASSES, dataset, write_patterns
from tests.stages.pictures import files_of, run_stage


def judge(work, name, **config):
    return run_stage(work, name, stage="evaluate", **{"source": ["model", "data"]} | config)


def metrics(folder):
    return json.loads((folder / MANIFEST).read_text())["metrics"]


def test_agrees_with_the_last_epoch_of_the_training(work):
    found, trained = metrics(judge(work, "evaluate")), metrics(work / "runs" / "model")
    assert found["accuracy"] == trained["validation_accuracy"]
    assert found["loss"] == trained["validation_loss"]


def test_sources_in_any_order_give_the_same_bytes(work):
    other = judge(work, "turned", source=["data", "model"])
    assert files_of(other) == files_of(judge(work, "straight"))


def test_tables_count_every_image_once(work):
    folder = judge(work, "all", split="all")
    confusion = list(csv.reader((folder / "confusion.csv").read_text().splitlines()))
    classes = list(csv.DictReader((folder / "classes.csv").read_text().splitlines()))
    assert confusion[0] == ["class", *CLASSES]
    assert sum(int(count) for row in confusion[1:] for count in row[1:]) == 96 == metrics(folder)["count"]
    assert [(row["class"], row["count"]) for row in classes] == [(name, "32") for name in CLASSES]
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_ratios_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, answers = np.random.default_rng(0).integers(0, [[4], [5]], (2, 200))
    counts = evaluate.count(labels, answers, 6)  # class 4 is never there, class 5 neither there nor answered
    assert np.array_equal(counts, sklearn.confusion_matrix(labels, answers, labels=range(6)))
    expected = sklearn.precision_recall_fscore_support(labels, answers, labels=range(6), zero_division=0)
    np.testing.assert_allclose(evaluate.ratios(counts), expected[:3])


def test_an_unknown_split_lists_the_known_ones(work):
    with pytest.raises(StageError, match='unknown "test"; there are: validation, train, all'):
        judge(work, "unknown", split="test")


def test_an_empty_split_is_refused(work):
    dataset(work, "whole", validation=0.0)
    with pytest.raises(StageError, match='"whole" has no images in split "validation"'):
        judge(work, "empty", source=["model", "whole"])


def test_other_classes_are_refused_by_name(work):
    write_patterns(work / "less", classes=("across", "dotted"))
    dataset(work, "less", images="less/**/*.png")
    with pytest.raises(StageError, match="other classes than the model, more: dotted; missing: dots, down"):
        judge(work, "other", source=["model", "less"])


def test_another_shape_is_refused_with_both(work):
    dataset(work, "wide", height=8, width=12)
    with pytest.raises(StageError, match=r"differ in shape .*: 8 x 12 x 1 and 8 x 8 x 1"):
        judge(work, "shape", source=["model", "wide"])


@pytest.mark.parametrize("source", ["model", "data", ["data", "wider"]])
def test_sources_that_are_not_a_model_and_a_dataset_are_refused(work, source):
    if "wider" in source:
        dataset(work, "wider", height=8, width=12)
    with pytest.raises(StageError, match="takes one model and one dataset"):
        judge(work, f"sources{len(source)}{source[0]}", source=source)
