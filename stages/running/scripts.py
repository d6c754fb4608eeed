"""A script run as a stage: its flags from the config, its figures from what it prints, in the run's folder.

It runs in the stage's own process as `python train.py --lr=0.1` would, with the random numbers, libraries and watch of
any stage. It makes no checkpoints: killed, it begins from the beginning.
"""

import atexit
import json
import re
import runpy
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from repro.stages.errors import StageError
from repro.stages.plain import recorded
from repro.stages.run import Metrics, Run
from repro.stages.source import modules, scripts
from repro.stages.source.flow import COMPUTED, REQUIRED
from repro.stages.source.registry import Stage
from repro.stages.source.scripts import Option

FIGURE = re.compile(r"(?<![\w.])([A-Za-z][\w./-]*)=([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf))(?![\w.])", re.IGNORECASE)
COUNTS = ("step", "iter", "iteration", "epoch", "batch")  # names of what counts steps, the first that a line has
LONGEST = 2000  # characters of a line that is looked at


def stage_of(name: str) -> Stage:
    """The stage that runs a script."""
    module = scripts.module_of(name, "config")

    def run_script(run: Run) -> Metrics:
        file = str(modules.source(module))
        sys.argv = [file, *arguments(run, scripts.options(module))]
        with _figures_of(run) as told:
            try:
                runpy.run_path(file, run_name="__main__")
            except SystemExit as left:
                if left.code not in (None, 0):
                    raise StageError(f"{module}.py left with {left.code}; its log says why") from None
        return told

    return run_script


def arguments(run: Run, options: list[Option]) -> list[str]:
    """The command line of a script, from its config. `{source}`, `{source.NAME}` and `{data}` in a text stand for the
    folder of an input and the root of the data."""
    named, positional, config = list[str](), list[str](), run.params.config
    known, file = {option.key: option for option in options}, scripts.of_a_file(options)
    others = {key: run.params[key] for key in config if key not in known and not _is_the_products(key)}
    if file and file.key not in config and (others or file.default is REQUIRED):
        named += _pair(file.flags[-1], _written(others, run))
    else:
        named += [word for key, value in others.items() for word in _pair(f"--{key}", _text(value, run))]
    for key, option in known.items():  # in their order, which is that of the positional ones
        if key in config:
            (named if option.flags else positional).extend(_words(option, run.params[key], run))
        elif option is not file:
            _note_default(run, option)
    return [*positional, *named]  # behind an option of several values they would be taken for more of these


def _note_default(run: Run, option: Option) -> None:
    if option.default is REQUIRED:
        raise StageError(f'the config lacks "{option.key}", which the script needs')
    if option.default is not COMPUTED and option.key not in run.params.record():
        run.params.note(option.key, recorded(option.default), default=True)


def _written(config: Mapping[str, Any], run: Run) -> str:
    """The file of a config, for a script that reads one; it is no output."""
    path = Path(tempfile.mkdtemp(prefix="repro-")) / "config.json"
    plain = {key: _text(value, run) if isinstance(value, str) else value for key, value in config.items()}
    with path.open("x") as file:
        json.dump(plain, file)
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    return str(path)


def _is_the_products(key: str) -> bool:
    from repro.stages.source.keys import known_keys
    from repro.stages.source.registry import SET_UP

    return key in known_keys(SET_UP)


def _words(option: Option, value: Any, run: Run) -> list[str]:
    flag = next((flag for flag in option.flags if flag.startswith("--")), next(iter(option.flags), ""))
    if value is None:
        return []
    if option.action in ("store_true", "store_false"):
        return [flag] if value is (option.action == "store_true") else []
    if option.action == "boolean":
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if option.action == "count":
        return [flag] * int(value)
    values = [_text(one, run) for one in (value if isinstance(value, list) else [value])]
    if option.action == "append":
        return [word for one in values for word in _pair(flag, one)]
    return [*filter(None, [flag]), *values] if option.many or not flag else _pair(flag, " ".join(values))


def _pair(flag: str, value: str) -> list[str]:
    return [f"{flag}={value}"] if flag.startswith("--") else [flag, value]


def _text(value: Any, run: Run) -> str:
    if not isinstance(value, str):
        return repr(value)
    text = value.replace("{data}", run.data)
    for name, folder in run.inputs.items():
        text = text.replace(f"{{source.{name}}}", str(folder))
    return text.replace("{source}", str(run.source)) if "{source}" in text else text


@contextmanager
def _figures_of(run: Run) -> Iterator[Metrics]:
    """From the lines that a script prints, `step=10 loss=0.3` or `{"step": 10, "loss": 0.3}`; yields the last ones."""
    told: Metrics = {}
    out = sys.stdout
    sys.stdout = _Lines(out, lambda line: _tell(run, told, line))
    try:
        yield told
    finally:
        if isinstance(sys.stdout, _Lines):
            sys.stdout = out


class _Lines:
    """A stream that passes on what is written, and shows each line to a function."""

    def __init__(self, out: IO[str], show: Any) -> None:
        self._out, self._show, self._begun = out, show, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun[-LONGEST - 1 :] + text).split("\n")  # one that is cut stays too long
        count = self._out.write(text)
        for line in lines:
            if len(line) <= LONGEST:
                self._show(line)
        return count

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


def _tell(run: Run, told: Metrics, line: str) -> None:
    figures = _of_json(line) if line.startswith("{") else {name: _number(text) for name, text in FIGURE.findall(line)}
    step = next((name for name in COUNTS if isinstance(figures.get(name), int)), None)
    if step is None:
        return
    values = {name.replace(".", "_"): value for name, value in figures.items() if name != step}
    told.update(values)
    with suppress(StageError):  # what can be no step, or no figure, is a line of the log, and no fault of a print
        run.tell(int(figures[step]), None, values)


def _of_json(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    plain = found.items() if isinstance(found, dict) else ()
    return {str(name): value for name, value in plain if isinstance(value, bool | int | float)}


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
