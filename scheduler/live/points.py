"""Live curves: what a running run's stage has said of its figures, kept for a week.

A convenience: the curves of a result lie in its folder. Not guaranteed: every value. A worker sends the newest
of each moment, and less and less often, so that the longest run leaves a few thousand points.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pymongo import ASCENDING, IndexModel

from repro.scheduler.server import connection
from repro.scheduler.server.connection import Queue

KEEP = 7 * 24 * 3600  # seconds

INDEXES = [
    IndexModel([("token", ASCENDING), ("step", ASCENDING)], name="curve"),
    IndexModel([("at", ASCENDING)], name="old", expireAfterSeconds=KEEP),
]


@dataclass(frozen=True)
class Point:
    """The figures of a run at a step of `total`."""

    step: int
    total: int | None
    values: Mapping[str, float]


def create_indexes(db: Queue) -> None:
    connection.create_indexes(db.metrics, INDEXES)


def append(db: Queue, token: str, point: Point) -> None:
    """Send a point of the curve of the attempt that holds, or held, a token; kept once, however often it is sent."""
    place = {"token": token, "step": point.step}
    fields = {"total": {"$literal": point.total}, "values": {"$literal": dict(point.values)}, "at": "$$NOW"}
    connection.casual(db).metrics.update_one(place, [{"$set": fields}], upsert=True)


def points(db: Queue, token: str) -> Iterator[Point]:
    """What has been sent of an attempt's curve, in the order of its steps."""
    for point in db.metrics.find({"token": token}).sort("step", ASCENDING):
        yield Point(point["step"], point["total"], point["values"])
