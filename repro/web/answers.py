"""How a view becomes an answer: a page, JSON, or one line that says what is wrong."""

import json
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ExceptionHandler

from repro.scheduler.server import connection
from repro.scheduler.server.connection import DriverError
from repro.stages.errors import ConfigError, ReproError, Unreachable
from repro.stages.plain import strict
from repro.views import tables
from repro.web.context import PATIENCE, Context
from repro.web.templating import TEMPLATES


class Missing(ReproError):
    """There is nothing of that name."""


def patience() -> AbstractContextManager[None]:
    return connection.within(PATIENCE)


def html(context: Context, request: Request, template: str, view: Mapping[str, Any], status: int = 200) -> Response:
    depth = request.url.path.count("/") - 1
    facts = {
        "root": "../" * depth or "./",
        "section": request.url.path.split("/")[1],
        "query": request.query_params,
        "now": view.get("now") or datetime.now(UTC),
        "may_write": context.may_write,
    }
    return HTMLResponse(TEMPLATES.get_template(template).render({**view, **facts}), status)


def as_json(view: Mapping[str, Any], status: int = 200) -> Response:
    text = json.dumps(strict(dict(view)), ensure_ascii=False, default=tables.plain, allow_nan=False)
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


def numbers_as_json(view: Mapping[str, Any]) -> Response:
    """The same of what holds many numbers, and no text but MongoDB's: ten times as fast."""
    return Response(orjson.dumps(strict(dict(view)), default=tables.plain), media_type="application/json")


def refused(request: Request, status: int, message: str) -> Response:
    """What is wrong and what to do, for whoever asked."""
    if request.url.path.startswith("/api/"):
        return as_json({"error": message}, status)
    return html(request.app.state.context, request, "error.html", {"message": message, "status": status}, status)


def _of_ours(request: Request, error: Exception) -> Response:
    status = 503 if isinstance(error, Unreachable) else 400 if isinstance(error, ConfigError) else 404
    return refused(request, getattr(error, "http_status", status), str(error))


def _of_mongodb(request: Request, error: Exception) -> Response:
    if getattr(error, "timeout", False):
        return refused(request, 503, f"MongoDB took longer than {PATIENCE:g} s; ask for less: a state, a stage, a name")
    try:
        with connection.reachable():
            raise error
    except ReproError as ours:
        return refused(request, 503, str(ours))


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "there is no such page" if error.status_code == 404 else error.detail
    return refused(request, error.status_code, said)


def _of_a_disk(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return refused(request, 503, f"{error.filename or 'a file'} can't be read: {error.strerror or error}")


def unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: whoever looks is told so, whoever runs the server sees where."""
    traceback.print_exception(error)
    return refused(request, 500, f"This page has a fault ({type(error).__name__}); the server has printed where.")


HANDLERS: Mapping[Any, ExceptionHandler] = {
    ReproError: _of_ours,
    DriverError: _of_mongodb,
    HTTPException: _of_http,
    OSError: _of_a_disk,
}
