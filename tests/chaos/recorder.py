"""Writes the history while it happens: a change stream, a look at the store now and then, and the server's pulse.

A change stream shows what a majority has, in its order, and every change: what it does not show was never there.
"""

import contextlib
import hashlib
import threading
import time
from datetime import UTC, datetime

from pymongo import MongoClient
from pymongo.errors import CollectionInvalid, PyMongoError

from tests.chaos.history import Event, History, Trouble, Written

LOOK = 0.3  # seconds between looks at the store, and between beats of the pulse
OUTAGE = 1.0  # seconds without an answered write that count as an outage
JUMP = 5.0  # seconds by which a clock must move to have jumped


class Recorder:
    """Records from `with` on; what is done before it ends is in the history when it has ended."""

    def __init__(self, url, database, objects, lease):
        self.history = History(lease)
        self.objects = objects
        self.client = MongoClient(url, appname="chaos", tz_aware=True, w="majority", serverSelectionTimeoutMS=2000)
        self.db = self.client[database]
        self._ending = threading.Event()
        self._opened = threading.Event()
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._listen, self._watch_store, self._feel)]

    def __enter__(self):
        # The server is to keep what a document looked like after each change, not only how it looks when we ask.
        images = {"enabled": True}
        with contextlib.suppress(CollectionInvalid):
            self.db.create_collection("runs")
        self.db.command("collMod", "runs", changeStreamPreAndPostImages=images)
        self.history.began = time.monotonic()
        for thread in self._threads:
            thread.start()
        assert self._opened.wait(300)
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Hear what has happened until now, and no more; a second call does nothing."""
        if self._ending.is_set():
            return
        self.db.runs.insert_one({"_id": LAST})  # when this is heard, all before it has been
        self._threads[0].join(60)
        self._ending.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), thread
        self.history.ended = time.monotonic()
        self.db.runs.delete_one({"_id": LAST})
        self.client.close()

    def _listen(self):
        """Every change; a stream that breaks is taken up behind the last one heard."""
        behind = None
        while not self._ending.is_set():
            with contextlib.suppress(PyMongoError):
                images = {"full_document": "required"}
                with self.db.runs.watch(resume_after=behind, max_await_time_ms=200, **images) as stream:
                    behind = behind or stream.resume_token
                    self._opened.set()
                    while not self._ending.is_set():
                        change = stream.try_next()
                        behind = stream.resume_token
                        if change is None:
                            continue
                        name = change["documentKey"]["_id"]
                        if name == LAST:
                            return
                        self.history.events.append(Event(time.monotonic(), name, change.get("fullDocument")))

    def _watch_store(self):
        """Hash what is new or looks different; the hash decides whether it is."""
        seen, hashes = {}, {}
        while True:
            ending = self._ending.is_set()
            found = self.objects.listing()
            for path in found.keys() | seen.keys():
                if found.get(path) == seen.get(path):
                    continue
                digest = hashlib.sha256(self.objects.read(path)).hexdigest() if path in found else None
                if digest != hashes.get(path):
                    self.history.written.append(Written(time.monotonic(), path, digest))
                    hashes[path] = digest
            seen = found
            if ending:
                return
            self._ending.wait(LOOK)

    def _feel(self):
        """When the server took no writes, and when its clock moved against ours."""
        last, offset = time.monotonic(), None
        while not self._ending.is_set():
            with contextlib.suppress(PyMongoError):
                self.db.pulse.update_one({"_id": 0}, {"$inc": {"beats": 1}}, upsert=True)
                told = self.client.admin.command("hello", codec_options=self.db.codec_options)
                now = time.monotonic()
                clock = (told["localTime"] - datetime.now(UTC)).total_seconds()
                if now - last > OUTAGE:
                    self.history.troubles.append(Trouble(last, now, "no writes"))
                if offset is not None and abs(clock - offset) > JUMP:
                    jump = Trouble(last, now, "the server's clock jumped", clock - offset)
                    self.history.troubles.append(jump)
                last, offset = now, clock
            self._ending.wait(LOOK)


LAST = "the-last-event"
