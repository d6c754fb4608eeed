"""Faults on the wire: a proxy on loopback before a real server, which strikes the requests that it is told to.

    with HttpFaults(upstream_port) as proxy:
        proxy.next(method="PUT", contains="repro-run.json", fault="drop reply")
        ...  # work with http://127.0.0.1:{proxy.port}
        assert proxy.struck == [("drop reply", "PUT", "/bucket/repro-run.json")]

A rule strikes as many requests as it says, the first that fit; where several rules fit, the oldest. What no rule
fits passes unchanged. `refusing` hangs up on every request, as long as it is set. All runs in a thread of its own.
"""

import asyncio
import contextlib
import io
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

HOST = "127.0.0.1"


@dataclass
class Rule:
    """What is done to the next requests of this method, with this in their path (or their command's body)."""

    fault: str
    method: str | None = None
    contains: str = ""
    times: int = 1
    seconds: float = 0.0  # of a stall

    def fits(self, method: str, text: str) -> bool:
        return self.times > 0 and self.method in (None, method) and self.contains in text


class Faults:
    """The base of both faces: a thread with an event loop, the rules, and what they have struck."""

    known: tuple[str, ...] = ()  # the faults of a face

    def __init__(self, upstream: int, port: int = 0) -> None:
        self.upstream, self.port = upstream, port
        self.struck: list[tuple[str, str, str]] = []  # fault, method, path
        self.refusing = False
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._listens: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name=f"proxy of {upstream}", daemon=True)

    def next(self, fault: str, **which: str | float) -> Rule:
        """Strike the next request that fits; the keywords are Rule's."""
        assert fault in self.known, f"{fault}: known are {self.known}"
        rule = Rule(fault, **which)  # type: ignore[arg-type]
        with self._lock:
            self._rules.append(rule)
        return rule

    def forget(self) -> None:
        """From now on everything passes."""
        with self._lock:
            self._rules.clear()
        self.refusing = False

    def _take(self, method: str, path: str, text: str | None = None) -> Rule | None:
        """The rule that strikes this request, used up by one; `text` is where `contains` is looked for."""
        with self._lock:
            rule = next((rule for rule in self._rules if rule.fits(method, path if text is None else text)), None)
            if rule is not None:
                rule.times -= 1
                self.struck.append((rule.fault, method, path))
            return rule

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._listens.result(timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut what is under way and listen no more; a second call does nothing."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self._listening() as port:
                self._listens.set_result(port)
                await self._stop.wait()
        except BaseException as error:
            if self._listens.done():
                raise
            self._listens.set_exception(error)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[int]:
        """Listen, and in the end leave neither a connection nor a task; gives the port."""
        raise NotImplementedError
        yield 0


class HttpFaults(Faults):
    """Before an HTTP server, S3's for one. Signatures stay right: host, path and headers are passed on as they came.

    "drop reply": the server has applied the request, the client's connection is cut instead of an answer.
    "drop request": the connection is cut, the server hears nothing. "503", "409", ...: answered so, the server
    hears nothing. "stall": the request is passed on after so many seconds. "stall reply": its answer is.
    "truncate": half of the answer's body.
    """

    known = (
        "drop reply",
        "drop request",
        "stall",
        "stall reply",
        "truncate",
        "400",
        "403",
        "404",
        "409",
        "412",
        "429",
        "500",
        "503",
    )

    def cut(self) -> None:
        """Cut all connections, whatever is under way; a request that was passed on is applied nevertheless."""
        self._loop.call_soon_threadsafe(lambda: [transport.abort() for transport in self._transports()])

    def _transports(self):
        return [handler.transport for handler in self._runner.server.connections if handler.transport is not None]

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[int]:
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        async with ClientSession(
            connector=TCPConnector(limit=0),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None),
            auto_decompress=False,
        ) as self._client:
            try:
                site = web.TCPSite(runner, HOST, self.port)
                await site.start()
                yield runner.addresses[0][1]
            finally:
                await runner.cleanup()

    async def _handle(self, request):
        try:
            return await self._meet(request)
        except ConnectionResetError:  # the client has hung up
            return _hang_up(request)

    async def _meet(self, request):
        from aiohttp import web

        body = await request.content.read()
        rule = self._take(request.method, request.raw_path)
        fault = rule.fault if rule else ""
        if self.refusing or fault == "drop request":
            return _hang_up(request)
        if fault.isdigit():
            return web.Response(status=int(fault), text=_s3_error(int(fault)), content_type="application/xml")
        if fault == "stall":
            await asyncio.sleep(rule.seconds)
        try:
            status, headers, answer = await self._ask(request, body)
        except OSError:  # there is no server
            return _hang_up(request)
        if fault == "drop reply":
            return _hang_up(request)
        if fault == "stall reply":
            await asyncio.sleep(rule.seconds)
        return await _answer(request, status, headers, answer, fault == "truncate")

    async def _ask(self, request, body):
        from yarl import URL

        url = URL(f"http://{HOST}:{self.upstream}{request.raw_path}", encoded=True)
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP]
        skip = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        data = io.BytesIO(body) if body else None
        async with self._client.request(
            request.method, url, headers=headers, data=data, skip_auto_headers=skip, allow_redirects=False
        ) as reply:
            return reply.status, reply.headers, await reply.read()


HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "expect", "te", "upgrade")


async def _answer(request, status, headers, body, truncated):
    """Pass an answer on; a truncated one promises its whole length, and the connection ends after half of it."""
    from aiohttp import web

    response = web.StreamResponse(status=status)
    for key, value in headers.items():
        if key.lower() not in HOP_BY_HOP:
            response.headers.add(key, value)
    if body:
        response.content_length = len(body)
    await response.prepare(request)
    if truncated:
        await response.write(body[: len(body) // 2])
        return _hang_up(request)
    await response.write_eof(body)
    return response


def _hang_up(request):
    from aiohttp import web

    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # which nobody gets


def _s3_error(status: int) -> str:
    code = {409: "ConditionalRequestConflict", 412: "PreconditionFailed", 503: "SlowDown"}.get(status, "InternalError")
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
