"""Words of news for all open tabs: one stream of changes a process, whoever looks."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

KEEP_ALIVE = 15.0  # seconds after which a comment tells that the server is there
GLANCE = 0.5  # seconds between two looks at whether the server is to stop


class News:
    """`number` grows with every word; who has seen a view as of a number knows whether it is the newest."""

    def __init__(self) -> None:
        self.number = 0
        self._over = threading.Event()

    def follow(self, db: "Queue") -> None:
        """Listen from now on, in a thread."""
        from repro.scheduler.queue import news

        def listen() -> None:
            for _ in news.changes(db, self._over.is_set):
                self.number += 1

        threading.Thread(target=listen, name="news", daemon=True).start()

    def stop(self) -> None:
        """End all streams: the server is told to stop."""
        self._over.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events: the number, at once and whenever it has grown."""
        told, silent = -1, 0.0
        while not self._over.is_set():
            if self.number != told:
                told, silent = self.number, 0.0
                yield f"data: {json.dumps(told)}\n\n".encode()
            elif silent >= KEEP_ALIVE:
                silent = 0.0
                yield b": still here\n\n"
            await asyncio.sleep(GLANCE)
            silent += GLANCE
