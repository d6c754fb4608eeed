"""What is no page and has an address: tables and points as data, a picture, where the search box leads."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from repro.pages import curves, runs, tree
from repro.scheduler.configs.spelling import to_csv
from repro.scheduler.lists import finding
from repro.scheduler.queue import lookup
from repro.web import answers, queries
from repro.web.context import Context
from repro.web.templating import path_part, value

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet would begin to compute


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
    head, *rows = runs.table(context.db, queries.of_runs(request))
    rows = [[*row[:3], *("" if one is None else value(one) for one in row[3:])] for row in rows]
    text = to_csv([[_harmless(cell) for cell in row] for row in [head, *rows]])
    headers = {"Content-Disposition": 'attachment; filename="runs.csv"'}
    return Response(text.encode("utf-8", "replace"), media_type="text/csv; charset=utf-8", headers=headers)


def curves_as_json(context: Context, request: Request) -> Response:
    """Parts of curves. They are not kept for other viewers: they are large, and each drawing asks for its own."""
    return answers.numbers_as_json(curves.view(context.db, context.open_store, queries.of_curves(request)))


def tree_picture(context: Context, request: Request) -> Response:
    """The dendrogram of the runs of a list."""
    data = tree.picture(context.db, queries.of_runs(request), queries.metric(request))
    return Response(data, media_type="image/png")


def _harmless(cell: str) -> str:
    """A number may begin with a sign, a text not: it would be a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) and not queries.is_number(cell) else cell
