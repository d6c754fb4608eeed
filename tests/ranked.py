"""A stage on several ranks, one of which ends badly, offered to the registry through a real entry point."""

import os
import signal
import sys
import time
from pathlib import Path

from repro.stages.errors import StageError

RANKS = True


def ranked(run):
    """Rank `who` ends as `how` says, while the others wait for it; if it says nothing all is well."""
    from torch import distributed

    if run.rank == run.params.get("who", 1):
        match run.params.get("how", ""):
            case "tells":
                raise StageError("no good")
            case "raises":
                raise ValueError("boom")
            case "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "meets a full disk":
                with Path("/dev/full").open("w") as file:
                    file.write("too much")
            case "writes":
                run.open("mine.txt")
            case "closes its stdout":
                sys.stdout.close()
    elif run.params.get("hangs", False):
        time.sleep(600)
    distributed.barrier()
    if run.rank == 0:
        with run.open("out.txt") as file:
            file.write(f"{run.ranks} ranks")
        return {"ranks": run.ranks}
    return None


def install(folder):
    (folder / "ranked.py").write_text(Path(__file__).read_text())
    info = folder / "ranked-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ranked\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[repro.stages]\ntoy_ranked = ranked:ranked\n")
