"""What a store is, and whose results lie in it: no queue takes another's for its own, nor another disk for the store.

    <store>/repro-store.json              made by whoever came first: an id, and of an empty store the queue it was for
    <store>/repro-queues/<queue>.json     one for each queue that has worked here

Both are created exclusively and never change.
"""

import contextlib
import json
import secrets
from dataclasses import dataclass

from repro.stages.errors import ReproError, Unreachable
from repro.stages.own_files import STORE
from repro.worker.store.store import Store

IDENTITY, QUEUES = STORE, "repro-queues"


@dataclass(frozen=True)
class Identity:
    """`sole`: that all in this store is this queue's, and always was."""

    id: str
    sole: bool


def of(store: Store, queue: str, known: str | None) -> Identity:
    """What the store is, for a queue of this id that knows it by `known`, if at all; makes what is not there yet.

    Raises:
        ReproError: it is not the store that the queue knows: another disk, say, with a folder of the same path.
        Unreachable: it can't be read or written.
    """
    try:
        told = _read(store)
        if told is None and known is None:
            with contextlib.suppress(FileExistsError):
                told_new = {"id": secrets.token_hex(16)} | ({} if store.attempts() else {"for": queue})
                store.objects.create(IDENTITY, json.dumps(told_new).encode())
            told = _read(store)
        if told is None or (known is not None and told["id"] != known):
            raise ReproError(
                f"{store.url} is not the store of this queue, though it is called the same: "
                + ("it is another one" if told else f"it has no {IDENTITY}")
                + "; is the disk or the share of the other workers mounted here? See REPRO_STORE"
            )
        with contextlib.suppress(FileExistsError):
            store.objects.create(f"{QUEUES}/{queue}.json", b"{}")
        queues = {stored.key for stored in store.objects.listing(QUEUES)}
    except OSError as error:
        raise Unreachable(f"{store.url} can't be used: {error.strerror or error}; see REPRO_STORE") from None
    return Identity(told["id"], sole=told.get("for") == queue and queues == {f"{QUEUES}/{queue}.json"})


def check(store: Store, known: str | None) -> None:
    """As `of`, for who only reads; nothing is made.

    Raises:
        ReproError: it is not the store that the queue knows.
    """
    if known is None:
        return
    try:
        told = _read(store)
    except OSError as error:
        raise Unreachable(f"{store.url} can't be used: {error.strerror or error}; see REPRO_STORE") from None
    if told is None or told["id"] != known:
        raise ReproError(f"{store.url} is not the store of this queue, though it is called the same; see REPRO_STORE")


def _read(store: Store) -> dict[str, str] | None:
    try:
        told = json.loads(store.objects.read(IDENTITY))
    except FileNotFoundError:
        return None
    except ValueError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("id"), str):
        raise ReproError(f"{store.url}/{IDENTITY} is broken; restore it from a back-up")
    return told
