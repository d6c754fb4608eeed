"""The server itself: where it listens, and how it ends."""

import secrets
import socket
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from repro.scheduler.settings import Settings
from repro.stages.errors import ReproError
from repro.web.app import build
from repro.web.context import Context
from repro.web.news import News
from repro.worker.store.store import Store

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
QUEUED = 2048
ENDING = 3  # seconds that answers under way have when the server is told to stop


@dataclass(frozen=True)
class Options:
    """What `repro ui` was told; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    read_only: bool = False
    allow_hosts: Sequence[str] = ()
    user_header: str | None = None
    write: Path | None = None


class PageServer:
    """Listens from the beginning, so that its address is known; serves until it is told to stop."""

    def __init__(self, db: "Queue", options: Options, may_write: bool) -> None:
        """
        Raises:
            ReproError: the address can't be had.
        """
        self._socket = _listening(options.host, options.port)
        port: int = self._socket.getsockname()[1]
        is_local = options.host in (*LOOPBACK, "::1")
        token = options.token or (None if is_local else secrets.token_urlsafe(24))
        self._context = Context(
            db=db,
            open_store=_store,
            news=News(),
            port=port,
            hosts=frozenset({*LOOPBACK, *_names(options.host), *(name.lower() for name in options.allow_hosts)}),
            token=token,
            user_header=options.user_header,
            may_write=may_write and not options.read_only,
            write_folder=options.write,
        )
        shown = f"[{options.host}]" if ":" in options.host else options.host
        shown = "127.0.0.1" if options.host in ("0.0.0.0", "::") else shown
        self.address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")

    def serve(self, open_browser: bool = False) -> None:
        """Until SIGINT or SIGTERM."""
        self._context.news.follow(self._context.db)
        news = self._context.news

        class Server(uvicorn.Server):
            def handle_exit(self, sig: int, frame: object) -> None:
                news.stop()  # or open streams would hold up the end
                super().handle_exit(sig, frame)  # type: ignore[arg-type]

        config = uvicorn.Config(
            build(self._context), log_level="error", server_header=False, timeout_graceful_shutdown=ENDING
        )
        if open_browser:
            webbrowser.open(self.address)
        Server(config).run(sockets=[self._socket])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(QUEUED)  # who comes before the server is up waits
    except OSError as error:
        raise ReproError(
            f"can't listen on {host}, port {port}: {error.strerror or error}; see --host and --port"
        ) from None
    return listening


def _names(host: str) -> Sequence[str]:
    """What a server that listens there is called; of all addresses there is no name but the machine's."""
    if host in ("0.0.0.0", "::"):
        return [socket.gethostname().lower(), socket.getfqdn().lower()]
    return [f"[{host}]" if ":" in host else host.lower()]


def _store() -> Store:
    settings = Settings.read()
    return Store.open(settings.store, settings.home)
