"""What a stage or a user says, as text and numbers that every database, file and terminal can hold."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

LONGEST_TIME = 10 * 365 * 86400  # seconds: ten years; MongoDB's dates end, and nobody waits for longer
MOST = 10_000  # characters of a text that is kept
CUT = " ... (cut)"
SMALLEST, LARGEST = -(2**63), 2**63 - 1  # integers of BSON, and of most else
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # JSON has no word for them
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str, most: int = MOST) -> str:
    """A text cut to so many characters; what would steer a terminal, or is no Unicode, is shown escaped."""
    cut = text[:most] + CUT if len(text) > most else text
    return _ODD.sub(lambda odd: odd[0].encode("unicode_escape").decode(), cut)


def is_text(value: str) -> bool:
    """Whether it is Unicode: names of files and arguments may be bytes that are none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object, most: int = 200) -> str:
    """A value for a message, on one line, whatever its own `repr` does."""
    try:
        text = repr(value)
    except Exception:  # it is somebody else's code
        text = f"<{type(value).__name__}>"
    return clean(" ".join(text[: most + 1].split()), most)


def number(value: object) -> int | float | bool | None:
    """A number of Python, NumPy or torch as the plain one that it means; None for what is none.

    Arrays and tensors count if they have one element. Integers past 64 bits are none: BSON can't hold them.
    """
    if not isinstance(value, Real | Decimal) and (item := getattr(value, "item", None)) and _is_single(value):
        try:
            value = item()
        except Exception:  # of an object that only looks like an array
            return None
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value) if SMALLEST <= int(value) <= LARGEST else None
    if isinstance(value, float | Fraction | Decimal | Real):
        try:
            return float(value)
        except (OverflowError, ValueError):
            return None
    return None


def recorded(value: Any) -> Any:
    """A value as a document keeps it: texts, numbers and flat lists as they are, what else there is by its `repr`."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and SMALLEST <= value <= LARGEST:
        return value
    if isinstance(value, list | tuple):
        return [recorded(item) for item in value]
    return shown(value)


def strict(value: Any) -> Any:
    """The same value with nothing in it that JSON has no word for: figures that are not finite become texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list) and set(map(type, value)) == {float} and all(map(math.isfinite, value)):
        return value  # a curve: not asked one by one
    return [strict(item) for item in value] if isinstance(value, list | tuple) else value


def unstrict(strict_metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics that `strict` was given."""
    return {
        name: NOT_FINITE.get(value, value) if isinstance(value, str) else value
        for name, value in strict_metrics.items()
    }


def is_finite(value: object) -> bool:
    """Whether it is a number that is neither NaN nor infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def figure(value: object, digits: int = 4) -> str:
    """A figure as it is shown, with so many digits that count; whatever an older document holds in its place."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value, 40) if isinstance(value, str) else shown(value, 40)
    return f"{value:.{digits}g}"


def figures(metrics: Mapping[str, object], digits: int = 4) -> str:
    """Figures on one line."""
    return "  ".join(f"{clean(name, 40)} {figure(value, digits)}" for name, value in metrics.items())


def done(step: object, total: object) -> str:
    """`3/10`, or `3` where nobody knows how many there are."""
    return f"{shown(step, 20)}/{shown(total, 20)}" if total else shown(step, 20)


def _is_single(value: object) -> bool:
    size = getattr(value, "numel", None) or getattr(value, "size", None)
    try:
        return (size() if callable(size) else size) == 1
    except Exception:  # of an object that only looks like an array
        return False
