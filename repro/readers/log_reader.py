"""A run's log, attempt by attempt, from wherever it can be read at the time."""

import io
import time
from collections.abc import Callable, Iterator

from repro.scheduler import runs
from repro.scheduler.live import log_pieces
from repro.scheduler.queue import lookup
from repro.scheduler.runs import FINAL, RunDocument, State
from repro.scheduler.server.connection import Queue
from repro.stages.errors import StageError, Unreachable
from repro.stages.own_files import LOG
from repro.worker.store.store import Store

POLL = 0.5  # seconds


class Follower:
    """Yields what was printed since, never a byte twice."""

    def __init__(self, db: Queue, store: Callable[[], Store], lines: int | None) -> None:
        self.db, self.store, self.lines = db, store, lines
        self._token, self._offset = "", 0

    def texts(self, run: RunDocument, follow: bool) -> Iterator[str]:
        """What there is to read of a run; with `follow` until it has ended.

        Raises:
            StageError: there is no log: the run has not started, or its log is gone.
        """
        first = True
        while True:
            state = run["state"]
            if state == State.RUNNING:
                yield from self._told(run["lease"]["token"], first)
            elif state in FINAL:
                yield from self._kept(run, first)
                return
            if not follow:
                if state != State.RUNNING:
                    raise StageError(f"{run['_id']} is {state} and has no log yet; -f waits for it")
                return
            first = False
            time.sleep(POLL)
            run = lookup.run(self.db, run["_id"])

    def attempt(self, run: RunDocument, number: int) -> str:
        """What the attempt of this number has left; the first is 1.

        Raises:
            StageError: there was no such attempt, or nothing of its log is left.
        """
        tokens = runs.tokens(run)
        if not 1 <= number <= len(tokens):
            raise StageError(f"{run['_id']} has no attempt {number}; there were {len(tokens)}")
        token, location = tokens[number - 1], self.store().location(run["_id"], tokens[number - 1])
        try:
            return self._last_lines(location)
        except FileNotFoundError:
            if text := "".join(self._told(token, first=True)):
                return text
        except OSError as error:
            raise Unreachable(f"{location}/{LOG} can't be read: {error.strerror}") from error
        raise StageError(f"attempt {number} of {run['_id']} has left no log in {location}")

    def _told(self, token: str, first: bool) -> Iterator[str]:
        if token != self._token:
            if self._token:
                yield "--- lost; another attempt ---\n"
            self._token, self._offset = token, 0
        pieces = list(log_pieces.pieces(self.db, token, self._offset))
        data = b""
        for piece in pieces:
            if piece.offset > self._offset:
                data += f"\n--- {piece.offset - self._offset} bytes left out ---\n".encode()
            data += piece.data
            self._offset = piece.end
        yield self._cut(data, first)

    def _kept(self, run: RunDocument, first: bool) -> Iterator[str]:
        """The rest, from the folder of the attempt that ended it."""
        token, store = _last_token(run), self.store()
        if "location" not in run and not token:
            raise StageError(f"{run['_id']} is {run['state']} and never ran")
        location = run.get("location") or store.location(run["_id"], token)
        try:
            if first and self.lines is not None:
                yield self._last_lines(location)
                return
            data = store.read_own(location, LOG)
        except FileNotFoundError as error:
            if not first:
                return  # its worker was lost, and what it told has been printed
            raise StageError(f"{run['_id']} is {run['state']} and has left no log in {location}") from error
        except OSError as error:
            raise Unreachable(f"{location}/{LOG} can't be read: {error.strerror}") from error
        yield self._cut(data[self._offset :] if token and token == self._token else data, first)

    def _last_lines(self, location: str) -> str:
        """The last lines of a log in the store, or all of them; no more of it is read than that needs."""
        store = self.store()
        log = store.own_object(location, LOG)
        amount = log.size if self.lines is None else min(log.size, max(1 << 16, 200 * self.lines))
        while True:
            data = store.objects.read_range(log.key, log.size - amount, amount) if amount else b""
            if amount == log.size or data.count(b"\n") > (self.lines or 0):
                return self._cut(data, first=True)
            amount = min(log.size, 4 * amount)

    def _cut(self, data: bytes, first: bool) -> str:
        text = data.decode("utf-8", "replace")
        if first and self.lines is not None:
            kept = io.StringIO(text, newline="\n").readlines()  # not split at returns, as of progress bars
            return "".join(kept[len(kept) - min(self.lines, len(kept)) :])
        return text


def _last_token(run: RunDocument) -> str:
    return (runs.tokens(run) or [""])[-1]
