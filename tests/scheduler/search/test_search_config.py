"""What a search's config may say, and the one line that says what is wrong with another."""

import pytest

from repro.scheduler.configs.variations import Span
from repro.scheduler.search.base_check import base_values, check_against
from repro.scheduler.search.search_config import KNOWN, Search, parse
from repro.stages.errors import ConfigError

GOOD = {"stage": "search", "source": "model", "metric": "validation_accuracy", "space_lr": "log:1e-4..1e-1"}
BASE = {"stage": "train", "source": "augmentation", "lr": 0.001, "epochs": 20, "widths": [1, 2]}
READS = {
    **{"stage": "", "source": None, "seed": 0, "gpus": 0, "lr": 0.01, "weight_decay": 0.0, "batch_size": 64},
    **{"arch": "baseline", "ema": False, "until": None, "epochs": 10, "widths": None, "momentum": None},
}
RANGE = 'a range such as "1e-4..1e-1", "log:1e-4..1e-1" or "1..8", or a list of choices'


def test_all_that_can_be_said():
    said = {
        **GOOD,
        **{"space_weight_decay": "0..0.1", "space_batch_size": [16, 32, 64], "space_epochs_more": "1..8"},
        **{"minimize": True, "trials": 60, "lag": 16, "sampler": "evolve", "rungs": [2, 6], "rung": "stop", "eta": 2},
        **{"target": 1, "patience": 20, "budget": 1000.5, "failures": "all", "seed": -1, "survivors": 5, "mutate": 0.1},
    }
    found = parse(said, "digits.json")
    assert found == Search(
        source="model",
        metric="validation_accuracy",
        choices={
            "lr": Span(1e-4, 0.1, log=True),
            "weight_decay": Span(0, 0.1),
            "batch_size": [16, 32, 64],
            "epochs_more": Span(1, 8),
        },
        minimize=True,
        trials=60,
        lag=16,
        sampler="evolve",
        survivors=5,
        mutate=0.1,
        rungs=[2, 6],
        rung="stop",
        eta=2,
        target=1,
        patience=20,
        budget=1000.5,
        failures="all",
        seed=-1,
    )
    assert set(said) - {key for key in said if key.startswith("space_")} == set(KNOWN)


def test_what_is_not_said():
    found = parse(GOOD | {"target": None, "patience": None, "budget": None}, "digits.json")
    assert (found.trials, found.lag, found.sampler, found.minimize, found.failures) == (50, 8, "tpe", False, "stage")
    assert (found.rung, found.eta, found.seed, list(found.rungs)) == ("until", 3, 0, [])
    assert (found.target, found.patience, found.budget) == (None, None, None)


MISTAKES = [
    ({"trails": 60}, 'a search has no "trails"; did you mean "trials"?'),
    ({"space-lr": "0..1"}, 'a search has no "space-lr"; '),
    ({"lr": "0..1"}, 'a search has no "lr"; to search this parameter say "space_lr"; known keys: budget, eta'),
    ({"stage": "train"}, '"stage": expected "search", got: "train"'),
    ({"source": None}, 'no "source"; say which run is to be improved on, e.g. "source": "model"'),
    ({"source": ["a", 3]}, '"source": expected a name or a list of names, got: ["a", 3]'),
    ({"source": "a b"}, "\"source\": bad name 'a b'"),
    ({"metric": None}, 'no "metric"; say which figure of the results is to be improved'),
    ({"metric": 3}, '"metric": expected a name, got: 3'),
    ({"minimize": 1}, '"minimize": expected true or false, got: 1'),
    ({"trials": 0}, '"trials": expected an integer from 1 to 10000, got: 0'),
    ({"trials": 6.0}, '"trials": expected an integer from 1 to 10000, got: 6.0'),
    ({"trials": True}, '"trials": expected an integer from 1 to 10000, got: true'),
    ({"trials": 10_001}, '"trials": expected an integer from 1 to 10000, got: 10001'),
    ({"trials": None}, '"trials": expected an integer from 1 to 10000, got: null'),
    ({"lag": 0}, '"lag": expected an integer, 1 or more, got: 0'),
    ({"eta": 1}, '"eta": expected an integer, 2 or more, got: 1'),
    ({"seed": "x"}, '"seed": expected an integer, got: "x"'),
    ({"mutate": 0.5}, '"mutate" is of the sampler "evolve" alone'),
    ({"sampler": "evolve", "survivors": 1}, '"survivors": expected an integer, 2 or more, got: 1'),
    ({"sampler": "evolve", "mutate": 2}, '"mutate": expected a number from 0 to 1, got: 2'),
    ({"source": []}, 'no "source"; say which run'),
    ({"source": ["model", "model"]}, '"source" names one config twice'),
    ({"sampler": "optuna"}, '"sampler": expected one of "tpe", "random", "evolve", got: "optuna"'),
    ({"sampler": ["tpe"]}, '"sampler": expected one of "tpe", "random", "evolve", got: ["tpe"]'),
    ({"failures": "none"}, '"failures": expected one of "stage", "all", got: "none"'),
    ({"rungs": [2, 2]}, '"rungs": expected a list of epochs that rise, such as [2, 6], got: [2, 2]'),
    ({"rungs": [6, 2]}, '"rungs": expected a list of epochs that rise'),
    ({"rungs": [0, 2]}, '"rungs": expected a list of epochs that rise'),
    ({"rungs": 2}, '"rungs": expected a list of epochs that rise'),
    ({"rung": "no key"}, "\"rung\": bad key 'no key'"),
    ({"rung": None}, '"rung": expected a name, got: null'),
    ({"target": "high"}, '"target": expected a number, or null, got: "high"'),
    ({"patience": 0}, '"patience": expected an integer, 1 or more, or null, got: 0'),
    ({"budget": 0}, '"budget": expected a number over 0, or null, got: 0'),
    ({"space_lr": "1e-1..1e-4"}, '"space_lr": a range goes from low to high'),
    ({"space_lr": "0.1..0.1"}, '"space_lr": a range goes from low to high'),
    ({"space_lr": "log:0..1"}, '"space_lr": a range goes from low to high, above 0'),
    ({"space_lr": "log:-1..1"}, '"space_lr": a range goes from low to high, above 0'),
    ({"space_lr": "0..1e999"}, '"space_lr": a range ends at numbers that fit in 64 bits'),
    ({"space_lr": 0.1}, f'"space_lr": expected {RANGE}, got: 0.1'),
    ({"space_lr": "0.1"}, f'"space_lr": expected {RANGE}, got: "0.1"'),
    ({"space_lr": "0.1-0.2"}, f'"space_lr": expected {RANGE}, got: "0.1-0.2"'),
    ({"space_lr": []}, '"space_lr": a list of two choices or more, got: []'),
    ({"space_lr": [0.1]}, '"space_lr": a list of two choices or more, got: [0.1]'),
    ({"space_lr": [0.1, 0.2, 0.1]}, '"space_lr": the choice 0.1 stands there twice'),
    ({"space_lr": [1, 1.0]}, '"space_lr": the choice 1.0 stands there twice'),
    ({"space_arch": ["größer", "größer"]}, '"space_arch": the choice "größer" stands there twice'),
    ({"space_stage": ["a", "b"]}, '"space_stage": can\'t be searched: another stage is another search'),
    ({"space_source": ["a", "b"]}, '"space_source": can\'t be searched: another source is another search'),
    ({"space_gpus": "1..8"}, '"space_gpus": can\'t be searched: how many cards'),
    ({"space_name": ["a", "b"]}, '"space_name": can\'t be searched: trials are named by their number'),
    ({"space_seed": "1..8"}, '"space_seed": can\'t be searched: the best of several seeds is luck'),
    ({"space_until": "1..8", "rungs": [2]}, '"space_until": can\'t be searched: "until" says on which rung'),
    ({"space_epochs": "1..8", "rungs": [2]}, '"space_epochs": can\'t be searched together with rungs'),
    ({"space_": "1..8"}, "\"space_\": bad key ''"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[message[:60] for _, message in MISTAKES])
def test_a_mistake_is_told_in_one_line(change, message):
    with pytest.raises(ConfigError) as error:
        parse(GOOD | change, "digits.json")
    assert str(error.value).startswith(f"digits.json: {message}")
    assert "\n" not in str(error.value)


def test_a_search_needs_a_parameter_and_has_not_too_many():
    with pytest.raises(ConfigError, match=r'no parameter to search; say one, e\.g\. "space_lr"'):
        parse({key: value for key, value in GOOD.items() if not key.startswith("space_")}, "digits.json")
    with pytest.raises(ConfigError, match="51 parameters; a search has at most 50"):
        parse(GOOD | {f"space_x{number}": "0..1" for number in range(50)}, "digits.json")


def test_without_rungs_until_and_epochs_are_parameters_like_others():
    assert set(parse(GOOD | {"space_until": "1..8", "space_epochs": "1..8"}, "d").choices) == {"lr", "until", "epochs"}


FITS = [
    {"space_lr": "1..8"},  # integers where a number stands
    {"space_lr": [1, 0.5]},
    {"space_weight_decay": "0..0.1"},
    {"space_batch_size": [16, 32, 64]},
    {"space_arch": ["baseline", "resnet"]},
    {"space_ema": [True, False]},
    {"space_momentum": "0..1"},  # whose default nobody can see
    {"rungs": [2, 6, 19]},
]


@pytest.mark.parametrize("change", FITS)
def test_what_fits_the_source(change):
    check_against(parse(GOOD | change, "d"), BASE, READS)


MISFITS = [
    ({"space_lrr": "0..1"}, '"space_lrr": no code of stage "train" reads "lrr"; did you mean "lr"?'),
    ({"space_zzz": "0..1"}, '"space_zzz": no code of stage "train" reads "zzz"; known keys: arch, batch_size'),
    ({"space_batch_size": "0.5..8"}, '"space_batch_size": expected integers, as its value is 64; got: 0.5'),
    ({"space_batch_size": [16, "32"]}, '"space_batch_size": expected integers, as its value is 64; got: "32"'),
    ({"space_batch_size": [True, False]}, '"space_batch_size": expected integers, as its value is 64; got: true'),
    ({"space_lr": ["a", "b"]}, '"space_lr": expected numbers, as its value is 0.01; got: "a"'),
    ({"space_ema": "0..1"}, '"space_ema": expected true or false, as its value is false; got: 0'),
    ({"space_arch": "1..8"}, '"space_arch": expected strings, as its value is "baseline"; got: 1'),
    ({"space_arch": ["a", None]}, '"space_arch": expected strings, as its value is "baseline"; got: null'),
    ({"space_widths": "1..8"}, '"space_widths": expected lists, as its value is [1, 2]; got: 1'),
    ({"rungs": [2, 20]}, '"rungs": 20 is not below the 20 epochs of "model"'),
    ({"rungs": [2], "rung": "stop_after"}, '"rung": no code of stage "train" reads "stop_after"'),
]


@pytest.mark.parametrize(("change", "message"), MISFITS, ids=[message[:60] for _, message in MISFITS])
def test_what_does_not_fit_the_source(change, message):
    with pytest.raises(ConfigError) as error:
        check_against(parse(GOOD | change, "d"), BASE, READS, "digits.json")
    assert str(error.value).startswith(f"digits.json: {message}")
    assert "\n" not in str(error.value)


def test_rungs_need_epochs_and_a_source_that_is_whole():
    search = parse(GOOD | {"rungs": [2]}, "d")
    without = {key: value for key, value in READS.items() if key != "epochs"}
    with pytest.raises(ConfigError, match='"model" says no "epochs"'):
        check_against(search, {"stage": "train"}, without)
    with pytest.raises(ConfigError, match='"rungs": 2 is not below the 2 epochs'):
        check_against(search, {"stage": "train", "epochs": 2}, READS)
    with pytest.raises(ConfigError, match='"model" says "until" itself, so it is no whole run'):
        check_against(search, BASE | {"until": 5}, READS)


def test_what_the_engine_needs_of_the_source():
    search = parse(GOOD | {"space_momentum": "0..1", "space_batch_size": [16, 32]}, "d")
    assert base_values(search, BASE, READS) == {"lr": 0.001, "batch_size": 64}
    search = parse(GOOD | {"rungs": [2]}, "d")
    assert base_values(search, BASE, READS) == {"lr": 0.001, "epochs": 20}
    assert base_values(search, {"stage": "train"}, READS) == {"lr": 0.01, "epochs": 10}
