"""What the whole server shares: the queue, the store, what viewers may do, and how the server is reached."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from repro.web.news import News
from repro.web.shared_views import SharedViews

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue
    from repro.worker.store.store import Store

PATIENCE = 5.0  # seconds that a page may ask MongoDB


@dataclass(frozen=True)
class Context:
    """
    Attributes:
        port: where the server listens; its cookie is named with it, since cookies know no port.
        token: who does not bring it sees nothing; None lets everybody on this machine in.
        hosts: the names by which the server may be called, without ports.
        user_header: where a proxy before it says who asks; None: all are who started the server.
        may_write: whether the user of MongoDB may change runs, and the page shall.
        write_folder: where the files of new configs are written; None: nothing is submitted from here.
    """

    db: "Queue"
    open_store: "Callable[[], Store]"
    news: News
    port: int
    hosts: frozenset[str]
    token: str | None = None
    user_header: str | None = None
    may_write: bool = True
    write_folder: Path | None = None
    views: SharedViews = field(default_factory=SharedViews)

    @property
    def cookie(self) -> str:
        return f"repro-ui-{self.port}"

    def knows(self, token: str) -> bool:
        return self.token is None or secrets.compare_digest(token.encode(), self.token.encode())

    def by(self, headers: Mapping[str, str]) -> str:
        """Who does something, for the history of a run."""
        from repro.scheduler.queue.submission import submitter
        from repro.stages.plain import clean

        said = headers.get(self.user_header, "") if self.user_header else ""
        return f"{clean(said, 100)} (page)" if said else f"{submitter()} (page)"
