"""One search, whatever the fleet: the same trials, names, results and winner; and where it ends."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.scheduler.configs.variations import Span
from repro.scheduler.search import engine
from repro.scheduler.search.engine import WORST
from repro.scheduler.search.search_config import Search, parse
from repro.scheduler.search.trials import Job, config_of, longest_name, name_of
from repro.stages import config as configs
from repro.stages.errors import ConfigError
from tests.scheduler.search.fleets import BASE, CHOICES, compute, result


def search_of(keys=("lr", "arch", "size"), **options):
    spaces = ", ".join(f'"space_{key}": {CHOICES[key]}' for key in keys)
    config = configs.parse(f'{{"stage": "search", "source": "model", "metric": "accuracy", {spaces}}}', "test")
    return parse(config | options, "test")


def computed(search, replay=engine.replay):
    """By one worker that nothing happens to: replay, results, known."""
    results, known = {(0, None): result({}, None)}, {}
    while not (found := replay(search, BASE, results, known)).over:
        known |= {job.trial: job.values for job in found.jobs}
        results |= {job.key: result(job.values, job.rung) for job in found.waits}
    return found, results, known


@st.composite
def searches(draw):
    keys = draw(st.lists(st.sampled_from(sorted(CHOICES)), min_size=1, max_size=4, unique=True))
    options = {
        "trials": draw(st.integers(1, 30)),
        "lag": draw(st.integers(1, 12)),
        "minimize": draw(st.booleans()),
        "rungs": draw(st.sampled_from([[], [], [2], [2, 6]])),
        "eta": draw(st.integers(2, 3)),
        "sampler": draw(st.sampled_from(["tpe", "tpe", "random", "evolve"])),
        "seed": draw(st.integers(0, 2**40)),
        "target": draw(st.sampled_from([None, None, 1.0])),
        "patience": draw(st.sampled_from([None, None, 4, 12])),
        "budget": draw(st.sampled_from([None, None, 15, 100])),
    }
    return search_of(keys, **options)


def fleets_agree(search, replay=engine.replay, fleets=((1, 0), (2, 1), (7, 2), (20, 3))):
    searched = [compute(search, workers, seed, replay) for workers, seed in fleets]
    ends = {(repr(sorted(table.items())), repr(found.winner), found.reason) for found, table in searched}
    return len(ends) == 1


@settings(deadline=None, max_examples=60)
@given(searches(), st.lists(st.tuples(st.integers(1, 20), st.integers()), min_size=2, max_size=4))
def test_one_search_whatever_the_fleet(search, fleets):
    assert fleets_agree(search, fleets=fleets)


def test_keys_and_choices_of_any_alphabet():
    """Configs have none such, but the engine does not care; and the order of the keys does not count."""
    choices = {"größe": ["klein", "groß"], "速さ": Span(0.0, 1.0)}
    search = Search("model", "accuracy", choices, trials=20, lag=4)
    assert fleets_agree(search)
    turned = Search("model", "accuracy", dict(reversed(choices.items())), trials=20, lag=4)
    assert computed(search)[2] == computed(turned)[2]


def with_all_that_is_finished(search, base, results, known):
    """What every other tool does: a proposal sees whatever has ended when it is made."""

    class Peeking:
        def __init__(self):
            self.sampler = engine.sampler_of(search)

        def propose(self, trial, ranked, in_flight):
            values = {one.number: one for one in (*ranked, *in_flight)}
            ended = [n for n in values if (n, None) in results and math.isfinite(results[n, None])]
            sign = 1 if search.minimize else -1
            ended.sort(key=lambda number: (sign * results[number, None], number))
            others = [one for number, one in sorted(values.items()) if number not in ended]
            return self.sampler.propose(trial, [values[number] for number in ended], others)

    return engine.replay(search, base, results, known, Peeking())


def test_an_engine_that_sees_all_that_is_finished_is_caught():
    search = search_of(trials=30, lag=8)
    assert fleets_agree(search)
    assert not fleets_agree(search, with_all_that_is_finished)


def test_trial_i_sees_the_results_up_to_i_minus_lag():
    seen = {}

    class Looking:
        def propose(self, trial, ranked, in_flight):
            seen[trial] = sorted(one.number for one in ranked), [one.number for one in in_flight]
            return {"lr": trial / 1000}

    search, results = search_of(["lr"], trials=30, lag=4), {(0, None): 0.5}
    while not (found := engine.replay(search, BASE, results, {}, Looking())).over:
        results |= {job.key: job.trial / 50 for job in found.waits}
    assert seen == {i: (list(range(max(i - 4, 0) + 1)), list(range(max(i - 4, 0) + 1, i))) for i in range(1, 31)}


def test_the_source_is_first_and_nothing_begins_before():
    search = search_of()
    found = engine.replay(search, BASE, {}, {})
    assert (found.jobs, found.waits, found.over, found.winner) == ((), (Job(0, None, {}),), False, None)
    assert name_of(found.waits[0], search, "digits") == "model"
    found = engine.replay(search, BASE, {(0, None): 0.5}, {})
    assert [job.trial for job in found.jobs] == list(range(1, 9))
    assert found.waits == found.jobs


def test_what_was_lost_stops_the_clock_and_the_others_go_on_up_to_the_lag():
    search, results = search_of(trials=50, lag=4), {(0, None): 0.5}
    while True:
        found = engine.replay(search, BASE, results, {})
        fresh = [job for job in found.waits if job.trial != 3]
        if not fresh:
            break
        results |= {job.key: result(job.values, None) for job in fresh}
    assert [job.trial for job in found.jobs] == [1, 2, 3, 4, 5, 6]  # 3 and the three behind it, of a lag of 4
    assert [job.trial for job in found.waits] == [3]
    assert not found.over


@pytest.mark.parametrize("rungs", [[], [2, 6]])
@pytest.mark.parametrize("sampler", ["tpe", "random", "evolve"])
def test_a_longer_search_begins_with_the_trials_of_a_shorter_one(rungs, sampler):
    _, _, short = computed(search_of(trials=30, rungs=rungs, sampler=sampler))
    _, _, long = computed(search_of(trials=60, rungs=rungs, sampler=sampler))
    assert len(long) == 60
    assert {trial: long[trial] for trial in short} == short


@settings(deadline=None, max_examples=20)
@given(searches())
def test_an_audit_proposes_the_same_anew(search):
    found, results, known = computed(search)
    assert engine.differences(search, BASE, results, known) == []
    assert engine.replay(search, BASE, results, {}) == found
    if len(known) > 2:
        changed = known | {2: known[1]}
        assert engine.differences(search, BASE, results, changed)[0] == 2


def test_nothing_that_is_known_is_proposed_again():
    class Never:
        def propose(self, trial, ranked, in_flight):
            raise AssertionError(trial)

    search = search_of()
    found, results, known = computed(search)
    assert engine.replay(search, BASE, results, known, Never()) == found


def test_no_trial_twice_and_none_is_the_source():
    _, _, known = computed(search_of(["arch", "size", "depth"], trials=34))
    values = [{"arch": "baseline", "size": 32, "depth": 2}, *known.values()]
    assert len({configs.canonical(one) for one in values}) == len(values) == 35


@pytest.mark.parametrize("sampler", ["tpe", "random", "evolve"])
def test_a_finite_space_is_exhausted(sampler):
    found, _, known = computed(search_of(["arch", "bias"], sampler=sampler))
    assert (found.reason, len(known)) == ("space", 5)  # six, and one is the source
    found, _, known = computed(search_of(["arch", "bias"], sampler=sampler, trials=5))
    assert (found.reason, len(known)) == ("trials", 5)


def test_the_winner_is_the_best_whole_run_and_of_equal_ones_the_first():
    search = search_of(["depth", "size"], trials=11)
    for minimize, best in [(False, 3), (True, 5)]:
        found = replayed(search_of(["depth", "size"], trials=11, minimize=minimize), {3: 0.9, 4: 0.9, 5: 0.1, 6: 0.1})
        assert found.winner.trial == best
    assert replayed(search, {}).winner.trial == 0  # all are equal
    assert name_of(replayed(search, {}).winner, search, "digits") == "model"
    assert replayed(search, dict.fromkeys(range(12), math.nan)).winner is None


def replayed(search, of_trials, otherwise=0.5):
    """The search to its end, with these results of its trials; `of_trials` may be a function of a job."""
    look = of_trials if callable(of_trials) else lambda job: of_trials.get(job.trial, otherwise)
    results = {(0, None): look(Job(0, None, {}))}
    while not (found := engine.replay(search, BASE, results, {})).over:
        results |= {job.key: look(job) for job in found.waits}
    return found


def test_results_that_are_no_number_are_the_worst():
    search = search_of(["depth", "size"], trials=11)
    for worst in (math.nan, math.inf, -math.inf):
        found = replayed(search, {0: worst, 1: worst, 2: 0.1}, otherwise=worst)
        assert found.winner.trial == 2
        same = replayed(search, {0: WORST, 1: WORST, 2: 0.1}, otherwise=WORST)
        assert found == same


def test_only_the_order_of_results_counts():
    search = search_of(trials=40)
    found, results, _ = computed(search)
    other = {key: value if not math.isfinite(value) else math.atan(value) * 100 - 7 for key, value in results.items()}
    assert engine.replay(search, BASE, other, {}) == found


def test_target():
    search = search_of(trials=50, lag=4, target=0.8)
    found = replayed(search, {10: 0.8})
    assert (found.reason, found.winner.trial) == ("target", 10)
    assert [job.trial for job in found.jobs] == list(range(1, 14))  # what had begun has ended
    assert replayed(search_of(minimize=True, target=0.2, lag=1), {7: 0.1}).jobs[-1].trial == 7
    assert replayed(search, {0: 0.9}).jobs == ()  # the source is as good as that
    assert replayed(search, {}).reason == "trials"


def test_patience():
    search = search_of(trials=50, lag=1, patience=5)
    assert len(replayed(search, {}).jobs) == 5
    found = replayed(search, {4: 0.6, 9: 0.7})
    assert (found.reason, len(found.jobs), found.winner.trial) == ("patience", 14, 9)
    assert len(replayed(search, {4: math.inf}).jobs) == 5
    found = replayed(search_of(trials=50, lag=1, patience=2, rungs=[2]), {})
    assert (found.reason, sum(job.rung is None for job in found.jobs)) == ("patience", 2)


def test_budget():
    assert len(replayed(search_of(budget=7), {}).jobs) == 7
    found = replayed(search_of(budget=100, rungs=[2, 6], trials=50), lambda job: 1 / (job.trial + 1))
    assert found.reason == "budget"
    assert 80 < found.cost <= 100


def test_rungs():
    search = search_of(rungs=[2, 6], eta=3, trials=27, lag=1)
    found = replayed(search, lambda job: job.trial * 0.01)
    of = {rung: [job.trial for job in found.jobs if job.rung == rung] for rung in (2, 6, None)}
    assert sorted(of[2]) == list(range(1, 28))
    assert set(of[None]) < set(of[6]) < set(of[2])
    assert 27 // 3 <= len(of[6]) <= 27
    assert found.winner.trial == 27
    names = [name_of(job, search, "digits") for job in found.jobs if job.trial == 27]
    assert names == ["digitsaa-2", "digitsaa-6", "digitsaa"]
    assert all(configs.check_name(name, "test") == name for name in names)
    assert longest_name(search, "digits") == "digitsaa-6"
    assert found.cost == 2 * len(of[2]) + 4 * len(of[6]) + 14 * len(of[None])


def test_the_whole_run_of_a_trial_is_the_ordinary_config():
    search = search_of(["lr"], rungs=[2])
    assert config_of(Job(1, 2, {"lr": 0.1}), search, BASE) == BASE | {"lr": 0.1, "until": 2}
    assert config_of(Job(1, None, {"lr": 0.1}), search, BASE) == BASE | {"lr": 0.1}


def test_only_a_third_goes_on_and_only_those_that_are_fit():
    search = search_of(rungs=[2, 6], eta=3, trials=60, lag=8)
    found, results, _ = computed(search)
    for rung, above in [(2, 6), (6, None)]:
        ended = {t: r for (t, of), r in results.items() if of == rung}
        went_on = {job.trial for job in found.jobs if job.rung == above}
        assert all(math.isfinite(ended[trial]) for trial in went_on)
        assert len(went_on) >= len(ended) // 3  # those that were among the first once went on, too
        best = sorted((t for t in ended if math.isfinite(ended[t])), key=lambda t: (-ended[t], t))
        assert set(best[: len(ended) // 3]) <= went_on
    assert found.winner.rung is None


def test_of_few_trials_one_is_run_to_the_end_nevertheless():
    found = replayed(search_of(rungs=[2, 6], trials=2), {0: 0.1, 2: 0.3})
    assert [(job.trial, job.rung) for job in found.jobs] == [(1, 2), (2, 2), (1, 6), (1, None)]
    found = replayed(search_of(rungs=[2, 6], trials=2), {0: 0.1, 1: math.nan, 2: math.nan})
    assert [(job.trial, job.rung) for job in found.jobs] == [(1, 2), (2, 2)]
    assert found.winner.trial == 0


def test_letters_are_the_number_of_the_trial():
    search = search_of(trials=10_000)
    names = [name_of(Job(n, None, {}), search, "digits") for n in (1, 26, 27, 702, 703)]
    assert names == ["digitsa", "digitsz", "digitsaa", "digitszz", "digitsaaa"]
    with pytest.raises(ConfigError, match="at most 64"):
        longest_name(search, "d" * 62)


def test_a_job_lasts_as_long_as_it_has_to_compute():
    """So fast ones are passed while a slow one is under way: two epochs each, against fourteen more of a whole run."""
    search, results = search_of(rungs=[2, 6], trials=60, lag=2), {(0, None): 0.5}
    while True:
        found = engine.replay(search, BASE, results, {})
        fresh = [job for job in found.waits if job.rung is not None]
        if not fresh:
            break
        results |= {job.key: random.Random(job.trial).random() for job in fresh}
    (stands,) = found.waits
    began = [job.key for job in found.jobs].index(stands.key)
    assert stands.rung is None
    assert len(found.jobs) - began - 1 in range(3, 9)


def test_several_sources_are_all_known_from_the_beginning():
    """The first is the base and trial 0; the others count, as results and as parents, and are no trials."""
    search = search_of(("lr", "arch", "size"), source=["model", "modela", "modelb"], sampler="evolve", trials=6, lag=2)
    assert (search.source, search.others) == ("model", ("modela", "modelb"))
    given = {-1: {"lr": 0.01, "arch": "b", "size": 5}, -2: {"lr": 0.03, "arch": "a", "size": 7}}
    known = {trial: values | {key: BASE[key] for key in values if key not in BASE} for trial, values in given.items()}
    results = {(0, None): 0.1, (-1, None): 0.5, (-2, None): 0.9}
    missing = engine.replay(search, BASE, {(0, None): 0.1, (-1, None): 0.5}, known)
    assert (missing.jobs, [job.trial for job in missing.waits]) == ((), [-2])
    found = engine.replay(search, BASE, results, known)
    assert [name_of(job, search, "found") for job in found.jobs] == ["founda", "foundb"]
    assert name_of(found.best, search, "found") == "modelb"
    while not found.over:
        results |= {job.key: 0.2 for job in found.waits}
        found = engine.replay(search, BASE, results, known)
    assert [job.trial for job in found.jobs] == [1, 2, 3, 4, 5, 6]
    assert found.winner == Job(-2, None, {})
    everything = known | {job.trial: job.values for job in found.jobs}
    assert engine.differences(search, BASE, results, everything) == []
