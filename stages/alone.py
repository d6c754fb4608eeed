"""The five steps without a queue (R14): parse arguments, merge, make the folder, copy the config in, work."""

import argparse
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from stages import config as configs
from stages import files, manifest, provenance, registry
from stages.checkpoints import Checkpoints
from stages.errors import ConfigError, ReproError, Stopped
from stages.execution import execute
from stages.params import Params, check_keys
from stages.run import CONFIG, DIFF, MANIFEST, Metrics, Run

CHECKPOINTS = ".checkpoints"  # in the root; no run is called so


def main(stage: str, arguments: Sequence[str] | None = None) -> None:
    """`python -m stages.<stage> -c FILE`: run one config in a folder of its own, then exit the process."""
    try:
        folder = run_alone(stage, _parse(stage, arguments))
    except ReproError as error:
        sys.exit(_complain(str(error), error.exit_code))
    except Stopped as stopped:
        sys.exit(_complain(f"{stopped}; the same command with --resume goes on", 1))
    except Exception as error:  # the stage's own: its author needs the way to it, a user the last line
        traceback.print_exc()
        sys.exit(_complain(f"{type(error).__name__}: {error}", 1))
    print(folder)


def run_alone(stage: str, options: argparse.Namespace) -> Path:
    path = Path(options.config)
    name = configs.check_name(options.name or path.stem, str(path))
    config = configs.merge(configs.load(path), options.conf, options.set)
    configs.check(config, str(path))
    if config["stage"] != stage:
        raise ConfigError(
            f'{path}: "stage" is "{config["stage"]}"; run it with python -m {_module(str(config["stage"]))}'
        )
    check_keys(config, registry.keys(stage), str(path), options.allow_unknown)
    root = Path(options.root)
    inputs = {source: root / source for source in configs.sources(config)}
    digest = manifest.fingerprint_of(config, inputs)
    folder, kept = root / name, root / CHECKPOINTS / name
    if options.resume and folder.exists():
        _make_way(folder, config)
    if not (options.resume and (folder / CONFIG).exists()):
        _make_folder(folder, config)
        shutil.rmtree(kept, ignore_errors=True)  # of a folder that somebody has removed
    data = os.environ.get("REPRO_DATA") or str(Path.cwd())
    read_from = {source: path.resolve() for source, path in inputs.items()}
    checkpoints = Checkpoints(kept.resolve(), digest, registry.package(stage))
    params = Params(config)
    run = Run(name, params, read_from, folder.resolve(), data, options.hermetic, _report, checkpoints=checkpoints)
    result = execute(run)
    result.environment.update(provenance.code(registry.package(stage)))
    if result.unread:
        print(f"never read: {', '.join(result.unread)}", file=sys.stderr)
    for kind, seen in result.environment.get("undeclared", {}).items():
        print(f"not declared: {kind}: {', '.join(seen)}", file=sys.stderr)
    of_sources = {source: {"fingerprint": manifest.fingerprint_of_folder(f)} for source, f in inputs.items()}
    document = manifest.manifest(name, config, digest, of_sources, manifest.describe(folder), result)
    if result.environment.get("dirty"):
        files.create(folder / DIFF, provenance.diff(registry.package(stage)))
    files.create(folder / MANIFEST, document)
    shutil.rmtree(kept, ignore_errors=True)
    return folder


def _parse(stage: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_module(stage)}", description=f"Run stage {stage} without a queue."
    )
    parser.add_argument("-c", "--config", required=True, metavar="FILE", help="one flat JSON config")
    parser.add_argument("--conf", metavar="JSON", help="merged over the file before anything else")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="likewise, one key; repeatable")
    parser.add_argument("--name", help="of the folder, instead of the config's")
    parser.add_argument("--root", metavar="DIR", default="runs", help="where folders lie, sources too (default: runs)")
    parser.add_argument("--allow-unknown", action="store_true", help="accept keys that no code reads")
    parser.add_argument("--resume", action="store_true", help="go on where a killed run of this config left off")
    parser.add_argument("--hermetic", action="store_true", help="refuse reads of what is not declared")
    return parser.parse_args(arguments)


def _module(stage: str) -> str:
    return stage.partition(":")[0] if ":" in stage else f"stages.{stage}"


def _make_folder(folder: Path, config: configs.Config) -> None:
    """The folder, and in it the config, created exclusively: whoever finds one there changes nothing (R2, R3)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError
        files.create(folder / CONFIG, configs.pretty(config))
    except FileExistsError as error:
        unfinished = (folder / CONFIG).exists() and not (folder / MANIFEST).exists()
        raise ConfigError(
            f"{folder}: holds a config or other files already; nothing was changed; take another name or root"
            + (", or --resume if it was killed" if unfinished else "")
        ) from error
    except OSError as error:
        raise ConfigError(f"{folder}: can't be written: {error.strerror}") from error


def _make_way(folder: Path, config: configs.Config) -> None:
    """Drop the files of an attempt that did not end, which count for nothing: this one writes them again.

    Raises:
        ConfigError: it did end, or it was not an attempt at this config.
    """
    if (folder / MANIFEST).exists():
        raise ConfigError(f"{folder}: is finished; there is nothing to resume")
    has_config = (folder / CONFIG).exists()
    if has_config and (folder / CONFIG).read_bytes() != configs.pretty(config):
        raise ConfigError(f"{folder}: holds a run of another config; nothing was changed; take another name or root")
    for left in folder.iterdir():
        if has_config and left.is_dir():
            shutil.rmtree(left)
        elif (has_config and left.name != CONFIG) or left.name.startswith("."):  # the latter: half a copy of the config
            left.unlink()


def _report(step: int, total: int, metrics: Metrics) -> None:
    if sys.stderr.isatty() or step == total:
        figures = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        print(
            f"\r{step}/{total}  {figures}\033[K" if sys.stderr.isatty() else f"{step}/{total}  {figures}",
            end="" if sys.stderr.isatty() and step < total else "\n",
            file=sys.stderr,
            flush=True,
        )


def _complain(line: str, code: int) -> int:
    print("error:", *line.split(), file=sys.stderr)
    return code
