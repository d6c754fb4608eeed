"""The log of a running run, in pieces, so that it can be followed from any machine.

A convenience, kept for a day: the whole log lies in the run's folder when its attempt has ended. Not guaranteed:
every byte. A stage that prints faster than its worker sends leaves gaps, which the offsets show.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pymongo import ASCENDING, IndexModel

from repro.scheduler.server import connection
from repro.scheduler.server.connection import Queue

KEEP = 24 * 3600  # seconds

INDEXES = [
    IndexModel([("token", ASCENDING), ("offset", ASCENDING)], name="pieces"),
    IndexModel([("at", ASCENDING)], name="old", expireAfterSeconds=KEEP),
]


@dataclass(frozen=True)
class Piece:
    """Some bytes of an attempt's log, and where in it they stand."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


def create_indexes(db: Queue) -> None:
    connection.create_indexes(db.logs, INDEXES)


def append(db: Queue, token: str, piece: Piece) -> None:
    """Send a piece of the log of the attempt that holds, or held, a token; kept once, however often it is sent."""
    place = {"token": token, "offset": piece.offset}
    fields = {"data": {"$literal": piece.data}, "at": "$$NOW"}  # an insert can't say $$NOW
    connection.casual(db).logs.update_one(place, [{"$set": fields}], upsert=True)


def pieces(db: Queue, token: str, start: int = 0) -> Iterator[Piece]:
    """What has been sent of an attempt's log from an offset on, in order."""
    for piece in db.logs.find({"token": token, "offset": {"$gte": start}}).sort("offset", ASCENDING):
        yield Piece(piece["offset"], bytes(piece["data"]))
