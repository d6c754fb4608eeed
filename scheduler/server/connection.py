"""The connection to the queue, and what a user is told when there is none."""

import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

import pymongo
from pymongo import IndexModel, MongoClient, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from repro.scheduler.server import embedded
from repro.scheduler.settings import Settings
from repro.stages.errors import ReproError, Unreachable

Document = dict[str, Any]
Queue = Database[Document]
DriverError = PyMongoError  # for those who may not import the driver
PATIENCE_MS = 3500  # a user waits at most five seconds for the news that there is no server
ELECTION_SECONDS = 30
DEFAULT_DATABASE = "repro"
UNAUTHORIZED = 13
# Codes of MongoDB's error_codes.yml: no rights or no login (which somebody may be changing), time limits, interruption
# by a fail-over or a shutdown, write conflicts, no disk, no primary.
LATER = (
    *(UNAUTHORIZED, 18, 8000, 50, 202, 262, 89, 6, 7, 9001, 11600, 11601, 11602, 112, 14031, 133, 134, 189, 91),
    *(10107, 13435, 13436, 64, 100, 237, 290, 462),
)
URL_FORM = "write mongodb://USER:PASSWORD@HOST:PORT/DATABASE, special characters percent-encoded"


def connect(settings: Settings) -> Queue:
    """The database that the URL names, default `repro`; majority reads and writes, times aware of their zone.

    Raises:
        ReproError: the URL is no MongoDB URL.
        Unreachable: no server answers, or it refuses the user.
    """
    url = settings.mongo_url or embedded.ensure(settings.home)
    client = _client(url)
    _check_database(url)
    with reachable(url):
        try:
            _ping(client)
        except PyMongoError:
            client.close()
            raise
    return client.get_default_database(DEFAULT_DATABASE)


def _check_database(url: str) -> None:
    """The driver takes what follows a dot for a collection: `/lab.v1` and `/lab.v2` would be one queue."""
    database = url.partition("://")[2].partition("/")[2].partition("?")[0]
    if "." in database:
        raise ReproError(f'REPRO_MONGO_URL: a database\'s name can\'t hold a dot, got "{database}"; write "_" instead')


def _ping(client: MongoClient[Document]) -> None:
    """Wait through an election, in which servers answer but none of them takes writes; not for a dead server."""
    deadline = time.monotonic() + ELECTION_SECONDS
    while True:
        try:
            client.admin.command("ping")
            return
        except ServerSelectionTimeoutError:
            if not client.topology_description.has_known_servers or time.monotonic() > deadline:
                raise


def _client(url: str) -> MongoClient[Document]:
    """A client, not connected yet; a mistyped option is an error here, where pymongo warns and goes on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return MongoClient(
                url if "://" in url else f"://{url}",  # pymongo takes any word for a host
                appname="repro",
                tz_aware=True,
                w="majority",
                journal=True,
                readConcernLevel="majority",
                readPreference="primary",
                serverSelectionTimeoutMS=PATIENCE_MS,
                connectTimeoutMS=PATIENCE_MS,
            )
    except (PyMongoError, ValueError, OSError, UserWarning) as error:
        kind = Unreachable if "DNS" in str(error) else ReproError  # mongodb+srv:// asks for the hosts at once
        raise kind(f"REPRO_MONGO_URL can't be used: {_unquoted(error)}; {URL_FORM}") from None


@contextmanager
def reachable(url: str = "") -> Iterator[None]:
    """Say in one line what a driver's error means to a user."""
    where = f" at {_host(url)}" if url else ""
    try:
        yield
    except ConfigurationError as error:
        raise ReproError(f"MongoDB{where} can't be used: {_first_line(error)}; see REPRO_MONGO_URL") from error
    except (ConnectionFailure, WriteConcernError) as error:
        raise Unreachable(f"MongoDB{where} can't be reached: {_first_line(error)}; see REPRO_MONGO_URL") from error
    except PyMongoError as error:
        kind = Unreachable if is_later(error) else ReproError
        raise kind(f"MongoDB{where} refuses: {_first_line(error)}") from error


@contextmanager
def may_be_refused() -> Iterator[None]:
    """For what others do as well, where this user has no right to it."""
    try:
        yield
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise


def within(seconds: float) -> AbstractContextManager[None]:
    """All that is asked of MongoDB inside takes no longer, together."""
    return pymongo.timeout(seconds)


def is_later(error: PyMongoError) -> bool:
    """Whether the same request may go well later: the server is away, changes hands, or lets this user in again.

    Whatever else it refuses, a document that is too big or a field that it can't hold, it refuses for ever.
    """
    if isinstance(error, ConnectionFailure | WriteConcernError):
        return True
    labels = ("RetryableWriteError", "TransientTransactionError", "RetryableError")
    if any(error.has_error_label(label) for label in labels):
        return True
    return isinstance(error, OperationFailure) and (error.code in LATER or error.timeout)


def create_indexes(collection: Collection[Document], indexes: Sequence[IndexModel]) -> None:
    """Make the indexes that are missing; cheap when none is.

    A user who may not make any goes without: somebody who may has made them, or `repro doctor` says that they miss.
    """
    try:
        collection.create_indexes(indexes)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise


def casual(db: Queue) -> Queue:
    """The database for writes whose loss at a fail-over harms nobody: not waited for until the majority has them."""
    return db.with_options(write_concern=WriteConcern(w=1))


def server_time(db: Queue) -> datetime:
    """The server's clock, in UTC: the only one that the queue goes by."""
    now: datetime = db.client.admin.command("hello", codec_options=db.codec_options)["localTime"]
    return now


def _first_line(error: Exception) -> str:
    first = (str(error).splitlines() or [type(error).__name__])[0].partition(", Timeout:")[0]
    return re.sub(r" \(configured timeouts:[^)]*\)|, full error: .*", "", first)[:200]


def _unquoted(error: Exception) -> str:
    """The driver's complaint about a URL; what it quotes may be a piece of a badly written password."""
    return re.sub(r"""(["']).*\1""", "...", _first_line(error))


def _host(url: str) -> str:
    """The hosts of a URL that the driver has accepted, never its password."""
    return re.split("[/?]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
