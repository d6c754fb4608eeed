"""The routes: a page each, and the same as JSON under `/api`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from repro.pages import attempts, compare, drift, home, lineage, queue, run, runs, searches, tree, verify, workers
from repro.web import actions, answers, downloads, files, log, queries
from repro.web.context import Context
from repro.web.security import Guard
from repro.web.templating import TEMPLATES

STATIC = Path(__file__).parent / "static"

View = Callable[[Context, Request], Mapping[str, Any]]


@dataclass(frozen=True)
class Page:
    """A path, what it shows, and the template that shows it; `asked`: what the template says of the question itself."""

    path: str
    template: str
    view: View
    asked: Callable[[Request], Mapping[str, Any]] = lambda request: {}


PAGES = (
    Page("/", "home.html", lambda context, request: home.view(context.db)),
    Page("/runs", "runs.html", lambda context, request: runs.view(context.db, queries.of_runs(request)), queries.said),
    Page("/runs/{name}", "run.html", lambda context, request: run.view(context.db, queries.name(request))),
    Page("/runs/{name}/attempts", "attempts.html", lambda c, request: attempts.view(c.db, queries.name(request))),
    Page("/runs/{name}/log", "log.html", log.view),
    Page("/runs/{name}/files", "files.html", files.view),
    Page("/runs/{name}/lineage", "lineage.html", lambda c, r: lineage.view(c.db, queries.name(r), c.open_store)),
    Page("/searches/{name}", "search.html", lambda c, request: searches.drawn(c.db, queries.name(request))),
    Page("/workers", "workers.html", lambda context, request: workers.view(context.db)),
    Page("/drain", "drain.html", lambda c, request: workers.one(c.db, request.query_params.get("name", ""))),
    Page("/queue", "queue.html", lambda context, request: queue.view(context.db)),
    Page("/new", "new.html", actions.vary),
    Page("/verify", "verify.html", lambda c, request: verify.view(c.db, request.query_params.get("level", ""))),
    Page("/drift", "drift.html", lambda c, request: drift.view(c.db, request.query_params.get("stage", ""))),
    Page("/tree", "tree.html", lambda c, r: tree.view(c.db, queries.of_runs(r), queries.metric(r)), queries.said),
    Page(
        "/compare",
        "compare.html",
        lambda context, request: compare.view(context.db, context.open_store, queries.of_compare(request)),
        queries.said_of_compare,
    ),
)


def build(context: Context) -> Starlette:
    """The application that a server runs."""
    routes: list[BaseRoute] = [
        Mount("/static", StaticFiles(directory=STATIC), name="static"),
        Route("/news", _news(context)),
        Route("/confirm", _plain(context, actions.ask)),  # never shared: it is about this moment
        Route("/do", _done(context), methods=["POST"]),
        Route("/search", _plain(context, downloads.search)),
        Route("/tree.png", _plain(context, downloads.tree_picture)),
        Route("/api/curves", _plain(context, downloads.curves_as_json)),
        Route("/runs.csv", _plain(context, downloads.runs_as_csv)),
        Route("/runs/{name}/files/{path:path}", _plain(context, files.file)),
        Route("/runs/{name}/log.txt", _plain(context, log.text)),
    ]
    for page in PAGES:
        routes.append(Route(page.path, _shown(context, page)))
        routes.append(Route(f"/api{page.path}", _as_json(context, page)))
    TEMPLATES.globals["pages"] = frozenset(page.path.strip("/").replace("/{name}", "") for page in PAGES)
    app = Starlette(routes=routes, exception_handlers=answers.HANDLERS)
    app.state.context = context
    app.add_middleware(Guard, context=context)
    return app


Endpoint = Callable[[Request], Awaitable[Response]]


def _shown(context: Context, page: Page) -> Endpoint:
    def show(request: Request) -> Response:
        view = {**_view(context, page, request), **page.asked(request)}
        return answers.html(context, request, page.template, view)

    return _in_a_thread(show)


def _as_json(context: Context, page: Page) -> Endpoint:
    def show(request: Request) -> Response:
        return answers.as_json(_view(context, page, request))

    return _in_a_thread(show)


def _view(context: Context, page: Page, request: Request) -> Mapping[str, Any]:
    """The view, made once for all who look at it at the same time."""
    key, number = (page.path, *sorted(request.path_params.items()), request.url.query), context.news.number

    def make() -> Mapping[str, Any]:
        with answers.patience():
            return page.view(context, request)

    found: Mapping[str, Any] = context.views.get(key, number, make)
    return found


def _plain(context: Context, answer: Callable[[Context, Request], Response]) -> Endpoint:
    def show(request: Request) -> Response:
        with answers.patience():
            return answer(context, request)

    return _in_a_thread(show)


def _done(context: Context) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        form = await actions.form_of(request)
        return await _in_a_thread(lambda asked: actions.do(context, asked, form))(request)

    return endpoint


def _in_a_thread(answer: Callable[[Request], Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            return await run_in_threadpool(answer, request)
        except tuple(answers.HANDLERS):
            raise
        except Exception as error:
            return answers.unexpected(request, error)

    return endpoint


def _news(context: Context) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        headers = {"X-Accel-Buffering": "no"}  # a proxy is to pass each word on
        return StreamingResponse(context.news.stream(), media_type="text/event-stream", headers=headers)

    return endpoint
