"""Prints what searches propose, as JSON: the same for ever, on every machine, in every version of Python.

    python -m tests.scheduler.search.proposals > tests/scheduler/search/proposals.json

which is only right while a sampler has never been released. Afterwards a better one has another name.
"""

import json

from repro.scheduler.search import engine
from repro.scheduler.search.search_config import parse
from repro.stages import config as configs
from tests.scheduler.search.fleets import BASE, CHOICES, result

SPACES = {
    "numbers": ("lr", "wd", "width", "depth"),
    "choices": ("arch", "size", "bias"),
    "all": tuple(CHOICES),
}
OPTIONS = {
    "tpe": {"trials": 40},
    "one after the other": {"trials": 25, "lag": 1, "seed": 7, "minimize": True},
    "rungs": {"trials": 45, "rungs": [2, 6]},
    "random": {"trials": 10, "sampler": "random"},
    "evolve": {"trials": 20, "sampler": "evolve", "survivors": 4, "mutate": 0.3},
}


def proposals():
    return {f"{keys}, {name}": searched(keys, options) for keys in SPACES for name, options in OPTIONS.items()}


def searched(keys, options):
    spaces = ", ".join(f'"space_{key}": {CHOICES[key]}' for key in SPACES[keys])
    config = configs.parse(f'{{"stage": "search", "source": "model", "metric": "accuracy", {spaces}}}', "test")
    search = parse(config | options, "test")
    results = {engine.SOURCE: 0.5}
    while not (found := engine.replay(search, BASE, results, {})).over:
        results |= {job.key: result(job.values, job.rung) for job in found.waits}
    jobs = [[job.trial, job.rung, *job.values.values()] for job in found.jobs]
    return {"jobs": jobs, "reason": found.reason, "winner": found.winner.trial}


def main():
    lines = (
        f'{json.dumps(name)}: {{"reason": {json.dumps(one["reason"])}, "winner": {one["winner"]}, "jobs": [\n'
        + ",\n".join(json.dumps(job, ensure_ascii=False) for job in one["jobs"])
        + "\n]}"
        for name, one in proposals().items()
    )
    print("{" + ",\n".join(lines) + "}")


if __name__ == "__main__":
    main()
