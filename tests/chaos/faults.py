"""The faults of a storm, each a function of it that strikes and says when it is over.

To add one, write it here with its line in FAULTS, or with those of the kind of store that it strikes (stores.py).
"""

import time

STALL = 3.0  # seconds: shorter than the two thirds of a lease after which a worker may lose its runs
PATIENCE = 180.0  # seconds for the queue to get ahead in spite of a fault
ALWAYS = 10**9  # requests


def step_down(storm):
    storm.servers.step_down()


def kill_primary(storm):
    storm.servers.kill_primary()


def stop_primary(storm):
    storm.servers.stop_primary()


def primary_with_a_wrong_clock(storm):
    """The clock of the whole queue jumps ahead, and back with the next fail-over."""
    storm.servers.step_up(storm.servers.members[-1])


def kill_worker(storm):
    """At any moment, besides the kills at each step."""
    if victim := storm.fleet.one(storm.chance):
        victim.kill()


def stop_worker(storm):
    """Past its lease; it goes on while other faults strike."""
    if victim := storm.fleet.one(storm.chance):
        victim.stop(storm.history.lease * 1.5)


def lose_replies(storm):
    """To a claim, to a renewal or the end of a run, and to a submit: the server has applied what they asked for."""
    _strike_commands(storm, "drop reply", "findAndModify", "update", "insert")


def lose_requests(storm):
    _strike_commands(storm, "drop request", "findAndModify", "update", "insert")


def stall_replies(storm):
    _strike_commands(storm, "stall reply", "findAndModify", "update", "insert", seconds=STALL)


def _strike_commands(storm, fault, *commands, **more):
    """Strike each of the commands twice, as far as it is asked for in a while; at least one of them."""
    proxies = [member.proxy for member in storm.servers.members]  # another member may become primary meanwhile
    rules = [proxy.next(fault, method=command, times=2, **more) for proxy in proxies for command in commands]
    wait_until(lambda: any(rule.times < 2 for rule in rules), f"no command met {fault!r}")
    end = time.monotonic() + 2 * STALL
    while sum(2 - rule.times for rule in rules) < 2 * len(commands) and time.monotonic() < end:
        time.sleep(0.05)
    for proxy in proxies:
        proxy.forget()


def cut_connections(storm):
    for member in storm.servers.members:
        member.proxy.cut()


def freeze_network(storm):
    for member in storm.servers.members:
        member.proxy.freeze(STALL)
    time.sleep(STALL)


def refuse_connections(storm):
    """As a firewall does that somebody has just misconfigured."""
    for member in storm.servers.members:
        member.proxy.refusing = True
    time.sleep(STALL)
    for member in storm.servers.members:
        member.proxy.forget()


def full_home(storm):
    _fill(storm.home)


def full_store(storm):
    _fill(storm.store.disk)


def _fill(disk):
    disk.fill()
    time.sleep(STALL)
    disk.relieve()


def store_is_busy(storm):
    """503 to every request, as S3 asks clients to slow down."""
    _strike_store(storm, "503")


def store_truncates_reads(storm):
    _strike_store(storm, "truncate", method="GET")


def store_loses_replies(storm):
    """To creates, which are applied, and then refused when they are made again."""
    _strike_store(storm, "drop reply", method="PUT")


def store_loses_requests(storm):
    _strike_store(storm, "drop request")


def store_stalls(storm):
    _strike_store(storm, "stall", seconds=STALL)


def store_is_cut_off(storm):
    """In the middle of a create, which is applied when its client has long made it again."""
    rule = storm.store.proxy.next("stall", method="PUT", seconds=STALL)
    wait_until(lambda: not rule.times, "nothing is created")
    storm.store.proxy.cut()


def store_refuses_connections(storm):
    storm.store.proxy.refusing = True
    time.sleep(STALL)
    storm.store.proxy.forget()


def workers_die_during_an_upload(storm):
    """All of them, as in a power cut, the other queue's, too: any of them may be the one that uploads. The parts of
    a large object that were sent stay.
    """
    rule = storm.store.proxy.next("stall", method="PUT", contains="partNumber=", seconds=STALL)
    wait_until(lambda: not rule.times, "no large object is uploaded")
    for seat in (*storm.fleet.seats, *storm.neighbour.fleet.seats):
        seat.kill()


def _strike_store(storm, fault, **which):
    """From the first request that meets the fault, for a while."""
    proxy = storm.store.proxy
    rule = proxy.next(fault, times=ALWAYS, **which)
    wait_until(lambda: rule.times < ALWAYS, f"nothing met {fault!r}")
    time.sleep(STALL)
    proxy.forget()


def wait_until(condition, complaint):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.05)


FAULTS = (
    *(step_down, kill_primary, stop_primary, primary_with_a_wrong_clock),
    *(kill_worker, kill_worker, stop_worker),
    *(lose_replies, lose_requests, stall_replies, cut_connections, freeze_network, refuse_connections),
    full_home,
)
OF_A_FOLDER = (full_store,)
OF_A_BUCKET = (
    *(store_is_busy, store_truncates_reads, store_loses_replies, store_loses_requests, store_stalls),
    *(store_is_cut_off, store_refuses_connections, workers_die_during_an_upload),
)
# Leases and backoffs that were given before the clock went back end that much later. A clock that goes ahead makes
# them due, so a storm need not wait for them.
LAST = primary_with_a_wrong_clock
