"""A log that is being written: its last lines, and how far it has been sent to the queue."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from repro.scheduler.live.log_pieces import Piece

TAIL_LINES, TAIL_BYTES = 20, 4000
PIECE = 64 << 10  # bytes sent at once
MOST = 8 << 20  # bytes sent of one attempt; the whole log goes to the store


def tail(log: Path) -> list[str]:
    """The last lines of a log, bounded in number and size."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    return text.splitlines()[-TAIL_LINES:]


@dataclass
class LogCursor:
    """How far a log has been sent; `log` is None before its stage runs."""

    log: Path | None = None
    offset: int = 0
    amount: int = 0

    def next(self) -> Piece | None:
        """What was printed since; the newest of it where that is more than a piece. None if nothing was."""
        if self.log is None or self.amount >= MOST:
            return None
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as file:  # not begun, or over already
            self.offset = max(self.offset, file.seek(0, 2) - PIECE)
            file.seek(self.offset)
            if data := file.read(PIECE):
                return Piece(self.offset, data)
        return None

    def sent(self, piece: Piece) -> None:
        self.offset, self.amount = piece.end, self.amount + len(piece.data)
