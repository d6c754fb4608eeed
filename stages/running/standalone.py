"""A run without a queue: the five steps (R14): parse arguments, merge, make the folder, copy the config in, work.

`arguments` has the first of them for `python -m stages.train` and `python mine.py`; `repro run` is the same for every
stage.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.stages import config as configs
from repro.stages import files
from repro.stages.errors import ConfigError, StageError
from repro.stages.own_files import CONFIG, CURVES, DIFF, MANIFEST, own_file
from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running import manifest, outputs, own_process, resume, terminal_report
from repro.stages.running.checkpoints import Checkpoints
from repro.stages.running.environment import asked_for, common_environment, start_again_in
from repro.stages.source import provenance, registry


@dataclass(frozen=True)
class Options:
    """What stands beside the config on a command line.

    Attributes:
        conf, settings: laid over the file before anything else (R7).
        name: of the folder, instead of the config's.
        root: the folder in which runs lie, those of the sources too.
        allow_unknown: keys that no code of the stage need read.
        resume: go on where a killed run of this config left off.
        hermetic: refuse reads of what is not declared.
    """

    conf: str | None = None
    settings: Sequence[str] = ()
    name: str | None = None
    root: Path = Path("runs")
    allow_unknown: Sequence[str] = ()
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
    """`run_alone` as a command does it: in the environment that a run on the queue has."""
    config = _merged(path, options, stage)
    start_again_for([config])
    return _run(path, config, options)


def start_again_for(several: Sequence[configs.Config]) -> None:
    """Begin this process again in the environment that runs of these configs have on the queue.

    Nothing of the user's shell is to change a byte.
    """
    wanted = ["REPRO_DATA", *(name for config in several for name in registry.environment(str(config["stage"])))]
    if any(config.get("gpus", 0) for config in several):  # the cards that this process may see
        wanted.append("CUDA_VISIBLE_DEVICES")
    start_again_in(common_environment(os.environ) | asked_for(wanted, os.environ))


def _run(path: Path, config: configs.Config, options: Options) -> Path:
    """The steps that follow the merge."""
    name = configs.check_name(options.name or path.stem, str(path))
    root = options.root
    inputs = {source: root / source for source in configs.sources(config)}
    digest = manifest.fingerprint_of(config, inputs)
    folder, kept = root / name, resume.checkpoints_of(root, name)
    with files.held(kept.with_name(f"{name}.lock"), f"{folder}: a run of this name is under way"):
        return _run_in(folder, kept, name, config, digest, inputs, options)


def _run_in(
    folder: Path, kept: Path, name: str, config: configs.Config, digest: str, inputs: dict[str, Path], options: Options
) -> Path:
    if not (options.resume and resume.make_way(folder, config)):
        _make_folder(folder, config)
        shutil.rmtree(kept, ignore_errors=True)  # of a folder that somebody has removed
    module = registry.locate(str(config["stage"])).partition(":")[0]
    run = Run(
        name,
        Params(config),
        {source: place.resolve() for source, place in inputs.items()},
        folder.resolve(),
        os.environ.get("REPRO_DATA") or str(Path.cwd()),
        options.hermetic,
        terminal_report.progress,
        checkpoints=Checkpoints(
            kept.resolve(), manifest.fingerprint_of(registry.of_checkpoints(config), inputs), module
        ),
        curve_file=folder.resolve() / CURVES,
    )
    code = provenance.snapshot(str(config["stage"]))
    for place in inputs.values():
        manifest.check_outputs(place)
    result = own_process.compute(run)
    for place in inputs.values():
        manifest.check_outputs(place)
    found = outputs.collect(run.out, run.inputs, result.links, (CONFIG, CURVES))
    if not (folder / CONFIG).exists():
        raise StageError(f"{folder}: the stage has removed the run's own {CONFIG}, and its outputs with it")
    result.environment.update(code.facts)
    for remark in terminal_report.remarks(result, found.empty):
        print(remark, file=sys.stderr)
    of_sources = {source: {"fingerprint": manifest.fingerprint_of_folder(f)} for source, f in inputs.items()}
    listed = manifest.describe(folder, [*found.files, *found.links])
    document = manifest.manifest(name, config, digest, of_sources, listed, result)
    if code.diff:
        files.create(folder / DIFF, code.diff)
    files.create(folder / MANIFEST, document)
    shutil.rmtree(kept, ignore_errors=True)
    return folder


def _merged(path: Path, options: Options, stage: str | None) -> configs.Config:
    config = configs.merge(configs.load(path), options.conf, options.settings)
    configs.check(config, str(path))
    if stage is not None and config["stage"] != stage:
        raise ConfigError(f'{path}: "stage" is "{config["stage"]}"; run it with: repro run {path}')
    registry.check(config, str(path), options.allow_unknown)
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
