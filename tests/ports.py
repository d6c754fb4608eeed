"""Ports for servers that tests start: each process of a test run has a part of its own of those that the system gives
to nobody, so that no two of them choose one port at the same moment."""

import os
import random
import socket

FIRST, LAST, PROCESSES = 12_000, 32_000, 8  # below the ports that Linux gives to clients


def free_port():
    return free_range(1)


def free_range(count):
    """The first of so many ports one after the other at which nobody listens."""
    size = (LAST - FIRST) // PROCESSES
    begin = FIRST + size * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES)
    while True:
        first = random.randrange(begin, begin + size - count)
        if not any(listens(port) for port in range(first, first + count)):
            return first


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
