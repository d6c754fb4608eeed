"""Distances of mixed values, the tree that follows, and its three spellings."""

import re

import numpy as np
import pytest
from hypothesis import given

from repro.scheduler.configs import dendrogram
from repro.scheduler.configs.comparison import Subject
from repro.stages.errors import ReproError
from tests.scheduler.test_comparison import SUBJECTS


def subjects(**configs):
    return [Subject(name, config) for name, config in configs.items()]


MIXED = subjects(
    a={"lr": 1e-4, "arch": "x", "epochs": 10},
    b={"lr": 1e-3, "arch": "x", "epochs": 10},
    c={"lr": 1e-2, "arch": "y", "epochs": 30},
    d={"lr": 1e-2, "arch": "y"},
)


def test_numbers_count_by_their_share_of_the_range_and_the_rest_by_whether_it_is_the_same():
    found = dendrogram.distances(MIXED)
    assert found[0, 1] == pytest.approx((0.5 + 0 + 0) / 3)  # lr by orders of magnitude
    assert found[1, 2] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found[2, 3] == pytest.approx((0 + 0 + 1) / 3)  # a key that one of them lacks


@given(SUBJECTS)
def test_a_distance_is_symmetric_between_0_and_1_and_0_to_itself(found):
    matrix = dendrogram.distances(found)
    assert np.array_equal(matrix, matrix.T)
    assert not matrix.diagonal().any()
    assert (matrix >= 0).all()
    assert (matrix <= 1 + 1e-12).all()


def test_the_nearest_are_joined_first_at_their_distance():
    root = dendrogram.cluster(MIXED)
    pairs = {frozenset(leaf.name for leaf in node.leaves()): node.height for node in root.walk() if node.children}
    assert pairs[frozenset("ab")] == pytest.approx(1 / 6)
    assert pairs[frozenset("cd")] == pytest.approx(1 / 3)


def test_newick_has_every_leaf_and_quotes_names_that_need_it():
    found = subjects(**{"a": {"lr": 1}, "b-1": {"lr": 2}, "c_2": {"lr": 9}})
    text = dendrogram.newick(dendrogram.cluster(found))
    assert sorted(re.findall(r"[(,]('[^']+'|\w+):", text)) == ["'b-1'", "'c_2'", "a"]
    assert text.count("(") == text.count(")") == 2
    assert text.endswith(";")


def test_a_drawing_joins_every_leaf():
    root = dendrogram.cluster(MIXED)
    lines = dendrogram.drawn(root, 20)
    assert len(lines) == 4
    assert {len(line) for line in lines} == {20}
    assert all(line[-1] in "─┬┌└├┤" for line in lines)


def test_configs_that_are_the_same_are_joined_at_0():
    root = dendrogram.cluster(subjects(a={"lr": 1}, b={"lr": 1}))
    assert root.height == 0
    assert len(dendrogram.drawn(root, 10)) == 2


def test_a_tree_of_a_thousand_is_no_deeper_than_python():
    root = dendrogram.cluster([Subject(f"c{n}", {"lr": 2.0**n}) for n in range(1000)])
    assert len(root.leaves()) == 1000
    assert dendrogram.newick(root).count(",") == 999


def test_one_is_no_tree():
    with pytest.raises(ReproError, match="two configs or more"):
        dendrogram.cluster(MIXED[:1])
