"""The process of one rank: it meets the others, computes, tells its parent what came of it, and waits for the end."""

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from repro.stages.errors import ReproError, Stopped, describe
from repro.stages.run import Run
from repro.stages.running import determinism, process_tree

FOREVER = timedelta(days=365)  # a rank that has died is noticed otherwise, and one may have much to validate


def live(run: Run, meeting: Path, pipe: int, parent: int, compute: Callable[[Run], Any]) -> NoReturn:
    """Be one rank: compute, send one message of what came of it into the pipe, and wait for the end of all."""
    message: dict[str, Any] = {}
    try:
        process_tree.die_with(parent)
        if run.rank:  # a signal to all of them, from a terminal or a service manager, is rank 0's affair
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            run.report = lambda step, total, metrics: None
        _meet(run, meeting)
        result = compute(run)
        message = {"result": vars(result)} if run.rank == 0 else {}
    except Stopped as stopped:
        message = {"stopped": stopped.step}
    except BaseException as error:
        message = {"error": describe(error)}
        if not isinstance(error, ReproError):
            with contextlib.suppress(Exception):  # its log may be closed
                traceback.print_exc()
    try:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the stage may have closed or replaced it
                stream.flush()
        _send(pipe, message | {"at": time.monotonic()})
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        while True:
            signal.pause()
    finally:
        os._exit(1)


def _meet(run: Run, meeting: Path) -> None:
    import torch
    from torch import distributed

    card = determinism.device(run.params) == "cuda"
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ[variable] = "lo" if sys.platform == "linux" else "lo0"
    if card:
        torch.cuda.set_device(run.rank)
    distributed.init_process_group(
        "nccl" if card else "gloo", f"file://{meeting}", FOREVER, rank=run.rank, world_size=run.ranks
    )


def _send(pipe: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]
