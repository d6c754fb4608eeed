"""What viewers do: each through a page that says what it costs, and one request that does it.

That the request comes from a page of this server is the guard's affair (`security`), for all of them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from repro.pages import confirm, new
from repro.pages.runs import Query
from repro.scheduler.lists import changes
from repro.scheduler.queue import workers
from repro.scheduler.server.connection import server_time
from repro.stages.errors import ConfigError
from repro.stages.plain import clean
from repro.web import answers, queries
from repro.web.context import Context

MOST_BYTES = 1 << 20  # of a form
MOST_LINES = 1000  # of what is told


class Refused(ConfigError):
    """It must not be done."""

    http_status = 403


def ask(context: Context, request: Request) -> Response:
    """The page before: see `confirm.view`.

    Raises:
        ConfigError: it is not clear what is to be done to what.
    """
    asked = request.query_params
    verb = confirm.verb_of(asked.get("verb", ""), asked.get("number", ""))
    view = confirm.view(context.db, verb, asked.getlist("names"), _filter(asked))
    return answers.html(context, request, "confirm.html", view)


def vary(context: Context, request: Request) -> Mapping[str, Any]:
    """The form of a variation, and what it would make: see `new.view`.

    Raises:
        ConfigError: it is not said of which run.
    """
    if not (base := request.query_params.get("from", "")):
        raise ConfigError("of which run? Open it, and choose New from it")
    return new.view(context.db, base, queries.changes(request.query_params), context.write_folder)


def do(context: Context, request: Request, form: QueryParams) -> Response:
    """Do it, and say what came of each.

    Raises:
        ConfigError: the page is for looking alone, or what was confirmed is not what would be changed.
    """
    if not context.may_write:
        raise Refused("This page is for looking alone.")
    by = context.by(request.headers)
    if form.get("verb") == "drain":
        names = form.getlist("names")
        workers.drain(context.db, names)
        return _told(context, request, "drain", [f"{name}: drains" for name in names], 0)
    if form.get("verb") == "submit":
        return _submitted(context, request, form)
    verb = confirm.verb_of(form.get("verb", ""), form.get("number", ""))
    query = _filter(form)
    if query is None:
        names = form.getlist("names")
        _check_typed(form, len(names))
        told = list(changes.change(context.db, verb, names, by))
        refused = sum(one.refused is not None for one in told)
        return _told(context, request, verb.name, [str(one) for one in told], refused)
    only = confirm.chosen((), query, _time(form.get("until", "")))
    _check_count(form, changes.count(context.db, verb, only))
    count = changes.change_all(context.db, verb, only, by)
    return _told(context, request, verb.name, [f"{count} runs {verb.done}"], 0)


def _submitted(context: Context, request: Request, form: QueryParams) -> Response:
    if context.write_folder is None:
        raise Refused("Nothing is submitted from here: start repro ui with --write FOLDER, for the config files.")
    priority, tags = queries.integer(form, "priority"), form.get("tags", "").replace(",", " ").split()
    changes, base = queries.changes(form), form.get("from", "")
    made = new.submit(context.db, base, changes, context.write_folder, priority, tags)
    lines = [f"{one.name}: {one.state}" + (f", equal to {one.same_as}" if one.same_as else "") for one in made]
    return _told(context, request, "submit", lines, 0)


def _filter(asked: QueryParams) -> Query | None:
    """The filter of the list whose runs are all meant, if they are."""
    return queries.of_list(QueryParams(asked.get("filter", ""))) if asked.get("all") else None


def _check_count(form: QueryParams, count: int) -> None:
    """What was looked at is what is changed.

    Raises:
        Refused: there are more or fewer by now, or the number was not typed where it had to be.
    """
    confirmed = form.get("count", "")
    if confirmed != str(count):
        raise Refused(f"There are {count} such runs now, {clean(confirmed, 20)} were confirmed. Look again.")
    _check_typed(form, count)


def _check_typed(form: QueryParams, count: int) -> None:
    if count > confirm.TYPED and form.get("typed", "").strip() != str(count):
        raise Refused(f"Type the number of runs, {count}, to do this to so many. Nothing was changed.")


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused("It is not said which runs are meant. Begin at the list again.") from error


def _told(context: Context, request: Request, verb: str, lines: list[str], refused: int) -> Response:
    view = {"verb": verb, "lines": lines[:MOST_LINES], "refused": refused, "now": server_time(context.db)}
    return answers.html(context, request, "done.html", view)


async def form_of(request: Request) -> QueryParams:
    """The fields of a form.

    Raises:
        ConfigError: there is too much of it.
    """
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_BYTES:
            raise ConfigError("that are too many runs at once; take all that are in the list instead")
    return QueryParams(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True))
