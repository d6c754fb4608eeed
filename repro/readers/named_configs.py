"""What a user names, to be compared: runs of the queue, patterns of their names, files and run folders, mixed."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.scheduler.configs.comparison import Subject
from repro.stages import config as configs
from repro.stages.config import Config, Value
from repro.stages.errors import ConfigError, ReproError
from repro.stages.own_files import CONFIG, MANIFEST, own_file
from repro.stages.plain import unstrict
from repro.stages.source import registry

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.scheduler.server.connection import Queue

FIELDS = {"config": 1, "params": 1, "metrics": 1, "sources": 1, "unread": 1}


class Reader:
    """Reads each thing once; the queue is asked only if a word names no file."""

    def __init__(self, connect: Callable[[], "Queue"]) -> None:
        self._connect = connect
        self._runs: dict[str, Subject] = {}
        self._files: dict[Path, Subject] = {}

    @cached_property
    def db(self) -> "Queue":
        return self._connect()

    def subjects(self, words: Sequence[str], lineage: bool = False) -> list[Subject]:
        """In the order named; a pattern stands for the runs that it fits, sorted.

        Raises:
            ReproError: a name, a pattern or a file is not there, or is no config.
        """
        from repro.scheduler.queue.lookup import is_pattern

        named = [word for word in words if not is_local(word)]
        fitting = {word: self._fitting(word) for word in named if is_pattern(word)}
        self._fetch([word for word in named if word not in fitting] + [n for names in fitting.values() for n in names])
        subjects: dict[str, Subject] = {}
        for word in words:
            if is_local(word):
                subject = self._local(Path(word), lineage)
                name = subject.name if subject.name not in subjects else word
                subjects[name] = replace(subject, name=name)
            else:
                for name in fitting.get(word, [word]):
                    subjects[name] = self._run(name, lineage)
        return list(subjects.values())

    def _fitting(self, pattern: str) -> list[str]:
        from repro.scheduler.queue import lookup

        if not (names := lookup.fitting(self.db, pattern)):
            raise ReproError(f"no run fits {pattern}; repro status lists them")
        return names

    def _fetch(self, names: Iterable[str]) -> None:
        """Read these runs at once."""
        from repro.scheduler.queue import lookup

        if missing := [name for name in names if name not in self._runs]:
            for run in lookup.runs(self.db, missing, FIELDS):
                self._runs[run["_id"]] = of_run(run)

    def _run(self, name: str, lineage: bool) -> Subject:
        self._fetch([name])
        subject = self._runs[name]
        return self._with_ancestors(subject, self._of_queue) if lineage else subject

    def _of_queue(self, names: Sequence[str]) -> list[Subject]:
        self._fetch(names)
        return [self._runs[name] for name in names]

    def _local(self, path: Path, lineage: bool) -> Subject:
        subject = self._file(path)
        return self._with_ancestors(subject, lambda names: self._beside(path, names)) if lineage else subject

    def _file(self, path: Path) -> Subject:
        if path not in self._files:
            self._files[path] = of_folder(path) if path.is_dir() else of_file(path)
        return self._files[path]

    def _beside(self, path: Path, names: Sequence[str]) -> list[Subject]:
        """Sources, from beside a file or folder; from the queue where they do not lie there."""
        places = {name: path.with_name(name + path.suffix) for name in names}
        self._fetch([name for name, place in places.items() if not place.exists()])
        return [self._file(place) if place.exists() else self._runs[name] for name, place in places.items()]

    def _with_ancestors(self, subject: Subject, find: Callable[[Sequence[str]], list[Subject]]) -> Subject:
        ancestors: dict[str, Subject] = {}
        waiting = configs.sources(subject.config, subject.name)
        while waiting:
            fresh = find([name for name in dict.fromkeys(waiting) if name not in ancestors])
            ancestors |= {source.name: source for source in fresh}
            waiting = [n for s in fresh for n in configs.sources(s.config, s.name) if n not in ancestors]
        return replace(subject, ancestors=list(ancestors.values()))


def is_local(word: str) -> bool:
    """A file or a folder; a bare name is a run, whatever lies here under it."""
    return word.endswith(".json") or ("/" in word and Path(word).exists())


def of_run(run: "RunDocument") -> Subject:
    """A run of the queue. One that has not ended well has recorded no defaults: those of today's code stand in."""
    params = run.get("params")
    defaults = _recorded(params) if params else defaults_of_code(run["config"])
    return Subject(run["_id"], run["config"], defaults, run.get("metrics") or {}, unread=run.get("unread", ()))


def of_file(path: Path) -> Subject:
    config = configs.load(path)
    return Subject(path.stem, config, defaults_of_code(config))


def of_folder(folder: Path) -> Subject:
    """A folder that a run left: `runs/model` of `python -m stages.train`, or one of the store."""
    config = configs.load(own_file(folder, CONFIG))
    mark = own_file(folder, MANIFEST)
    if not mark.exists():
        return Subject(folder.name, config, defaults_of_code(config))
    try:
        manifest = json.loads(mark.read_bytes())
        read = manifest["params"]
        unread = configs.unread(config, read)
        return Subject(manifest["name"], config, _recorded(read), unstrict(manifest["metrics"]), unread=unread)
    except (ValueError, KeyError, TypeError) as error:
        raise ReproError(f"{mark}: is broken: {error}") from error


def defaults_of_code(config: Config) -> dict[str, Value]:
    """The defaults that a config would get if it ran on this code; none for a stage that is not here."""
    try:
        known = registry.keys(str(config.get("stage", "")))
    except ConfigError:
        return {}
    defaults = {key: value for key, value in known.items() if key not in ("stage", "source")}
    # None stands for a default that is no literal, too.
    return {key: value for key, value in defaults.items() if isinstance(value, str | int | float | list)}


def _recorded(params: dict[str, Any]) -> dict[str, Value]:
    return {key: read["value"] for key, read in params.items() if read["default"]}
