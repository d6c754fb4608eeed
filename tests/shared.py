"""Servers that all processes of one test run share: the first that needs one starts it, the last one ends it."""

import fcntl
import json
from contextlib import contextmanager


def folder_of_the_run(tmp_path_factory, worker):
    """One folder for all processes that pytest-xdist runs side by side; `worker` is what it calls this one."""
    own = tmp_path_factory.getbasetemp()
    return own if worker == "master" else own.parent


@contextmanager
def shared(folder, name, start, stop):
    """What `start` returned in the first process, as JSON gives it to the others; `stop` is called with it at last."""
    state = folder / f"{name}.json"
    with _locked(folder / f"{name}.lock"):
        server, users = json.loads(state.read_text()) if state.exists() else (start(), 0)
        state.write_text(json.dumps([server, users + 1]))
    try:
        yield server
    finally:
        with _locked(folder / f"{name}.lock"):
            server, users = json.loads(state.read_text())
            if users > 1:
                state.write_text(json.dumps([server, users - 1]))
            else:
                state.unlink()
                stop(server)


@contextmanager
def _locked(path):
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
