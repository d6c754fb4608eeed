"""A MongoDB that has just been started -> one that the queue can use. Each step may be repeated, and is at each start.

Not done here: a set of several members, TLS, a change of the administrator's password.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from pymongo import MongoClient
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from repro.scheduler import runs
from repro.scheduler.live import log_pieces, points
from repro.scheduler.queue import workers
from repro.scheduler.server.connection import UNAUTHORIZED, Document, connect
from repro.scheduler.settings import Settings
from repro.stages.errors import ReproError, Unreachable

AUTHENTICATION_FAILED, ALREADY_INITIATED, ROLE_EXISTS, USER_EXISTS = 18, 23, 51002, 51003
PATIENCE = 60.0  # seconds for a server that starts
OTHER_PASSWORD = (
    "MongoDB knows its administrator by another password than the one given; give the one that its data were made with"
)


class Account(NamedTuple):
    """A user of the queue's database, with one of `deploy/mongodb/roles.json`."""

    name: str
    password: str
    role: str


def provision(settings: Settings, member: str, roles: Sequence[Document], accounts: Sequence[Account]) -> None:
    """Make the replica set, its administrator, the roles, their users and the indexes, or bring them up to date.

    `settings.mongo_url` names the administrator and the server on this very host: before there is a user, MongoDB
    lets nobody else make the first. `member`: HOST:PORT by which clients find the server.

    Raises:
        ReproError: the server's administrator has another password.
        Unreachable: it does not become a primary.
    """
    assert settings.mongo_url is not None
    if not _has_administrator(settings.mongo_url):
        _begin(settings.mongo_url, member)
    db = connect(settings)
    with db.client:
        for role in roles:
            _create_or_update(db, "Role", role["createRole"], ROLE_EXISTS, role)
        for account in accounts:
            grants = [{"role": account.role, "db": db.name}]
            user = {"createUser": account.name, "pwd": account.password, "roles": grants}
            _create_or_update(db.client.admin, "User", account.name, USER_EXISTS, user)
        for module in (runs, log_pieces, points, workers):
            module.create_indexes(db)


def _has_administrator(url: str) -> bool:
    with _client(url) as client:
        try:
            client.admin.command("ping")
        except OperationFailure as error:
            if error.code != AUTHENTICATION_FAILED:
                raise
            return False
    return True


def _begin(url: str, member: str) -> None:
    """The replica set of one, and its administrator: what only a client on the server's host may, and only at first."""
    parsed = parse_uri(url)
    host, port = parsed["nodelist"][0]
    with _client(f"mongodb://{host}:{port}/?directConnection=true") as client:
        try:
            _initiate(client, member)
            _wait_for_primary(client)
            administrator = {"pwd": parsed["password"], "roles": ["root"]}
            client.admin.command("createUser", parsed["username"], **administrator)
        except OperationFailure as error:
            if error.code in (UNAUTHORIZED, USER_EXISTS):
                raise ReproError(OTHER_PASSWORD) from None
            raise


def _initiate(client: "MongoClient[Document]", member: str) -> None:
    members = [{"_id": 0, "host": member}]
    try:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
    except OperationFailure as error:
        if error.code != ALREADY_INITIATED:
            raise


def _wait_for_primary(client: "MongoClient[Document]") -> None:
    deadline = time.monotonic() + PATIENCE
    while not client.admin.command("hello").get("isWritablePrimary"):
        if time.monotonic() > deadline:
            raise Unreachable("MongoDB does not become a primary; see its log")
        time.sleep(0.1)


def _create_or_update(on: Any, kind: str, name: str, exists: int, command: Document) -> None:
    """`createRole` or `createUser`; `update...` with the same where it exists already."""
    try:
        on.command(command)
    except OperationFailure as error:
        if error.code != exists:
            raise
        on.command({f"update{kind}": name} | {k: v for k, v in command.items() if k != f"create{kind}"})


def _client(url: str) -> "MongoClient[Document]":
    return MongoClient(url, directConnection=True, serverSelectionTimeoutMS=round(PATIENCE * 1000), retryWrites=False)
