"""Threads that a worker can't do without: one that dies is noticed, and never quietly."""

import threading


class WatchedThread(threading.Thread):
    """Ends with `work`. What it raises is kept in `died`, for the loop to leave by and `/healthz` to tell."""

    died: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.died = error

    def work(self) -> None:
        raise NotImplementedError
