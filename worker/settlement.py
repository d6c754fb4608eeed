"""The step after execution: what came of an attempt is written, by one transition for each outcome."""

from contextlib import suppress

from repro.scheduler import runs
from repro.scheduler.queue import workers
from repro.scheduler.server.connection import Document, DriverError, Queue, is_later
from repro.stages.errors import ReproError
from repro.stages.plain import clean
from repro.worker.attempt.attempt import Attempt
from repro.worker.attempt.outcome import Done, Failed, MachineFault, Outcome, Stopped

LONGEST = 1000  # characters


def settle(db: Queue, attempt: Attempt, outcome: Outcome) -> Outcome:
    """The one transition that an outcome means; returns what it came to.

    An outcome that no document can hold fails the run instead: the next attempt would only meet that again.
    """
    try:
        return _write(db, attempt, outcome)
    except Exception as error:
        if isinstance(error, DriverError) and is_later(error):
            raise
        message = clean(f"what came of the run can't be kept in its document: {error}", LONGEST)
        attempt.checkpoint = None
        return _write(db, attempt, Failed({"type": type(error).__name__, "message": message}))


def _keep_data_root(db: Queue, result: Document) -> None:
    """Where nobody said where the data are, they are where the first run has read them."""
    root = ((result.get("environment") or {}).get("data") or {}).get("root")
    if root and workers.data_root(db, None) is None:
        with suppress(ReproError):  # another one was faster
            workers.data_root(db, root)


def _write(db: Queue, attempt: Attempt, outcome: Outcome) -> Outcome:
    name, token = attempt.name, attempt.token
    match outcome:
        case Done(location=location, result=result):
            accepted = runs.complete(db, name, token, location, result)
            if accepted:
                attempt.released = runs.release_children(db, [name])
                _keep_data_root(db, result)
        case Failed(error=error):
            accepted = runs.fail(db, name, token, error, checkpoint=attempt.checkpoint)
        case MachineFault(error=error):
            accepted = runs.fail(db, name, token, error, again=True, checkpoint=attempt.checkpoint)
        case Stopped(hand_back=True):
            accepted = runs.hand_back(db, name, token, attempt.checkpoint)
        case Stopped():
            return outcome
    return outcome if accepted else Stopped("its lease was taken; the result was dropped")
