"""Children of configs: valid, new, reproducible, and each key of theirs accounted for."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from repro.scheduler.configs import breeding
from repro.scheduler.configs.comparison import Subject
from repro.scheduler.configs.variations import Clone
from repro.scheduler.queue.submission import check_config
from repro.stages.errors import ConfigError, ReproError

TRAIN = st.fixed_dictionaries(
    {"stage": st.just("train"), "source": st.sampled_from(["augmentation", "augmentationa"])},
    optional={
        "lr": st.floats(1e-6, 1.0) | st.integers(1, 2),
        "epochs": st.integers(1, 100),
        "arch": st.sampled_from(["baseline", "resnet"]),
        "schedule": st.sampled_from(["constant", "cosine", "step"]),
        "label_smoothing": st.floats(0, 0.5),
        "seed": st.integers(0, 9),
    },
)
PARENTS = st.lists(TRAIN, min_size=2, max_size=5)


def check(config):
    check_config(config, "a child")


def named(configs):
    return [Subject(f"p{n}", config, {"momentum": 0.9}) for n, config in enumerate(configs)]


def bred(parents, count=3, mutate=0.5, seed=0):
    try:
        return breeding.breed(parents, [], count, mutate, seed, check)
    except ConfigError:
        raise  # an invalid child
    except ReproError:
        return []  # the parents are too much alike


@settings(deadline=None)
@given(PARENTS, st.floats(0, 1), st.integers())
def test_only_valid_new_children_whose_every_key_has_an_origin(configs, mutate, seed):
    parents = named(configs)
    of = {parent.name: parent.config for parent in parents}
    found = bred(parents, 3, mutate, seed)
    assume(found)
    assert [child.config for child in found] == [child.config for child in bred(parents, 3, mutate, seed)]
    for child in found:
        check(child.config)
        assert child.config not in configs
        assert child.config.keys() == child.inherited.keys() | set(child.mutated)
        assert all(repr(child.config[key]) == repr(of[name][key]) for key, name in child.inherited.items())
        assert set(child.inherited.values()) <= set(child.parents)
        assert not {"stage", "source"} & set(child.mutated)
        for key in child.mutated:
            seen = [config[key] for config in configs if key in config]
            if isinstance(child.config[key], str):
                assert child.config[key] in seen
            else:
                assert min(seen) <= child.config[key] <= max(seen)


def test_without_mutation_every_value_is_a_parents():
    parents = named([{"stage": "train", "lr": 0.1 * n, "epochs": n, "seed": n} for n in (1, 2)])
    for child in bred(parents, 4, mutate=0.0):
        assert not child.mutated
        assert len(set(child.inherited.values())) == 2


def test_what_can_not_be_bred_is_refused():
    a, b = named([{"stage": "train", "lr": 0.1}, {"stage": "train", "lr": 0.2}])
    with pytest.raises(ReproError, match="two parents"):
        breeding.breed([a], [], 1, 0, 0, check)
    with pytest.raises(ReproError, match="different stages have no children: train, augment"):
        breeding.breed([a, Subject("x", {"stage": "augment"})], [], 1, 0, 0, check)
    with pytest.raises(ReproError, match="only 0 different children"):
        breeding.breed([a, b], [], 1, 0, 0, check)  # each child is one of the two
    with pytest.raises(ConfigError, match='did you mean "lr"'):
        breeding.breed(
            named([{"stage": "train", "lrr": 1, "epochs": n, "seed": n} for n in (1, 2)]), [], 1, 0, 0, check
        )


@pytest.mark.parametrize(
    ("names", "base"),
    [
        (["modela", "modelb"], "model"),
        (["model", "modelc"], "model"),
        (["mild", "mold"], "m"),
        (["big", "small"], "big"),
    ],
)
def test_children_are_called_after_what_their_parents_share(names, base):
    assert breeding.common_name([Subject(name, {}) for name in names]) in (base, names[0])


def test_where_a_child_came_from_is_kept_beside_its_file(tmp_path):
    child = breeding.Child({"stage": "train", "lr": 1}, ["a", "b"], {"stage": "a"}, ["lr"])
    path = breeding.note(Clone("c", tmp_path / "c.json", child.config, new=True), child, 7)
    assert path == tmp_path / ".lineage" / "c.json"
    told = {"parents": ["a", "b"], "inherited": {"stage": "a"}, "mutated": ["lr"], "seed": 7}
    assert json.loads(path.read_text()) == told
