"""The states of a run, and which of them each kind of user and worker may act on."""

from enum import StrEnum


class State(StrEnum):
    """What a crash leaves behind stands beside each state."""

    WAITING = "waiting"  # a source is not done; idle workers release it if the releaser died
    PENDING = "pending"  # claimable, unless held or not_before lies ahead
    RUNNING = "running"  # a worker holds the lease; a dead worker's lease expires
    DONE = "done"  # the folder at `location` is complete; final
    FAILED = "failed"  # `error` says why; final until retried
    CANCELLED = "cancelled"  # by a user; final until retried
    VERIFIED = "verified"  # a rerun has ended well, and is no result: `repro verify` compares it; final until rerun


FINAL = (State.DONE, State.FAILED, State.CANCELLED, State.VERIFIED)

# What a user's verbs take: cancel; retry; hold, unhold and set_priority.
LIVE = (State.WAITING, State.PENDING, State.RUNNING)
RETRIABLE = (State.FAILED, State.CANCELLED)
QUEUED = (State.WAITING, State.PENDING)
