"""A run without a queue: the five steps (R14): parse arguments, merge, make the folder, copy the config in, work.

`arguments` has the first of them for `python -m stages.train` and `python mine.py`; `repro run` is the same for every
stage.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.stages import config as configs
from repro.stages import files
from repro.stages.errors import ConfigError, StageError
from repro.stages.params import Params
from repro.stages.run import CONFIG, DIFF, MANIFEST, Run, own_file
from repro.stages.running import ending, manifest, resume, terminal_report
from repro.stages.running.checkpoints import Checkpoints
from repro.stages.running.collecting import Collector
from repro.stages.running.environment import asked_for, common_environment, start_again_in
from repro.stages.running.execution import execute
from repro.stages.source import provenance, registry
from repro.stages.source.keys import check_keys


@dataclass(frozen=True)
class Options:
    """What stands beside the config on a command line.

    Attributes:
        conf, settings: laid over the file before anything else (R7).
        name: of the folder, instead of the config's.
        root: the folder in which runs lie, those of the sources too.
        resume: go on where a killed run of this config left off.
        hermetic: refuse reads of what is not declared.
    """

    conf: str | None = None
    settings: Sequence[str] = ()
    name: str | None = None
    root: Path = Path("runs")
    allow_unknown: bool = False
    resume: bool = False
    hermetic: bool = False


def run_alone(path: Path, options: Options, stage: str | None = None) -> Path:
    """Run one config in a folder of its own; returns that folder.

    Args:
        stage: the one that the config must be for; None takes any.

    Raises:
        ReproError: the config, its sources or the folder are not as they must be.
        Stopped: the stage was told to stop, and has left a checkpoint.
    """
    return _run(path, _merged(path, options, stage), options)


def start(path: Path, options: Options, stage: str | None = None) -> Path:
    """`run_alone` as a command does it: in the environment that a run on the queue has.

    Nothing of the user's shell is to change a byte, so the process begins again without it.
    """
    config = _merged(path, options, stage)
    granted = asked_for((*registry.environment(str(config["stage"])), "REPRO_DATA"), os.environ)
    if config.get("gpus", 0):  # the cards that this process may see
        granted |= asked_for(("CUDA_VISIBLE_DEVICES",), os.environ)
    if not start_again_in(common_environment(os.environ) | granted):
        return _run(path, config, options)
    ending.adopt_orphans()
    return _run(path, config, options, _end)


def _end() -> None:
    """What a process does at its end, now: its folder is looked at next."""
    ending.finish()
    ending.kill_children()  # what the stage has left running must not write any more


def _run(
    path: Path, config: configs.Config, options: Options, end: Callable[[], None] = ending.flush_open_files
) -> Path:
    """The steps that follow the merge."""
    name = configs.check_name(options.name or path.stem, str(path))
    root = options.root
    inputs = {source: root / source for source in configs.sources(config)}
    digest = manifest.fingerprint_of(config, inputs)
    folder, kept = root / name, resume.checkpoints_of(root, name)
    held = resume.hold(folder) if options.resume else None
    if not (options.resume and resume.make_way(folder, config)):
        _make_folder(folder, config)
        held = resume.hold(folder)
        shutil.rmtree(kept, ignore_errors=True)  # of a folder that somebody has removed
    package = registry.package(str(config["stage"]))
    run = Run(
        name,
        Params(config),
        {source: place.resolve() for source, place in inputs.items()},
        folder.resolve(),
        os.environ.get("REPRO_DATA") or str(Path.cwd()),
        options.hermetic,
        terminal_report.progress,
        checkpoints=Checkpoints(kept.resolve(), digest, package),
        ending=end,
    )
    result = execute(run)
    _collect(run, config)
    result.environment.update(provenance.code(package))
    terminal_report.warn(result)
    of_sources = {source: {"fingerprint": manifest.fingerprint_of_folder(f)} for source, f in inputs.items()}
    document = manifest.manifest(name, config, digest, of_sources, manifest.describe(folder), result)
    if result.environment.get("dirty"):
        files.create(folder / DIFF, provenance.diff(package))
    files.create(folder / MANIFEST, document)
    shutil.rmtree(kept, ignore_errors=True)
    if held is not None:
        os.close(held)
    return folder


def _collect(run: Run, config: configs.Config) -> None:
    collector = Collector(run.out, run.inputs, run.links, own=(CONFIG,))
    collector.collect()
    if not (run.out / CONFIG).is_file() or (run.out / CONFIG).read_bytes() != configs.pretty(config):
        raise StageError(f"{CONFIG}: the stage has changed or removed the run's own copy of its config")
    for folder in collector.empty:
        terminal_report.note(f"not kept by a store: {folder}/ is empty")


def _merged(path: Path, options: Options, stage: str | None) -> configs.Config:
    config = configs.merge(configs.load(path), options.conf, options.settings)
    configs.check(config, str(path))
    if stage is not None and config["stage"] != stage:
        raise ConfigError(f'{path}: "stage" is "{config["stage"]}"; run it with: repro run {path}')
    check_keys(config, registry.keys(str(config["stage"]), str(path)), str(path), options.allow_unknown)
    return config


def _make_folder(folder: Path, config: configs.Config) -> None:
    """The folder, and in it the config, created exclusively: whoever finds one there changes nothing (R2, R3)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError
        files.create(folder / CONFIG, configs.pretty(config))
    except FileExistsError as error:
        unfinished = own_file(folder, CONFIG).exists() and not own_file(folder, MANIFEST).exists()
        raise ConfigError(
            f"{folder}: holds a config or other files already; nothing was changed; take another name or root"
            + (", or --resume if it was killed" if unfinished else "")
        ) from error
    except OSError as error:
        raise ConfigError(f"{folder}: can't be written: {error.strerror}") from error
