"""What an address asks for; and the commands that say the same."""

import math
import re
import shlex
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request

from repro.pages import compare, curves
from repro.pages.runs import MOST, PAGE, Query
from repro.stages.errors import ConfigError, ReproError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}")


def name(request: Request) -> str:
    """The run that a path names.

    Raises:
        ReproError: no run can be called so.
    """
    text = str(request.path_params["name"])
    if not NAME.fullmatch(text):
        raise ReproError("no run can be called so")
    return text


def of_runs(request: Request) -> Query:
    """
    Raises:
        ConfigError: a word of it says nothing.
    """
    return of_list(request.query_params)


def of_list(asked: QueryParams) -> Query:
    """
    Raises:
        ConfigError: a word of it says nothing.
    """
    return Query(
        states=_words(asked, "state"),
        stages=_words(asked, "stage"),
        tags=_words(asked, "tag"),
        names=_words(asked, "name"),
        where=[text for text in asked.getlist("where") if text.strip()],
        sort=asked.get("sort", ""),
        columns=_words(asked, "columns"),
        after=asked.get("after"),
        limit=whole(asked, "limit", PAGE, MOST),
    )


def said(request: Request) -> dict[str, Any]:
    """What a page of a list says of its question."""
    query = of_runs(request)
    return {"asked": query, "command": command(query)}


def whole(asked: QueryParams, key: str, default: int, most: int) -> int:
    """A number of an address.

    Raises:
        ConfigError: it is none, or too large.
    """
    text = asked.get(key, "")
    if text and not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= most):
        raise ConfigError(f"{key}={text[:40]}: a whole number from 1 to {most}")
    return int(text) if text else default


def integer(asked: QueryParams, key: str) -> int:
    """A number of a form, 0 where it is empty.

    Raises:
        ConfigError: it is none.
    """
    text = asked.get(key, "") or "0"
    try:
        return int(text[:20])
    except ValueError as error:
        raise ConfigError(f"{key}: {text[:20]!r} is no whole number") from error


def number(asked: QueryParams, key: str, default: float) -> float:
    """A place on an axis.

    Raises:
        ConfigError: it is none.
    """
    text = asked.get(key, "")
    if text and not (len(text) <= 40 and is_number(text) and math.isfinite(float(text))):
        raise ConfigError(f"{key}={text[:40]}: a number")
    return float(text) if text else default


def of_curves(request: Request) -> curves.Query:
    """
    Raises:
        ConfigError: a word of it says nothing.
    """
    asked = request.query_params
    return curves.Query(
        names=_words(asked, "names"),
        figures=_said(asked, "figure"),
        columns=whole(asked, "columns", curves.COLUMNS, curves.MOST_COLUMNS),
        begin=number(asked, "begin", -math.inf),
        end=number(asked, "end", math.inf),
    )


def of_compare(request: Request) -> compare.Query:
    """
    Raises:
        ConfigError: a word of it says nothing.
    """
    asked = request.query_params
    return compare.Query(
        names=_words(asked, "names"),
        tab=asked.get("tab") or "diff",
        sort=asked.get("sort", ""),
        base=asked.get("base", ""),
        figures=_said(asked, "figure"),
        x=asked.get("x", ""),
        y=asked.get("y", ""),
        log_x=bool(asked.get("log_x")),
        log_y=bool(asked.get("log_y")),
        axes=_said(asked, "axes"),
        path=asked.get("path", ""),
    )


def said_of_compare(request: Request) -> dict[str, Any]:
    """What a page of a comparison says of its question."""
    query = of_compare(request)
    return {"asked": query, "tabs": compare.TABS, "command": command_of_compare(query)}


def command_of_compare(query: compare.Query) -> str:
    """The command that says the same."""
    if query.tab == "curves":
        return shlex.join(["repro", "losses", *query.names, *(w for f in query.figures for w in ("--figure", f))])
    words = ["repro", "diff", *query.names, "--metrics"]
    words += ["--sort", query.sort] if query.sort else []
    return shlex.join([*words, *(["--base", query.base] if query.base else [])])


def command(query: Query) -> str:
    """The command that shows the same list."""
    words = ["repro", "status", *query.names]
    for option, values in (("--state", query.states), ("--stage", query.stages), ("--tag", query.tags)):
        words += [word for one in values for word in (option, one)]
    words += [word for text in query.where for word in ("--where", text)]
    words += ["--sort", query.sort] if query.sort else []
    return shlex.join([*words, "-n", str(query.limit)])


def changes(asked: QueryParams) -> dict[str, str]:
    """The changed keys of the form of a variation: fields called `set.KEY`, and lines `KEY=VALUE` of `more`.

    Raises:
        ConfigError: a line is none.
    """
    found = {key.removeprefix("set."): text for key, text in asked.multi_items() if key.startswith("set.") and text}
    for line in filter(None, map(str.strip, asked.get("more", "").splitlines())):
        key, equals, text = line.partition("=")
        if not equals:
            raise ConfigError(f"{line!r}: write KEY=VALUE, one a line")
        found[key.strip()] = text.strip()
    return found


def metric(request: Request) -> str:
    return request.query_params.get("metric", "")


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _said(asked: QueryParams, key: str) -> Sequence[str]:
    """The words of a field that may be given again; each may hold commas."""
    return [word for word in asked.getlist(key) if word]


def _words(asked: QueryParams, key: str) -> Sequence[str]:
    return [word for text in asked.getlist(key) for word in text.split(",") if word]
