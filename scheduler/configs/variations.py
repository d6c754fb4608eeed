"""Variations of a config under the next free letters (R16): values to set, grids of them, samples of ranges.

Everything follows from the arguments and the seed. Files are created exclusively, never replaced.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache
from pathlib import Path

from repro.scheduler.configs.draws import BITS, Draws
from repro.stages import config as configs
from repro.stages import files
from repro.stages.config import Config, Value
from repro.stages.errors import ConfigError
from repro.stages.flat_json import INTEGERS

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
RANGE = re.compile(rf"(log:)?({NUMBER})\.\.({NUMBER})")
# A value of a comma-separated list: commas inside brackets and quotes are its own.
STRING = r'"(?:[^"\\]|\\.)*"'
PART = re.compile(rf'(?:{STRING}|\[(?:{STRING}|[^"\]])*\]|[^,"\[])+')
DIGITS = 4  # significant, of a sampled number: names and tables stay readable
TRIES = 100  # draws for each sample wanted, until there are enough that differ


# Logarithms and their inverse are rounded correctly by `decimal`, everywhere; the last bits of those in `math` are the
# C library's own, and a machine with another one would draw other numbers.
EXACT = Context(prec=25)


@dataclass(frozen=True)
class Span:
    """From `low` to `high`, both within; of integers if both are.

    A value has its place between 0 and 1: `at(place)` is the value, `place(value)` the place. Each integer of a span
    has an equal part of the way and its place in the middle, or by `log` the part from a half below to a half above.
    """

    low: int | float
    high: int | float
    log: bool = False

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, place: float) -> int | float:
        if self.log:
            low, high = self._logarithms()
            number = float(EXACT.exp(low + Decimal(place) * (high - low)))
        elif self.is_whole:
            number = int(self.low) + (int(place * 2**BITS) * self._count() >> BITS)
        else:
            number = self.low * (1 - place) + self.high * place  # `high - low` may be more than a float can hold
        if self.is_whole:
            return min(max(round(number), int(self.low)), int(self.high))
        return min(max(float(f"{number:.{DIGITS}g}"), float(self.low)), float(self.high))

    def place(self, value: int | float) -> float:
        """Of a value within the span."""
        if self.log:
            low, high = self._logarithms()
            return float((ln(value) - low) / (high - low))
        if self.is_whole:
            return (value - self.low + 0.5) / self._count()
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def part(self, value: int | float) -> tuple[float, float]:
        """From where to where a whole number of this span has the way for itself, by `log`."""
        low, high = self._logarithms()
        return float((ln(value - 0.5) - low) / (high - low)), float((ln(value + 0.5) - low) / (high - low))

    def draw(self, source: Draws) -> int | float:
        return self.at(source.unit())

    def _count(self) -> int:
        return int(self.high) - int(self.low) + 1

    def _logarithms(self) -> tuple[Decimal, Decimal]:
        half = 0.5 if self.is_whole else 0
        return ln(self.low - half), ln(self.high + half)


@lru_cache(maxsize=10_000)
def ln(number: int | float) -> Decimal:
    return EXACT.ln(Decimal(number))


Choice = list[Value] | Span


@dataclass(frozen=True)
class Clone:
    """A variation and its file; `new` is False for one that was there already."""

    name: str
    path: Path
    config: Config
    new: bool


def parse_choice(text: str) -> tuple[str, Choice]:
    """`lr=1e-3`, several values `lr=1e-2,1e-3`, a range `epochs=5..20`, one by orders of magnitude `lr=log:1e-4..0.1`.

    Raises:
        ConfigError: it has no key, or the range makes no sense.
    """
    key, equals, raw = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected key=value")
    if span := parse_range(raw, f"--set {text}"):
        return key, span
    parts = PART.findall(raw)
    if not parts or ",".join(parts) != raw:  # nothing, or a quote or bracket that is not closed: one string
        parts = [raw]
    return key, [configs.parse_setting(f"{key}={part}")[1] for part in parts]


def parse_range(text: str, where: str) -> Span | None:
    """`5..20` or `log:1e-4..0.1`; None if it is no range at all.

    Raises:
        ConfigError: the range makes no sense; `where` begins the message.
    """
    if not (match := RANGE.fullmatch(text)):
        return None
    is_log, low, high = bool(match[1]), _number(match[2]), _number(match[3])
    if any(end not in INTEGERS if isinstance(end, int) else math.isinf(end) for end in (low, high)):
        raise ConfigError(f"{where}: a range ends at numbers that fit in 64 bits")
    if low >= high or (is_log and low <= 0):
        raise ConfigError(f"{where}: a range goes from low to high" + (", above 0" if is_log else ""))
    return Span(low, high, is_log)


def grid(choices: Mapping[str, Choice]) -> list[Config]:
    """Every combination, the last key's values changing first.

    Raises:
        ConfigError: one of the choices is a range.
    """
    axes: list[list[Value]] = []
    for key, choice in choices.items():
        if isinstance(choice, Span):
            raise ConfigError(f"--set {key}: a range needs --random N, so many samples of it")
        axes.append(choice)
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*axes)]


def sample(choices: Mapping[str, Choice], count: int, seed: int) -> list[Config]:
    """So many different ones, the same for the same seed.

    Raises:
        ConfigError: there are not so many.
    """
    samples = dict[bytes, Config]()
    for number in range(TRIES * count):
        source = Draws(seed, number)
        change = {k: c.draw(source) if isinstance(c, Span) else source.choice(c) for k, c in choices.items()}
        samples.setdefault(configs.canonical(change), change)
        if len(samples) == count:
            return list(samples.values())
    raise ConfigError(f"--random {count}: only {len(samples)} different ones were found; widen the ranges")


def vary(config: Config, changes: Sequence[Config], where: str) -> list[Config]:
    """The config with each of the changes, each once, without those that are the config itself.

    Raises:
        ConfigError: none is left.
    """
    varied = {configs.canonical(other): other for change in changes if (other := config | change)}
    varied.pop(configs.canonical(config), None)
    if not varied:
        said = ", ".join(configs.canonical(change).decode() for change in changes)
        raise ConfigError(f"{where}: says so already: {said}; this would change nothing")
    return list(varied.values())


def place(
    base: str, varied: Sequence[Config], folder: Path, known: Mapping[str, Config], dry_run: bool = False
) -> Iterator[Clone]:
    """Each variation under its letter: the one that it has, as a file or among the `known` runs, else the next free.

    Raises:
        ConfigError: the base is no name, the folder can't be written, or a file in it can't be read.
    """
    configs.check_name(base, base)  # a rerun's is none: what was written after it could not be submitted
    of_files = _files(base, folder)
    for config in varied:
        while True:
            taken = dict(known) | of_files
            name, is_known = _name(base, config, taken)
            clone = Clone(name, folder / f"{name}.json", config, new=not (is_known and name in of_files))
            if not clone.new or dry_run or create(clone.path, clone.config):
                break
            of_files = _files(base, folder)  # somebody else was quicker
        of_files[name] = config
        yield clone


def create(path: Path, config: Config) -> bool:
    """Write a config into a new file; False if there is one.

    Raises:
        ConfigError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.create(path, configs.pretty(config))
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from error
    return True


def _name(base: str, config: Config, taken: Mapping[str, Config]) -> tuple[str, bool]:
    """The name, and whether this config has it already."""
    same = [
        name
        for name, other in taken.items()
        if other == config and configs.canonical(other) == configs.canonical(config)
    ]
    if same:
        return min(same, key=lambda name: (len(name), name)), True
    return configs.next_letter(base, set(taken)), False


def _files(base: str, folder: Path) -> dict[str, Config]:
    lettered = re.compile(rf"{re.escape(base)}[a-z]*")
    return {p.stem: configs.load(p) for p in sorted(folder.glob("*.json")) if lettered.fullmatch(p.stem)}


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
