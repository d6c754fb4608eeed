"""Three real mongods that elect one of them, each behind a proxy; one of them may have a wrong clock."""

import contextlib
import signal
import time
from contextlib import ExitStack

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from repro.scheduler.server import mongod
from tests.chaos import clock
from tests.chaos.mongo_proxy import MongoFaults
from tests.chaos.proxy import HOST
from tests.ports import free_port

PATIENCE = 60  # seconds for an election on a machine that is busy with other work
ELECTION = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}


class Member:
    """A mongod, its data, and the proxy under whose port the others and all clients know it."""

    def __init__(self, number, folder, skew=0):
        self.number, self.folder = number, folder
        self.port = free_port()
        self.data = folder / str(number)
        self.data.mkdir(parents=True)
        self.program = mongod.find()
        if skew:
            self.program = clock.wrapped(self.program, skew, folder / "mongod-skewed")
        self.proxy = MongoFaults(self.port)
        self.start()

    def start(self):
        self.process = mongod.spawn(self.program, self.data, self.port, self.folder / f"{self.number}.log")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def client(self):
        """A connection that no proxy stands in."""
        return MongoClient(HOST, self.port, directConnection=True, serverSelectionTimeoutMS=PATIENCE * 1000)

    def says(self):
        """What it thinks that it is: `isWritablePrimary`, `secondary`, `localTime`; empty if it does not answer."""
        with self.client() as client, contextlib.suppress(PyMongoError):
            return client.admin.command("hello")
        return {}


class ReplicaSet:
    """The members know each other by their proxies; see mongo_proxy for why. The last one's clock is off by `skew`."""

    def __init__(self, folder, skew=0):
        self.folder, self.skew = folder, skew

    def __enter__(self):
        with ExitStack() as stack:
            self.members = [self._member(stack, number) for number in range(3)]
            hosts = [f"{HOST}:{member.proxy.port}" for member in self.members]
            self.url = f"mongodb://{','.join(hosts)}/repro?replicaSet=rs0"
            self._initiate(hosts)
            self.primary()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _member(self, stack, number):
        member = Member(number, self.folder, self.skew if number == 2 else 0)
        stack.callback(member.kill)
        stack.enter_context(member.proxy)
        return member

    def _initiate(self, hosts):
        for member in self.members:  # initiating asks each of them and fails on one that is not up yet
            with member.client() as client:
                client.admin.command("ping")
        members = [{"_id": number, "host": host} for number, host in enumerate(hosts)]
        with self.members[0].client() as client:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": ELECTION})

    def primary(self):
        """The member that takes writes; waits through an election."""
        with MongoClient(self.url, serverSelectionTimeoutMS=PATIENCE * 1000) as client:
            deadline = time.monotonic() + PATIENCE
            while True:
                client.admin.command("ping")
                if (found := client.primary) is not None:
                    return next(member for member in self.members if member.proxy.port == found[1])
                assert time.monotonic() < deadline, "no primary"
                time.sleep(0.05)

    def step_down(self):
        with self.primary().client() as client, contextlib.suppress(AutoReconnect, OperationFailure):
            client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=3, force=True)

    def step_up(self, member):
        """Make a certain member primary; asks again if an election goes otherwise."""

        def has_won():
            with member.client() as client, contextlib.suppress(AutoReconnect, OperationFailure):
                client.admin.command("replSetStepUp")
            return member.says().get("isWritablePrimary")

        self._wait(has_won, "the member does not become primary")

    def kill_primary(self):
        """kill -9, and a new start of it once there is another one; a set of three bears one that is missing."""
        victim = self.primary()
        victim.kill()
        self.primary()
        victim.start()
        self._wait(lambda: victim.says().get("secondary"), "the member that was killed does not come back")

    def stop_primary(self):
        """SIGSTOP, until there is another one."""
        victim = self.primary()
        others = [member for member in self.members if member is not victim]
        victim.process.send_signal(signal.SIGSTOP)
        try:
            self._wait(lambda: any(m.says().get("isWritablePrimary") for m in others), "nobody else became primary")
        finally:
            victim.process.send_signal(signal.SIGCONT)

    def _wait(self, condition, complaint):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, complaint
            time.sleep(0.1)
