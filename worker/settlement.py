"""The step after execution: what came of an attempt is written, by one transition for each outcome."""

from repro.scheduler import runs
from repro.scheduler.server.connection import Queue
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.outcome import Done, Failed, MachineFault, Outcome, Stopped


def settle(db: Queue, attempt: Attempt, outcome: Outcome) -> Outcome:
    """The one transition that an outcome means; returns what it came to."""
    name, token = attempt.name, attempt.token
    match outcome:
        case Done(location=location, result=result):
            accepted = runs.complete(db, name, token, location, result)
            if accepted:
                runs.release_children(db, [name])
        case Failed(error=error):
            accepted = runs.fail(db, name, token, error, checkpoint=attempt.checkpoint)
        case MachineFault(error=error):
            accepted = runs.fail(db, name, token, error, again=True, checkpoint=attempt.checkpoint)
        case Stopped(hand_back=True):
            accepted = runs.hand_back(db, name, token, attempt.checkpoint)
        case Stopped():
            return outcome
    return outcome if accepted else Stopped("its lease was taken; the result was dropped")
