"""Golden configs: configs of earlier days with what they gave, rerun on today's code without any queue.

A folder of them, in a repository, is read by people and by CI:

    model.json          the config, and beside it those that it names as its sources
    data/               what relative masks are resolved against, if it is there (else REPRO_DATA)
    results/model/      `repro-run.json` of the run that was recorded, and its small outputs, for other hardware

Nothing in it is ever replaced: what a config gave stays what it gave.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from io import StringIO
from pathlib import Path
from typing import Any

from repro.stages import config as configs
from repro.stages.errors import ConfigError, ReproError
from repro.stages.own_files import MANIFEST, own_file
from repro.stages.running.standalone import Options, run_alone, start_again_for
from repro.stages.running.warming import warm_up
from repro.worker.audit import file_values, result_comparison
from repro.worker.audit.result_comparison import (
    HARDWARE,
    Finding,
    Level,
    Tolerance,
    changed_data,
    compare_files,
    varies,
    varying,
)

SMALL = 1 << 16  # bytes up to which an output itself is kept, if a reader knows its values
RESULTS, DATA = "results", "data"


@dataclass(frozen=True)
class Checked:
    """A golden config on today's code. `unknown`: outputs that only the recorded hardware could compare."""

    name: str
    findings: list[Finding]
    same_hardware: bool
    unknown: list[str]
    error: str = ""

    @property
    def level(self) -> Level:
        worst = max((finding.level for finding in self.findings), default=Level.IDENTICAL)
        return Level.DIFFERENT if self.error else worst


def take(folder: Path, paths: Sequence[Path]) -> list[str]:
    """Copy configs and their sources into the folder; their names, sources first.

    Raises:
        ConfigError: a name is there already with other content.
    """
    for path in paths:
        _copy_with_sources(path, folder)
    return _sources_first(folder, [path.stem for path in paths])


def be_where_they_run(folder: Path, names: Sequence[str]) -> None:
    """Begin this process again in the environment that these configs have on the queue (`start_again_for`)."""
    start_again_for([configs.load(folder / f"{name}.json") for name in names])


def add(folder: Path, names: Sequence[str], root: Path) -> list[str]:
    """Run configs that were taken, below `root`, and keep what they gave; the new names.

    Raises:
        ReproError: a run can't be made; nothing of it is kept.
    """
    added = []
    for name in names:
        made = _run(folder, name, root)
        kept = folder / RESULTS / name
        if kept.exists():
            continue
        kept.mkdir(parents=True)
        for output in _outputs(made):
            path = made / output["path"]
            if output["size"] <= SMALL and path.suffix.lower() in file_values.READERS:
                (kept / output["path"]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, kept / output["path"])
        shutil.copyfile(own_file(made, MANIFEST), kept / MANIFEST)
        added.append(name)
    return added


def kept_there(folder: Path, names: Sequence[str]) -> list[str]:
    """Every golden config, or these, and what they come from, sources first.

    Raises:
        ConfigError: there is none of that name.
    """
    known = _known(folder)
    if missing := [name for name in names or ["*"] if name not in known and (names or not known)]:
        raise ConfigError(f"{folder / RESULTS}: no golden config {', '.join(missing)}; repro golden add makes one")
    return _sources_first(folder, names or known)


def check(folder: Path, names: Sequence[str], root: Path, within: Tolerance) -> Iterator[Checked]:
    """Run these golden configs, sources first, below `root`, and compare those of which the result was kept."""
    known = _known(folder)
    for name in names:
        try:
            made = _run(folder, name, root)
        except Exception as error:  # whatever today's code raises is the finding
            told = str(error) if isinstance(error, ReproError) else f"{type(error).__name__}: {error}"
            yield Checked(name, [], True, [], told)
            continue
        if name in known:
            yield _compare(name, folder / RESULTS / name, made, within)


def _known(folder: Path) -> list[str]:
    return sorted(kept.name for kept in (folder / RESULTS).glob("*") if own_file(kept, MANIFEST).exists())


def _compare(name: str, kept: Path, made: Path, within: Tolerance) -> Checked:
    then, now = (json.loads(own_file(place, MANIFEST).read_bytes()) for place in (kept, made))
    patterns = varying(then) | varying(now)
    before, after = (
        {o["path"]: o["sha256"] for o in side["outputs"] if not varies(o["path"], patterns)} for side in (then, now)
    )
    same_hardware = all(then["environment"].get(key) == now["environment"].get(key) for key in HARDWARE)
    findings, unknown = [], []
    for path in sorted(before.keys() | after.keys()):
        if path not in before or path not in after:
            findings.append(Finding(path, Level.DIFFERENT, why="is new" if path in after else "is not made any more"))
        elif before[path] == after[path]:
            findings.append(Finding(path, Level.IDENTICAL))
        elif (kept / path).exists():
            findings.append(compare_files(path, kept / path, made / path, within))
        elif same_hardware:
            findings.append(Finding(path, Level.DIFFERENT, why="other bytes; its values were not kept"))
        else:
            unknown.append(path)
    findings += changed_data(then, now, findings)
    return Checked(name, findings, same_hardware, unknown)


def _run(folder: Path, name: str, root: Path) -> Path:
    """Run one config alone; one that ran already below this root is left."""
    if own_file(root / name, MANIFEST).exists():
        return root / name
    path = folder / f"{name}.json"
    warm_up()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # progress, and what the stage prints
        return run_alone(path, Options(root=root))


def _copy_with_sources(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [path]
    for one in waiting:
        config = configs.load(one)
        target = folder / f"{configs.check_name(one.stem, str(one))}.json"
        with suppress(FileExistsError), target.open("xb") as file:
            file.write(one.read_bytes())
        if configs.canonical(configs.load(target)) != configs.canonical(config):
            raise ConfigError(f"{target}: is another config than {one}; golden configs never change: take a new name")
        beside = [one.parent / f"{source}.json" for source in configs.sources(config, str(one))]
        waiting += [source for source in beside if source not in waiting]


def _sources_first(folder: Path, names: Sequence[str]) -> list[str]:
    """These and all that they come from, in an order in which they can run."""
    above: dict[str, list[str]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in above:
            above[name] = configs.sources(configs.load(folder / f"{name}.json"))
            waiting += above[name]
    return list(TopologicalSorter(above).static_order())


def _outputs(made: Path) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = json.loads(own_file(made, MANIFEST).read_bytes())["outputs"]
    return outputs


def is_worse(checked: Checked, level: str | None) -> bool:
    """Whether it is worse than asked for: by default identical, or close on other hardware."""
    return result_comparison.is_worse(checked.level, checked.same_hardware, level)
