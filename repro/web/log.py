"""A run's log: its end first, and the whole as a text."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from repro.readers.log_reader import Follower
from repro.scheduler.queue import lookup
from repro.scheduler.server.connection import server_time
from repro.stages.errors import StageError
from repro.web import queries
from repro.web.context import Context

LINES, MOST_LINES = 500, 20_000
COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_ANSI = re.compile(r"\x1b\[([0-9;]*)m|\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")


def view(context: Context, request: Request) -> Mapping[str, Any]:
    """`run`, `lines` (each a list of (class, text)), `attempt`, `attempts`, `missing` (why there is none).

    Raises:
        ReproError: there is no such run, or the store can't be reached.
    """
    run = lookup.run(context.db, queries.name(request))
    lines = queries.whole(request.query_params, "lines", LINES, MOST_LINES)
    text, missing = _text(context, request, lines)
    shown = [coloured(collapsed(line)) for line in text.split("\n")] if text else []
    return {
        "now": server_time(context.db),
        "run": {key: run.get(key) for key in ("_id", "state", "stage", "lease")},
        "attempt": _attempt(request),
        "attempts": sum(entry["to"] == "running" for entry in run["history"]),
        "lines": shown[:-1] if shown and shown[-1] == [] else shown,
        "asked": lines,
        "missing": missing,
    }


def text(context: Context, request: Request) -> Response:
    """All of it, as it was printed."""
    found, missing = _text(context, request, None)
    return Response((found or f"{missing}\n").encode("utf-8", "replace"), media_type="text/plain; charset=utf-8")


def _text(context: Context, request: Request, lines: int | None) -> tuple[str, str | None]:
    run, number = lookup.run(context.db, queries.name(request)), _attempt(request)
    follower = Follower(context.db, context.open_store, lines)
    try:
        return (follower.attempt(run, number) if number else "".join(follower.texts(run, follow=False))), None
    except StageError as error:
        return "", str(error)


def _attempt(request: Request) -> int | None:
    return queries.whole(request.query_params, "attempt", 0, 1_000_000) or None


def collapsed(line: str) -> str:
    """What a terminal would show of a line that was drawn over itself: a progress bar's last state."""
    return line.rstrip("\r").rpartition("\r")[2]


def coloured(line: str) -> list[tuple[str, str]]:
    """The pieces of a line and their classes; other codes of terminals are left out."""
    pieces, begin, classes = list[tuple[str, str]](), 0, dict[str, str]()
    for code in _ANSI.finditer(line):
        if code.start() > begin:
            pieces.append((" ".join(classes.values()), line[begin : code.start()]))
        begin = code.end()
        if code[1] is not None:
            classes = _after(classes, code[1])
    if begin < len(line):
        pieces.append((" ".join(classes.values()), line[begin:]))
    return pieces


def _after(classes: dict[str, str], codes: str) -> dict[str, str]:
    for code in (int(text or 0) for text in codes.split(";") if len(text) < 4):
        if code == 0:
            classes = {}
        elif code == 1:
            classes = classes | {"weight": "bold"}
        elif 30 <= code <= 37 or 90 <= code <= 97:
            classes = classes | {"colour": f"ansi-{COLOURS[code % 10]}"}
        elif code == 39:
            classes = {kind: name for kind, name in classes.items() if kind != "colour"}
    return classes
