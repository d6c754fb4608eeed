"""Crossing and mutating configs, for a config is nearly a genome (R17). Follows from the arguments and the seed alone.

A child has each key from one of its parents, drawn anew for every key; what a parent does not say it may inherit,
too. A mutation then takes another value by the key's type and the values seen in the population: a number from between
the lowest and the highest seen, of all else another of those seen. So a key that is the same everywhere stays as it
is: nobody knows what else it may be.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.scheduler.configs.comparison import LETTERS, Subject, shared_prefix
from repro.scheduler.configs.dendrogram import ORDERS, is_number
from repro.scheduler.configs.draws import Draws
from repro.scheduler.configs.variations import Clone, Span
from repro.stages import config as configs
from repro.stages import files
from repro.stages.config import Config, Value
from repro.stages.errors import ConfigError, ReproError

LINEAGE = ".lineage"  # the folder beside the configs in which it is kept where a child came from
FIXED = ("stage", "source", "gpus")  # inherited, never mutated
TRIES = 200  # for each child, until one is new


@dataclass(frozen=True)
class Child:
    """A config and where it came from.

    Attributes:
        inherited: key -> name of the parent that it has it from.
        mutated: the keys that it has from none.
    """

    config: Config
    parents: Sequence[str]
    inherited: Mapping[str, str]
    mutated: Sequence[str]


def breed(
    parents: Sequence[Subject],
    population: Sequence[Subject],
    count: int,
    mutate: float,
    seed: int,
    check: Callable[[Config], None],
) -> list[Child]:
    """So many children of pairs of these parents; each is new and passes the check, as a submit would.

    Args:
        population: whose values mutations draw from, and whose configs are not made again.
        mutate: the probability with which each key mutates.

    Raises:
        ReproError: fewer than two parents, or of different stages; or not so many different children can be had.
        ConfigError: a child does not pass the check.
    """
    check_parents(parents)
    source, seen = Draws(seed), values_seen([*parents, *population])
    taken = {configs.canonical(subject.config) for subject in (*parents, *population)}
    children = list[Child]()
    for _ in range(TRIES * count):
        child = _child(source.sample(parents, 2), seen, mutate, source)
        if configs.canonical(child.config) in taken:
            continue
        check(child.config)
        taken.add(configs.canonical(child.config))
        children.append(child)
        if len(children) == count:
            return children
    raise ReproError(f"only {len(children)} different children were found; add parents, or --mutate more")


def check_parents(parents: Sequence[Subject]) -> None:
    """
    Raises:
        ReproError: fewer than two parents, or of different stages.
    """
    if len(parents) < 2:
        raise ReproError("it takes two parents or more")
    if len(stages := dict.fromkeys(str(p.config.get("stage")) for p in parents)) > 1:
        raise ReproError(f"parents of different stages have no children: {', '.join(stages)}")


def common_name(parents: Sequence[Subject]) -> str:
    """`model` for modela and modelb: what children's letters follow."""
    names = [parent.name for parent in parents]
    shared = shared_prefix(names)
    return shared if shared and all(LETTERS.fullmatch(name, len(shared)) for name in names) else names[0]


def note(clone: Clone, child: Child, seed: int) -> Path:
    """Keep where a child came from, beside its file and outside of its config; never over an earlier note.

    Raises:
        ConfigError: it can't be written.
    """
    path = clone.path.parent / LINEAGE / clone.path.name
    lineage = {
        "parents": list(child.parents),
        "inherited": child.inherited,
        "mutated": list(child.mutated),
        "seed": seed,
    }
    try:
        path.parent.mkdir(exist_ok=True)
        files.create(path, (json.dumps(lineage, indent=1) + "\n").encode())
    except FileExistsError:
        pass  # of the same config, bred before: its first parents stay
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from error
    return path


def _child(parents: Sequence[Subject], seen: Mapping[str, list[Value]], mutate: float, source: Draws) -> Child:
    config, inherited, mutated = Config(), dict[str, str](), list[str]()
    for key in dict.fromkeys(key for parent in parents for key in parent.config):
        parent = source.choice(parents)
        if key in parent.config:
            config[key], inherited[key] = parent.config[key], parent.name
    for key in [key for key in seen if key not in FIXED]:
        # Drawn for every key, whether it can mutate or not: one key more must not shift all that follows.
        fate = Draws(source.unit())
        if fate.unit() >= mutate or len(seen[key]) < 2:
            continue
        if repr(value := _other(config.get(key), seen[key], fate)) != repr(config.get(key)):
            config[key] = value
            mutated.append(key)
            inherited.pop(key, None)
    return Child(config, [parent.name for parent in parents], inherited, mutated)


def _other(value: Value, values: Sequence[Value], source: Draws) -> Value:
    """Another value for a key than its own, of the kind that was seen there."""
    numbers = [v for v in values if isinstance(v, int | float) and is_number(v)]
    if len(numbers) < len(values) or len(numbers) < 2:
        return source.choice([v for v in values if repr(v) != repr(value)])
    low, high = min(numbers), max(numbers)
    if all(isinstance(number, int) for number in numbers):
        return Span(int(low), int(high)).draw(source)
    return Span(float(low), float(high), log=low > 0 and high / low >= ORDERS).draw(source)


def values_seen(population: Sequence[Subject]) -> dict[str, list[Value]]:
    """Key -> the different values that configs say, or that their runs used, in the order of their spelling."""
    said = dict.fromkeys(key for subject in population for key in subject.config)
    values_of: dict[str, dict[str, Value]] = {key: {} for key in said}
    for subject in population:
        for key, cell in subject.cells().items():
            if key in values_of:
                values_of[key][repr(cell.value)] = cell.value
    return {key: [values[spelling] for spelling in sorted(values)] for key, values in values_of.items()}
