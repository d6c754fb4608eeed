"""What a run did that neither its config nor its stage's module declares (R6)."""

from collections.abc import Callable

MOST = 20  # of a kind that are named; all are counted


class Undeclared:
    """Things by their kind, such as "network" or "files", each once."""

    def __init__(self) -> None:
        self._noted: dict[str, dict[str, None]] = {}
        self.tell: Callable[..., None] = lambda *_: None  # for a note of a forked process (`ForkedNotes`)

    def note(self, kind: str, what: str) -> None:
        self._noted.setdefault(kind, {})[what] = None
        self.tell("undeclared", kind, what)

    def facts(self) -> dict[str, list[str]]:
        """Kind -> what was noted of it, in order, without repetition; past a bound only how many more."""
        return {
            kind: [*list(things)[:MOST], *([f"and {len(things) - MOST} more"] if len(things) > MOST else [])]
            for kind, things in sorted(self._noted.items())
        }
