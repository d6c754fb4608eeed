"""The outputs of a run, and each of them: text and pictures in the browser, all else as a download.

A file is served only if it is, letter by letter, a recorded output of the run: no path of a request is ever joined to
one of a machine.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from repro.pages.file_kinds import PICTURES, kind
from repro.scheduler.queue import lookup
from repro.scheduler.server.connection import server_time
from repro.stages.errors import ReproError
from repro.web import queries
from repro.web.context import Context
from repro.worker.store.outputs import outputs_of

PIECE = 1 << 20  # bytes that are read at once
FIELDS = {"stage": 1, "state": 1, "location": 1, "outputs": 1, "outputs_total": 1}


def view(context: Context, request: Request) -> Mapping[str, Any]:
    """`run`, `outputs`: each with the `kind` of its look: `text`, `picture` or `other`.

    Raises:
        ReproError: there is no such run, or the store can't be reached.
    """
    (run,) = lookup.runs(context.db, [queries.name(request)], FIELDS)
    outputs = outputs_of(context.open_store(), run) if run["state"] in ("done", "verified") else []
    return {
        "now": server_time(context.db),
        "run": {key: run.get(key) for key in ("_id", "state", "stage", "location")},
        "outputs": [output | {"kind": kind(output["path"])} for output in outputs],
    }


def file(context: Context, request: Request) -> Response:
    """One output, or a range of it.

    Raises:
        ReproError: the run has no output of this very name.
    """
    (run,) = lookup.runs(context.db, [queries.name(request)], FIELDS)
    path, store = str(request.path_params["path"]), context.open_store()
    outputs = outputs_of(store, run) if run["state"] in ("done", "verified") else []
    output = next((one for one in outputs if one["path"] == path), None)
    if output is None:
        raise ReproError("the run has no output of this name")
    size, begin, end = output["size"], 0, output["size"]
    status, headers = 200, {"Accept-Ranges": "bytes", "ETag": f'"{output["sha256"]}"'}
    if asked := _range(request.headers.get("range", ""), size):
        begin, end = asked
        status, headers["Content-Range"] = 206, f"bytes {begin}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - begin)
    if kind(path) == "other" or "download" in request.query_params:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}"

    def pieces() -> Iterator[bytes]:
        for start in range(begin, end, PIECE):
            yield store.read_range(output, run["location"], start, min(PIECE, end - start))

    rest = pieces()
    first = next(rest, b"")  # what can't be read is told, which it can't be any more once the answer has begun
    return StreamingResponse(chain([first], rest), status, headers, media_type=_type(path))


def _type(path: str) -> str:
    """Never one that a browser would run: text is plain text, whatever its name says."""
    looks = kind(path)
    if looks == "picture":
        return PICTURES[path[path.rfind(".") :].lower()]
    return "text/plain; charset=utf-8" if looks == "text" else "application/octet-stream"


def _range(said: str, size: int) -> tuple[int, int] | None:
    """The one range of a header, as begin and end; None for the whole, which is a fitting answer to any other."""
    unit, _, words = said.partition("=")
    first, dash, last = words.partition("-")
    numbers = all(not word or (word.isascii() and word.isdigit()) for word in (first, last))
    if unit != "bytes" or not dash or not numbers or len(said) > 60:
        return None
    if not first:
        return (max(0, size - int(last)), size) if last and int(last) and size else None
    end = min(size, int(last) + 1 if last else size)
    return (int(first), end) if int(first) < end else None
