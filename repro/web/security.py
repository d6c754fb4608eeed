"""Who may ask for what, before any page is made; and what a browser may do with an answer.

The rules hold for every route there is or will be: they are asked by the server itself, not by its pages.

- A name that the server does not know is refused, or another site's name could lead here (DNS rebinding).
- All methods but GET and HEAD must come from a page of this server: browsers say so by `Sec-Fetch-Site`, older ones by
  `Origin`. No token of a form is needed, none can go stale.
- Where there is a token, nothing is shown without it: it comes once in the address, then in a cookie.
"""

import re
from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from repro.web.context import Context

READS = ("GET", "HEAD")
KEEP = 30 * 86400  # seconds that a browser remembers the token
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types page",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?P<port>:[0-9]{1,5})?")


class Guard:
    """Lets through what the rules allow, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app, self._context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refused(Request(scope))
        await (refused or self._app)(scope, receive, with_headers)

    def _refused(self, request: Request) -> Response | None:
        name = host(request.headers)
        if name not in self._context.hosts:
            return PlainTextResponse(
                f"This page is not served under the name {name or '(none)'}. If that is right, start repro ui with "
                f"--allow-host {name or 'NAME'}.\n",
                421,
            )
        if request.method not in READS and not comes_from_here(request.headers, self._context.hosts):
            return PlainTextResponse("Only this server's own pages may change something.\n", 403)
        return self._without_token(request)

    def _without_token(self, request: Request) -> Response | None:
        context = self._context
        if context.token is None or context.knows(request.cookies.get(context.cookie, "")):
            return None
        bearer = request.headers.get("Authorization", "")
        if bearer.startswith("Bearer ") and context.knows(bearer.removeprefix("Bearer ")):
            return None
        said = request.query_params.get("token")
        if said is None or request.method not in READS or not context.knows(said):
            return PlainTextResponse("Open the address that repro ui has printed: it ends with a token.\n", 401)
        response = _onwards(request)
        response.set_cookie(context.cookie, said, httponly=True, samesite="strict", max_age=KEEP)
        return response


def _onwards(request: Request) -> Response:
    """To the same page without the token in its address.

    No redirect: who comes from a link of another site would not bring the cookie there, as it is for this site alone.
    """
    rest = urlencode([(key, value) for key, value in parse_qsl(request.url.query) if key != "token"])
    # Relative: only the browser knows under which path a proxy has put this server.
    to = escape(f"./{quote(request.url.path.rpartition('/')[2])}" + (f"?{rest}" if rest else ""))
    return HTMLResponse(f'<!doctype html><meta http-equiv="refresh" content="0; url={to}"><a href="{to}">On</a>')


def host(headers: Mapping[str, str]) -> str:
    """The name by which the server is called, without its port; empty where it is none."""
    found = _HOST.fullmatch(headers.get("host", ""))
    return found["name"].lower() if found else ""


def comes_from_here(headers: Mapping[str, str], hosts: frozenset[str]) -> bool:
    """Whether a request was made by a page of this server."""
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = urlsplit(headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == headers.get("host") and host({"host": origin.netloc}) in hosts
