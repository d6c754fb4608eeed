"""Simulated fleets: workers of any number that take jobs in any order, end in any order, and die."""

import random

from repro.scheduler.search import engine
from repro.scheduler.search.engine import WORST
from repro.scheduler.search.search_config import Search
from repro.scheduler.search.trials import name_of
from repro.stages import config as configs

BASE = {"lr": 0.01, "wd": 0.0, "width": 8, "depth": 2, "arch": "baseline", "size": 32, "bias": True, "epochs": 20}
CHOICES = {
    "lr": '"log:1e-4..1e-1"',
    "wd": '"0..0.1"',
    "width": '"log:1..64"',
    "depth": '"1..4"',
    "arch": '["baseline", "resnet", "größer"]',
    "size": "[16, 32, 64]",
    "bias": "[true, false]",
}


def result(values, rung, seed=0):
    """Of a run: it follows from its config. A few fail by their config's fault, some are alike."""
    fate = random.Random(f"{seed} {configs.canonical(values)!r}").random()
    if fate < 0.05:
        return WORST
    if fate > 0.95:
        return float("inf")
    of_rung = random.Random(f"{seed} {rung} {fate}").random()
    return round(fate + 0.3 * of_rung, 2)


def compute(search: Search, workers: int, seed: int, replay=engine.replay, base=BASE):
    """Replay and `{name: (values, result)}` when the search is over.

    Args:
        seed: of all that must not matter: who takes which job, how long it takes, who dies, when anybody looks, and
            whether what was proposed before is known.
    """
    fate = random.Random(f"fleet {workers} {seed}")
    results, known = {(0, None): result({}, None)}, {}
    under_way = list[tuple[float, tuple]]()
    now, jobs = 0.0, {}
    while not (found := replay(search, base, results, known)).over:
        jobs |= {job.key: job for job in found.jobs}
        if fate.random() < 0.9:
            known |= {job.trial: job.values for job in found.jobs}
        waiting = [job.key for job in found.waits if job.key not in [key for _, key in under_way]]
        fate.shuffle(waiting)
        for key in waiting[: workers - len(under_way)]:
            under_way.append((now + fate.lognormvariate(0, 1), key))
        for _ in range(fate.randint(1, len(under_way))):  # several may end before somebody looks
            now, key = under_way.pop(under_way.index(min(under_way, key=lambda one: one[0])))
            if fate.random() > 0.2:  # else the worker has died, and the job waits again
                results[key] = result(jobs[key].values, key[1])
    jobs |= {job.key: job for job in found.jobs}
    table = {name_of(job, search, "digits"): (job.values, repr(results[job.key])) for job in jobs.values()}
    return found, table
