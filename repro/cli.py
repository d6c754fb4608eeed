"""The `repro` command: finds the subcommand, imports only that, and turns errors into one line each."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from repro.stages.errors import ReproError, refusal
from repro.stages.plain import is_text

# Kept here, not in the commands' modules, so that `repro --help` imports none of them.
COMMANDS = {
    "init": "Write a first config for a stage of a project.",
    "submit": "Submit configs, their sources first.",
    "worker": "Claim runs and execute them.",
    "run": "Run one config without a queue.",
    "status": "Show the queue at a glance.",
    "show": "Show all about runs.",
    "logs": "Print what a run has printed; -f follows it.",
    "diff": "Show how configs differ.",
    "code": "Unpack the code that computed a run, or compare that of two.",
    "losses": "Draw the curves of several runs in one plot.",
    "clone": "Make variations of a config under the next letters.",
    "tree": "Show which configs are near each other.",
    "breed": "Make crosses and mutations of configs.",
    "search": "Search for the best config.",
    "evolve": "Search by breeding the best of some runs.",
    "wait": "Wait until runs have ended.",
    "cancel": "Cancel runs that have not ended.",
    "retry": "Put failed or cancelled runs back into the queue.",
    "hold": "Keep runs from being claimed.",
    "unhold": "Let held runs be claimed again.",
    "priority": "Change which runs come first.",
    "ui": "Open the queue as a web page.",
    "workers": "Show who works, and what each has.",
    "drain": "Let workers finish and leave.",
    "verify": "Check whether today's code gives the same results.",
    "golden": "Keep what configs gave, and check that they still give it.",
    "metrics": "Print or serve the queue's figures for Prometheus.",
    "doctor": "Check MongoDB, the store, GPUs, disk and code.",
    "rebuild": "Rebuild the database from the store.",
    "gc": "Find and remove what nothing needs.",
    "server": "Look at or stop the embedded MongoDB.",
}


class Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"repro.commands.{cmd_name}"), cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names from the table: a Tab imports no command."""
        commands = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Lazy, epilog="Example: repro submit configs/model.json && repro worker --burst")
@click.version_option(package_name="repro-queue", prog_name="repro")
def repro() -> None:
    """Reproducible ML runs on a distributed queue backed by MongoDB."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process; `repro-submit` is `repro submit`, and so on."""
    _open_what_is_closed()
    _, _, short = Path(sys.argv[0]).name.partition("repro-")
    words = [*([short] if short in COMMANDS else []), *sys.argv[1:]]
    code = run(list(words if arguments is None else arguments))
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader has left, or it was closed from the start
            stream.flush()
    if "pymongo" in sys.modules:  # its threads would be waited for, half a second on the way out of every command
        os._exit(code)
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Standard streams that whoever started us has closed lead to nowhere: no file of ours is to get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123


def run(arguments: list[str]) -> int:
    """Run the command line; an error becomes one line on stderr and the exit code that it means."""
    try:
        for argument in arguments:
            if not is_text(argument):  # a document, a line and a file of JSON hold text alone
                raise ReproError(f"{argument!r} is no UTF-8 text; rename the file or folder, or write another word")
        return _call(arguments)
    except ReproError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output has left; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if told := refusal(error):
            click.echo(f"error: {told}", err=True)
            return 1
        raise


def _call(arguments: list[str]) -> int:
    """Call the command; errors of MongoDB's driver become ours, without importing it where it is not used."""
    try:
        code: Any = repro.main(arguments, prog_name="repro", standalone_mode=False)
        sys.stdout.flush()
    except Exception:
        if "pymongo" not in sys.modules:
            raise
        from repro.scheduler.server.connection import reachable

        with reachable():
            raise
    return code if isinstance(code, int) else 0
