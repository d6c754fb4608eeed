"""What a storm came to, in figures."""

from collections import Counter
from dataclasses import dataclass
from statistics import median

from tests.chaos.history import holder


@dataclass(frozen=True)
class Figures:
    seed: str
    runs: int
    kills: int
    faults: Counter
    lost: int
    duplicated: int
    changed: int
    to_claimable: list[float]  # seconds from each kill of a worker that held a run
    to_running: list[float]


def of(seed, storm, final, violations):
    taken = [times for life in storm.history.lives if life.killed for times in taken_up(storm.history, life)]
    return Figures(
        seed,
        len(final.runs),
        sum(life.killed for life in storm.history.lives),
        storm.struck,
        len(violations["runs"]),
        len(violations["claims"] + violations["completions"]),
        len(violations["folders"] + violations["write-once"] + violations["bytes"]),
        [claimable for claimable, _ in taken],
        [running for _, running in taken],
    )


def taken_up(history, life):
    """For each run that a worker held when it died: seconds until it was claimable, and until it ran again."""
    claimable = {}
    for event, before in history.steps():
        if event.at < life.ended:
            continue
        if holder(before) == life.worker and holder(event.run) != life.worker:
            claimable[event.name] = event.at
        elif event.name in claimable and holder(event.run):
            yield claimable[event.name] - life.ended, event.at - life.ended
            del claimable[event.name]


def table(found):
    """The lines of a report over the storms of a session."""
    faults = sum((figures.faults for figures in found), Counter())
    total = [sum(getattr(figures, what) for figures in found) for what in ("runs", "lost", "duplicated", "changed")]
    yield f"seeds: {' '.join(figures.seed for figures in found)}"
    yield f"runs: {total[0]}, lost: {total[1]}, duplicated: {total[2]}, with changed bytes: {total[3]}"
    yield f"workers killed: {sum(figures.kills for figures in found)}"
    yield f"faults: {faults.total()}: " + ", ".join(f"{name} {times}" for name, times in sorted(faults.items()))
    for what in ("to_claimable", "to_running"):
        if seconds := [second for figures in found for second in getattr(figures, what)]:
            label = what.replace("_", " ")
            yield f"seconds from kill {label}: median {median(seconds):.1f}, max {max(seconds):.1f} of {len(seconds)}"
