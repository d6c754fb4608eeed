"""What an address asks for; and the commands that say the same."""

import math
import re
import shlex
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from repro.pages import compare, curves, runs
from repro.pages.runs import MOST, PAGE, Query
from repro.scheduler.configs.spelling import to_csv
from repro.scheduler.queue import finding, lookup
from repro.stages.errors import ConfigError, ReproError
from repro.web import answers
from repro.web.context import Context
from repro.web.templating import path_part, value

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet would begin to compute


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
    asked = request.query_params
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


def number(asked: QueryParams, key: str, default: float) -> float:
    """A place on an axis.

    Raises:
        ConfigError: it is none.
    """
    text = asked.get(key, "")
    if text and not (len(text) <= 40 and _is_number(text) and math.isfinite(float(text))):
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
        figures=[name for name in asked.getlist("figure") if name],
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
        figures=[name for name in asked.getlist("figure") if name],
        x=asked.get("x", ""),
        y=asked.get("y", ""),
        log_x=bool(asked.get("log_x")),
        log_y=bool(asked.get("log_y")),
        axes=[key for key in asked.getlist("axes") if key],
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


def curves_as_json(context: Context, request: Request) -> Response:
    """Parts of curves. They are not kept for other viewers: they are large, and each drawing asks for its own."""
    return answers.as_json(curves.view(context.db, context.open_store, of_curves(request)))


def command(query: Query) -> str:
    """The command that shows the same list."""
    words = ["repro", "status", *query.names]
    for option, values in (("--state", query.states), ("--stage", query.stages), ("--tag", query.tags)):
        words += [word for one in values for word in (option, one)]
    words += [word for text in query.where for word in ("--where", text)]
    words += ["--sort", query.sort] if query.sort else []
    return shlex.join([*words, "-n", str(query.limit)])


def search(context: Context, request: Request) -> Response:
    """From the box on every page: a run's name, the beginning of a fingerprint or of an output's SHA-256, a tag, or a
    pattern of names."""
    text = request.query_params.get("q", "").strip()
    found = finding.named(context.db, text) if text else None
    if found is not None:
        return RedirectResponse(f"./runs/{path_part(found)}", 303)
    if not text:
        return RedirectResponse("./runs", 303)
    kind = "tag" if finding.is_tag(context.db, text) else "name"
    pattern = text if kind == "tag" or lookup.is_pattern(text) else f"*{text}*"
    return RedirectResponse(f"./runs?{kind}={path_part(pattern)}", 303)


def runs_as_csv(context: Context, request: Request) -> Response:
    """The rows of one page of a list, without anything that a spreadsheet would compute."""
    view = runs.view(context.db, of_runs(request))
    rows = [["name", "state", "stage", *view["columns"]]]
    for run in view["runs"]:
        cells = (runs.cell(run, key) for key in view["columns"])
        rows.append([run["_id"], run["state"], run["stage"], *(value(v) if kind else "" for v, kind in cells)])
    text = to_csv([[_harmless(cell) for cell in row] for row in rows])
    headers = {"Content-Disposition": 'attachment; filename="runs.csv"'}
    return Response(text.encode("utf-8", "replace"), media_type="text/csv; charset=utf-8", headers=headers)


def _harmless(cell: str) -> str:
    """A number may begin with a sign, a text not: it would be a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _words(asked: QueryParams, key: str) -> Sequence[str]:
    return [word for text in asked.getlist(key) for word in text.split(",") if word]
