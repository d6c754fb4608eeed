"""The run store: the states, the document, and every transition. Nothing else writes a run document.

Each transition is one function and one atomic update of single documents, guarded by the state that it
leaves and, where a worker writes, by the token of its claim. Times are the server's. In lifecycle order:

    submit             (none) -> waiting | pending
    adopt              (none) -> done               a run of the same fingerprint is done: its result is this one's
    release_children   waiting -> pending           the last source is done
    claim              pending -> running           with a fresh token
    reserve            pending, as it is            one worker keeps GPUs free for a run that needs more
    renew              running -> running           the token is still its own
    complete           running -> done | verified   token checked; verified if it is a rerun
    fail               running -> failed | pending  pending if the fault was the machine's and attempts are left
    hand_back          running -> pending           the attempt is not counted
    expire             running -> pending | failed  the lease ran out
    shorten_waits      running | pending, as it is  the server's clock went back: leases and backoffs would last longer
    cancel             waiting | pending | running -> cancelled
    retry              failed | cancelled -> waiting | pending
    hold, unhold, set_priority   waiting | pending, as they are; these and cancel also of all that a filter lets through
    conclude           waiting -> done              a search's trials have ended: its result is the best one's
    give_up            waiting -> failed            of a search whose trials can't tell which is the best
    pause              waiting, as it is            of a search: nothing is asked for until it is unheld
    note_trials, join  as they are                  how far a search is; which runs are its trials
    restore            (none) -> done               from a complete folder, when the queue was lost
    rerun              (none) | final -> pending    a done run is computed again, under a name of its own
    record_verdict     done, as it is               what a rerun came to joins it; its result stays as it is

Submit, adopt, restore and rerun stand in `inserts`, those from release_children to shorten_waits in `by_worker`, those
of searches in `of_searches`, the others in `by_user`.

Not guaranteed: that a lease lasts as long as asked (the server's clock may jump ahead at a failover). Leases are
for liveness; what a late worker may write is decided by its token alone.
"""

from repro.scheduler.runs.by_user import (
    VERDICTS,
    cancel,
    cancel_all,
    hold,
    hold_all,
    record_verdict,
    retry,
    set_priority,
    set_priority_of_all,
    unhold,
    unhold_all,
)
from repro.scheduler.runs.by_worker import (
    CLAIM_ORDER,
    ClaimSpread,
    claim,
    claimable,
    complete,
    expire,
    fail,
    hand_back,
    new_token,
    release_children,
    renew,
    reserve,
    shorten_waits,
)
from repro.scheduler.runs.inserts import RERUN, RESULT, adopt, rerun, restore, submit
from repro.scheduler.runs.lacks import Lack, passing_over, told_by
from repro.scheduler.runs.of_searches import conclude, give_up, join, note_trials, pause
from repro.scheduler.runs.run_document import (
    INDEXES,
    RunDocument,
    Trials,
    Verdict,
    create_indexes,
    document,
    tokens,
)
from repro.scheduler.runs.states import FINAL, LIVE, QUEUED, RETRIABLE, State

__all__ = [
    "CLAIM_ORDER",
    "FINAL",
    "INDEXES",
    "LIVE",
    "QUEUED",
    "RERUN",
    "RESULT",
    "RETRIABLE",
    "VERDICTS",
    "ClaimSpread",
    "Lack",
    "RunDocument",
    "State",
    "Trials",
    "Verdict",
    "adopt",
    "cancel",
    "cancel_all",
    "claim",
    "claimable",
    "complete",
    "conclude",
    "create_indexes",
    "document",
    "expire",
    "fail",
    "give_up",
    "hand_back",
    "hold",
    "hold_all",
    "join",
    "new_token",
    "note_trials",
    "passing_over",
    "pause",
    "record_verdict",
    "release_children",
    "renew",
    "rerun",
    "reserve",
    "restore",
    "retry",
    "set_priority",
    "set_priority_of_all",
    "shorten_waits",
    "submit",
    "tokens",
    "told_by",
    "unhold",
    "unhold_all",
]
