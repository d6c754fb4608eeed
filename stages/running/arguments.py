"""The command line of one stage: `python mine.py -c model.json`; in a clone `python -m stages.train -c model.json`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from repro.stages.running.standalone import Options, start
from repro.stages.running.terminal_report import exit_code


def main(stage: str, arguments: Sequence[str] | None = None) -> None:
    """Run one config of this stage in a folder of its own; exits the process if that does not go well.

    Args:
        stage: as a config names it, such as `"mine:train"`.
        arguments: of the command line; None takes this process' own.
    """
    given = _parse(stage, arguments)
    options = Options(
        given.conf, given.set, given.name, Path(given.root), given.allow_unknown, given.resume, given.hermetic
    )
    if code := exit_code(lambda: start(Path(given.config), options, stage)):
        sys.exit(code)


def _parse(stage: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    module, _, _ = stage.partition(":")
    command = f"python -m {module if ':' in stage else f'stages.{stage}'}"
    parser = argparse.ArgumentParser(prog=command, description=f"Run stage {stage} without a queue.")
    parser.add_argument("-c", "--config", required=True, metavar="FILE", help="The config, one flat JSON object.")
    parser.add_argument("--conf", metavar="JSON", help="Merge this JSON object over the config before anything else.")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="Set one key in the same way; may be given again.",
    )
    parser.add_argument("--name", help="The name of the folder, instead of the file's name.")
    parser.add_argument(
        "--root",
        metavar="DIR",
        default="runs",
        help="The folder in which the runs' folders are, those of the sources included (default: runs).",
    )
    parser.add_argument(
        "--allow-unknown",
        metavar="KEY",
        action="append",
        default=[],
        help="Accept this key though no code of the stage reads it; may be given again.",
    )
    parser.add_argument("--resume", action="store_true", help="Go on where a killed run of this config stopped.")
    parser.add_argument("--hermetic", action="store_true", help="Fail if the stage reads what is not declared.")
    return parser.parse_args(arguments)
