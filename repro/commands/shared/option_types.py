"""Kinds of values that options take: sizes in bytes, levels of likeness."""

import math
import re
from typing import Any

import click

LEVELS = ("identical", "equal", "close")  # how like two results are, as far as one may ask for it
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Number(click.FloatRange):
    """A finite number in a range: `nan` is in none, and a time without end is what leaving the option away means."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


INT64 = click.IntRange(-(2**63), 2**63 - 1)
INT32 = click.IntRange(-(2**31), 2**31 - 1)


class Size(click.ParamType[int]):
    """Bytes: a number with or without a unit, decimal as disks are sold: 500MB, 50G, 1.5TB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", str(value).strip().upper())
        if parts is None:
            self.fail(f"{value!r} is no size; write bytes, or 500MB, 50GB, 1TB", param, ctx)
        return int(float(parts[1]) * UNITS[parts[2]])
