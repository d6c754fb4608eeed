"""Config files -> runs: sources first, everything checked before anything is inserted."""

import gc
import getpass
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from repro.scheduler import runs
from repro.scheduler.queue import lookup, search_checks, searches
from repro.scheduler.runs import RunDocument, demands
from repro.scheduler.search import search_config
from repro.scheduler.server.connection import Queue, may_be_refused
from repro.stages import config as configs
from repro.stages.config import Config
from repro.stages.errors import ConfigError
from repro.stages.plain import LONGEST_TIME, shown
from repro.stages.source import provenance, registry


@dataclass(frozen=True)
class Change:
    """What the command line lays over each of the files named on it (R7), and what the run is then called."""

    conf: str | None = None
    settings: Sequence[str] = ()
    name: str | None = None
    allow_unknown: Sequence[str] = ()  # keys of these configs, and of no source, that no code need read
    again: bool = False  # compute what another run has computed already

    @property
    def merges(self) -> bool:
        return self.conf is not None or bool(self.settings)


class Candidate(NamedTuple):
    """A config that is to be in the queue under a name; `where` is its file."""

    name: str
    config: Config
    where: str
    sources: list[str]
    base: str = ""  # what the letters are to follow, if the name is still to be found
    allowed: tuple[str, ...] = ()  # keys of it that no code need read


class Submitted(NamedTuple):
    name: str
    stage: str
    state: str
    new: bool
    location: str | None = None
    same_as: str | None = None
    sent: bool = False  # whether its code went into the store with it


@dataclass(frozen=True)
class Plan:
    """What a submit would do: `order` has every candidate after its sources, `known` is there already.

    `equal`: name -> the done run that has computed just this under another name.
    """

    order: list[Candidate]
    known: dict[str, RunDocument]
    fingerprints: dict[str, str]
    equal: dict[str, RunDocument]

    @property
    def fresh(self) -> list[Candidate]:
        return [c for c in self.order if c.name not in self.known]


def plan(db: Queue, paths: Sequence[Path], change: Change) -> Plan:
    """Read, merge and check everything; nothing is written.

    Raises:
        ConfigError: whatever is wrong, in one line.
    """
    asked = [_candidate(path, change) for path in paths]
    if change.name and len(asked) > 1:
        raise ConfigError("--name: one name can't serve several configs; submit them one by one")
    files = _with_sources(asked)
    known = lookup.identities(db, files.keys() | {s for c in files.values() for s in c.sources})
    if change.again and (there := next((c.name for c in asked if c.name in known), None)):
        _refuse_again(there, known[there]["state"])
    order = _sources_first(files, known)
    _check_searches(order, known)
    prints = {name: run["fingerprint"] for name, run in known.items() if name not in files}
    settled: list[Candidate] = []
    for candidate in order:
        digest = configs.fingerprint(candidate.config, prints)
        final = _settle_name(db, candidate, digest, known, {c.name for c in settled}) if candidate.base else candidate
        prints[final.name] = digest
        _check_immutable(final, digest, known.get(final.name))
        settled.append(final)
    fresh = [c.name for c in settled if c.name not in known]
    done = {} if change.again or not fresh else lookup.equal(db, [prints[name] for name in fresh])
    return Plan(settled, known, prints, {name: done[prints[name]] for name in fresh if prints[name] in done})


def _check_searches(order: Sequence[Candidate], known: Mapping[str, RunDocument]) -> None:
    """That each search fits its source, which is in a file or in the queue."""
    by_name = {candidate.name: candidate for candidate in order}
    for candidate in order:
        if not _is_search(candidate.config) or candidate.name in known:
            continue
        if candidate.base:
            raise ConfigError(
                f"{candidate.where}: a search that is changed on the fly needs a name of its own, for letters behind "
                f"{candidate.base} are its trials: --name NAME"
            )
        sources = candidate.sources
        given = [by_name[one].config if one in by_name else known[one]["config"] for one in sources]
        search_checks.check(candidate.config, given, candidate.where, candidate.name)
        for source in [known[one] for one in sources if one in known and known[one]["state"] == runs.State.DONE]:
            search_checks.check_figure(candidate.config, source, candidate.where)


def _is_search(config: Mapping[str, Any]) -> bool:
    return config.get("stage") == search_config.STAGE


def _refuse_again(name: str, state: str) -> None:
    raise ConfigError(
        f"--again: {name} is {state} already, and a name is one run for ever; compute it under another one: --name "
        f"NAME; or see whether it gives the same today: repro verify {name}"
    )


@dataclass(frozen=True)
class Options:
    """What a submit says of its runs besides their configs; never part of a result.

    Attributes:
        priority: a 32-bit integer; higher is claimed first.
        tags: words by which the runs are found.
        max_attempts: after so many that ended by faults of machines a run fails.
        time_limit: seconds that the stage may take; None for no limit.
        stall_limit: seconds that it may make no progress; None for no limit.
        held: insert, but let nobody claim before it is unheld.
        hermetic: refuse what a stage reads undeclared.
        needs: what the machine must have, such as `card=*A100*`, `memory>=40GB` or `site=berlin` (`runs.demands`).

    Raises:
        ConfigError: a value is of another type, or out of its range.
    """

    priority: int = 0
    tags: Sequence[str] = ()
    max_attempts: int = 3
    time_limit: float | None = None
    stall_limit: float | None = None
    held: bool = False
    hermetic: bool = False
    needs: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_integer("priority", self.priority, -(2**31))
        _check_integer("max_attempts", self.max_attempts, 1)
        for name in ("time_limit", "stall_limit"):
            seconds = getattr(self, name)
            is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if seconds is not None and not (is_number and 0 < seconds <= LONGEST_TIME):
                raise ConfigError(
                    f"{name}: expected seconds, more than 0 and at most {LONGEST_TIME}, got: {shown(seconds)}"
                )
        if isinstance(self.tags, str) or not all(isinstance(tag, str) for tag in self.tags):
            raise ConfigError(f"tags: expected a list of texts, got: {shown(self.tags)}")
        if isinstance(self.needs, str):
            raise ConfigError(f"needs: expected a list of texts, got: {shown(self.needs)}")
        demands.class_of(self.needs)
        for name in ("held", "hermetic"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}: expected true or false, got: {shown(getattr(self, name))}")

    def fields(self, code: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As a run document has them; `code` is what it keeps of its code."""
        fields = {key: value for key, value in vars(self).items() if key not in ("held", "needs")}
        needs = demands.class_of([*self.needs, *demands.of_imports(code or {})])
        fields |= {"tags": list(self.tags)} | demands.fields(needs, self.held)
        return fields if self.hermetic else {key: value for key, value in fields.items() if key != "hermetic"}


def same_version(package: str) -> str:
    """The demand for a package in the version that is installed here.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return f"{package}={metadata.version(package)}"
    except (metadata.PackageNotFoundError, ValueError):
        raise ConfigError(f"--same {package}: no package of that name is installed here") from None


def _check_integer(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise ConfigError(f"{name}: expected an integer from {least} to {2**31 - 1}, got: {shown(value)}")


Ship = Callable[[str], Mapping[str, Any]]  # puts a stage's code into the store; what a document keeps of it


def submit(
    db: Queue,
    paths: Sequence[Path],
    change: Change | None = None,
    submit_options: Options | None = None,
    ship: Ship = provenance.submitted,
) -> list[Submitted]:
    """Insert what is not there yet. Returns sources too, each after its own.

    Without a `ship` a run takes the code that lies where its worker is.

    Raises:
        ConfigError: something is wrong; nothing was inserted.
    """
    runs.create_indexes(db)
    change, options, by = change or Change(), submit_options or Options(), submitter()
    states: dict[str, str] = {}
    equal: dict[str, RunDocument] = {}
    with _no_garbage_collection():
        while True:
            ready = plan(db, paths, change)
            documents, adopted = _documents(ready, options, by, ship)
            # Where another submitter was quicker, the next plan finds its run there: with the same content it is
            # ours too; with other content the name is refused, or the next letter taken.
            equal |= ready.equal
            taken = runs.adopt(db, adopted)
            states |= {run["_id"]: runs.State.DONE.value for run, _ in adopted if run["_id"] not in taken}
            if documents and not taken:
                taken = runs.submit(db, documents)
                states |= {run["_id"]: run["state"] for run in documents if run["_id"] not in taken}
            if not taken:
                break
        _release_what_ended_meanwhile(db, ready, documents)
        for candidate in ready.order:
            if _is_search(candidate.config):
                with may_be_refused():  # who may only insert leaves it to the workers
                    searches.advance(db, candidate.name)
        sent = {run["_id"] for run in documents if "location" in run.get("code", ())}
        return [_submitted(candidate, states, equal, ready, sent) for candidate in ready.order]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Thousands of configs are a hundred thousand objects that all stay: to look through them for garbage again
    and again would take a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _documents(
    ready: Plan, options: Options, by: str, ship: Ship
) -> tuple[list[RunDocument], list[tuple[RunDocument, RunDocument]]]:
    """Those to be computed, and those that need not be, each with the run that has its result."""
    unfinished = {name for name, run in ready.known.items() if run["state"] != runs.State.DONE}
    undone = {c.name for c in ready.fresh if c.name not in ready.equal} | unfinished
    stages = {c.name: _computing_stage(c, ready) for c in ready.fresh if c.name not in ready.equal}
    computed = set(stages.values())
    codes = {stage: dict(ship(stage)) for stage in sorted(computed)}
    of_stages = {stage: options.fields(code) | {"code": code} for stage, code in codes.items()}
    of_equal = options.fields()  # what has computed it keeps its own code
    documents = [
        runs.document(
            c.name,
            dict(c.config),
            ready.fingerprints[c.name],
            c.sources,
            [source for source in c.sources if source in undone] + ([c.name] if _is_search(c.config) else []),
            submitted_by=by,
            **({"allow_unknown": list(c.allowed)} if c.allowed else {}),
            **(of_equal if c.name in ready.equal else of_stages[stages[c.name]]),
        )
        for c in ready.fresh
    ]
    adopted = [(run, ready.equal[run["_id"]]) for run in documents if run["_id"] in ready.equal]
    return [run for run in documents if run["_id"] not in ready.equal], adopted


def _computing_stage(candidate: Candidate, ready: Plan) -> str:
    """The stage whose code computes it: of a search, that of its trials."""
    if not _is_search(candidate.config):
        return str(candidate.config["stage"])
    source = candidate.sources[0]
    files = {one.name: one.config for one in ready.order}
    return str((files.get(source) or ready.known[source]["config"])["stage"])


def _release_what_ended_meanwhile(db: Queue, ready: Plan, documents: Sequence[RunDocument]) -> None:
    """A source may have ended between our look and our insert: its release came too early for the child."""
    if awaited := {source for run in documents for source in run["waiting_for"]} & ready.known.keys():
        now = lookup.identities(db, awaited)
        runs.release_children(db, [name for name, run in now.items() if run["state"] == runs.State.DONE])


def _submitted(
    candidate: Candidate, fresh: Mapping[str, str], equal: Mapping[str, RunDocument], ready: Plan, sent: set[str]
) -> Submitted:
    name, stage = candidate.name, _computing_stage(candidate, ready)
    if name not in fresh:
        run = ready.known[name]
        return Submitted(name, stage, run["state"], new=False, location=run.get("location"))
    same: RunDocument = equal.get(name, {})
    place, equal_to = same.get("location"), same.get("_id")
    return Submitted(name, stage, fresh[name], new=True, location=place, same_as=equal_to, sent=name in sent)


def submitter() -> str:
    """`user@host`, for people; never part of a result."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _candidate(path: Path, change: Change) -> Candidate:
    where = str(path)
    name = configs.check_name(path.stem, where)
    before = configs.load(path)
    config = configs.merge(before, change.conf, change.settings)
    sources = check_config(config, where, change.allow_unknown)
    allowed = tuple(key for key in change.allow_unknown if key in config)
    if change.name:
        return Candidate(configs.check_name(change.name, "--name"), config, where, sources, allowed=allowed)
    # A merge that changes nothing is the file itself.
    if change.merges and configs.canonical(before) != configs.canonical(config):
        return Candidate(f"{name} as changed", config, where, sources, name, allowed)
    return Candidate(name, config, where, sources, allowed=allowed)


def check_config(config: Config, where: str, allow_unknown: Sequence[str] = ()) -> list[str]:
    """See that a config keeps all rules; returns its sources."""
    configs.check(config, where)
    if _is_search(config):
        search_config.parse(config, where)
    else:
        registry.check(config, where, allow_unknown)
    return configs.sources(config, where)


def _beside(where: str, name: str) -> str:
    """The file of another config in the same folder."""
    folder, slash, _ = where.rpartition(os.sep)
    return f"{folder}{slash}{name}.json"


def _with_sources(asked: Sequence[Candidate]) -> dict[str, Candidate]:
    """The candidates and, from the files beside them, their sources, by name."""
    by_name: dict[str, Candidate] = {}
    for candidate in asked:
        _check_same(by_name.setdefault(candidate.name, candidate), candidate)
    waiting = [candidate for candidate in asked if candidate.sources]
    read = {candidate.where for candidate in by_name.values() if not candidate.base}
    while waiting:
        child = waiting.pop()
        for source in child.sources:
            where = _beside(child.where, source)
            if where in read or not Path(where).exists():
                continue
            read.add(where)
            config = configs.load(Path(where))
            candidate = Candidate(source, config, where, check_config(config, where))
            _check_same(by_name.setdefault(source, candidate), candidate)
            waiting.append(candidate)
    return by_name


def _check_same(one: Candidate, other: Candidate) -> None:
    if one is not other and configs.canonical(one.config) != configs.canonical(other.config):
        raise ConfigError(f"{other.where}: {one.where} has the same name, {other.name}, and other content")


def _sources_first(files: Mapping[str, Candidate], known: Mapping[str, RunDocument]) -> list[Candidate]:
    for candidate in files.values():
        for source in candidate.sources:
            if source not in files and source not in known:
                beside = _beside(candidate.where, source)
                raise ConfigError(f'{candidate.where}: source "{source}" is neither in the queue nor a file: {beside}')
    try:
        names = list(
            TopologicalSorter({n: [s for s in c.sources if s in files] for n, c in files.items()}).static_order()
        )
    except CycleError as error:
        raise ConfigError(f"sources go round in a circle: {' -> '.join(reversed(error.args[1]))}") from error
    return [files[name] for name in names]


def _settle_name(
    db: Queue, candidate: Candidate, digest: str, known: dict[str, RunDocument], taken: set[str]
) -> Candidate:
    """The lettered run that computes this already, else the next free letter."""
    lettered = lookup.lettered(db, candidate.base)
    same = sorted((n for n, fingerprint in lettered.items() if fingerprint == digest), key=lambda n: (len(n), n))
    name = same[0] if same else configs.next_letter(candidate.base, lettered.keys() | taken)
    if same:
        known.update(lookup.identities(db, [name]))
    return candidate._replace(name=name, base="")


def _check_immutable(candidate: Candidate, digest: str, known: RunDocument | None) -> None:
    if known is None or known["fingerprint"] == digest:
        return
    changed = configs.difference(known["config"], candidate.config) or "a source of it is another one"
    raise ConfigError(
        f"{candidate.where}: the name {candidate.name} is taken by another config ({changed}); configs are immutable: "
        f"take a new name, or lay the change over it with --set"
    )
