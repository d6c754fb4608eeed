"""The faults of a storm, each a function of it that strikes and says when it is over.

To add one, write it here with its line in FAULTS. `storm.store` is the proxy before the store, where there is one.
"""

import time

STALL = 3.0  # seconds: shorter than the two thirds of a lease after which a worker may lose its runs


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
    """Strike each of the commands at the primary twice, as far as it is asked for in a while."""
    proxy = storm.servers.primary().proxy
    rules = [proxy.next(fault, method=command, times=2, **more) for command in commands]
    end = time.monotonic() + 2 * STALL
    while any(rule.times for rule in rules) and time.monotonic() < end:
        time.sleep(0.05)
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
    _fill(storm.disk)


def _fill(disk):
    disk.fill()
    time.sleep(STALL)
    disk.relieve()


FAULTS = (
    *(step_down, kill_primary, stop_primary, primary_with_a_wrong_clock),
    *(kill_worker, kill_worker, stop_worker),
    *(lose_replies, lose_requests, stall_replies, cut_connections, freeze_network, refuse_connections),
    *(full_home, full_store),
)
# Leases and backoffs that were given before the clock went back end that much later. A clock that goes ahead makes
# them due, so a storm need not wait for them.
LAST = primary_with_a_wrong_clock
