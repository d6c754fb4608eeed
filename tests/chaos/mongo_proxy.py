"""The proxy's face towards MongoDB: it knows where a message ends, which command it is and who asks.

A worker reaches the members of a replica set by the names that the set advertises, whatever its URL says. So the
set is initiated with the proxies' ports as its members' hosts, and the members talk to each other through the
proxies, too. Faults strike only clients whose application's name is `victims`: the product's name is "repro",
the members have none, and a test's own clients choose another.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import bson

from tests.chaos.proxy import HOST, Faults

OP_QUERY, OP_MSG = 2004, 2013
HEADER = struct.Struct("<iiii")  # length with this header, id, id of the request that is answered, kind


class MongoFaults(Faults):
    """Before one mongod. A rule's method is a command's name, `contains` is looked for in the command's bytes.

    "drop reply": the server has applied the command, the connection is cut instead of an answer. "drop request":
    the connection is cut, the server hears nothing. "stall": the command is passed on after so many seconds.
    "stall reply": its answer is.
    """

    known = ("drop reply", "drop request", "stall", "stall reply")

    def __init__(self, upstream: int, port: int = 0, victims: str = "repro") -> None:
        super().__init__(upstream, port)
        self.victims = victims
        self._frozen_until = 0.0
        self._connections: set[asyncio.Task[None]] = set()
        self._hit: set[asyncio.Task[None]] = set()  # those of them that faults strike

    def cut(self) -> None:
        """Cut all connections of the victims; they may come again at once."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._hit])

    def freeze(self, seconds: float) -> None:
        """Pass no message of the victims on, in either direction, for so long."""
        self._frozen_until = self._loop.time() + seconds

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._accept, HOST, self.port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader, writer) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(self._hit.discard)

    async def _connect(self, reader, writer) -> None:
        """Pass messages on until one side hangs up, or a fault or the end of the proxy cuts the connection."""
        writers = [writer]
        try:
            answers, server = await asyncio.open_connection(HOST, self.upstream)
            writers.append(server)
            client = _Connection(self, reader, writer, answers, server)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(client.requests())
                directions.create_task(client.replies())
        except* (OSError, asyncio.IncompleteReadError, _Cut):
            pass
        finally:
            for end in writers:
                end.transport.abort()


class _Cut(Exception):
    """The connection ends here."""


class _Connection:
    """A client's connection and the one behind it."""

    def __init__(self, proxy, reader, writer, answers, server) -> None:
        self.proxy, self.task = proxy, asyncio.current_task()
        self.reader, self.writer, self.answers, self.server = reader, writer, answers, server
        self.is_victim = False
        self.fate = {}  # id of a request -> the rule that its reply meets

    async def requests(self) -> None:
        while True:
            number, _, kind, message = await _read(self.reader)
            command = _command(kind, message)
            if command is not None and not self.is_victim and _application(command) == self.proxy.victims:
                self.is_victim = True
                self.proxy._hit.add(self.task)
            if self.is_victim:
                await self._meet(number, command, message)
            self.server.write(message)
            await self.server.drain()

    async def _meet(self, number, command, message) -> None:
        """What becomes of a victim's message, if a fault strikes it."""
        await self._thaw()
        if self.proxy.refusing:
            raise _Cut
        name = next(iter(command or {"": 0}))
        rule = self.proxy._take(name, str((command or {}).get(name)), message.decode("latin-1"))
        if rule is None:
            return
        if rule.fault == "drop request":
            raise _Cut
        if rule.fault == "stall":
            await asyncio.sleep(rule.seconds)
        else:
            self.fate[number] = rule

    async def replies(self) -> None:
        while True:
            _, request, _, message = await _read(self.answers)
            if rule := self.fate.pop(request, None):
                if rule.fault == "drop reply":
                    raise _Cut
                await asyncio.sleep(rule.seconds)
            if self.is_victim:
                await self._thaw()
            self.writer.write(message)
            await self.writer.drain()

    async def _thaw(self) -> None:
        while (left := self.proxy._frozen_until - self.proxy._loop.time()) > 0:
            await asyncio.sleep(left)


async def _read(reader):
    """The next message: its id, the id of what it answers, its kind, and its bytes, header included."""
    header = await reader.readexactly(HEADER.size)
    length, number, answers, kind = HEADER.unpack(header)
    return number, answers, kind, header + await reader.readexactly(length - HEADER.size)


def _command(kind, message):
    """The command's document; None for what carries none in the clear, as members' compressed messages."""
    if kind == OP_MSG:  # flags, the kind of the first section: 0 is the command itself
        return _document(message, HEADER.size + 5) if message[HEADER.size + 4] == 0 else None
    if kind == OP_QUERY:  # a driver's first message: flags, name of a collection, two numbers
        return _document(message, message.index(b"\0", HEADER.size + 4) + 9)
    return None


def _document(message, start):
    (length,) = struct.unpack_from("<i", message, start)
    with contextlib.suppress(bson.errors.BSONError):
        return bson.decode(message[start : start + length], bson.DEFAULT_CODEC_OPTIONS)
    return None


def _application(command):
    """How a client calls itself in its first message on a connection."""
    client = command.get("client")
    return client.get("application", {}).get("name") if isinstance(client, dict) else None
