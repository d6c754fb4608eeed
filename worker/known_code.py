"""What this worker's code knows: it starts no run whose stage, or a key of whose config, it does not know.

A run that it lacks something for goes back uncounted, and its claims pass over it and its like, until its code has
changed.
"""

import re
import time
from collections.abc import Callable

from repro.scheduler.runs import Lack, RunDocument
from repro.stages.errors import ConfigError, ReproError
from repro.stages.source import project, provenance, registry
from repro.stages.source.keys import UnknownKey

MOST = 50  # of which its claims are told; past that, the oldest is forgotten and found out again
AGAIN = 5.0  # seconds after which the code on disk is looked at again
PLAIN = re.compile(r"\w+", re.ASCII)  # a key that a query may name


class KnownCode:
    """`lacks`: what was found so far. `folders_of` tells where on this machine the code lies that came with a run."""

    def __init__(self, folders_of: Callable[[RunDocument], tuple[str, ...]] = lambda run: ()) -> None:
        self._folders_of = folders_of
        self._examples: dict[Lack, RunDocument] = {}
        self._look_at = 0.0

    @property
    def lacks(self) -> list[Lack]:
        """What is lacking still, by the code as it is on the disk now."""
        if self._examples and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + AGAIN
            self._examples = {lack: run for lack, run in self._examples.items() if self._find(run)}
        return list(self._examples)

    def lack_of(self, run: RunDocument) -> Lack | None:
        """What is lacking for a run; it is remembered. None if nothing is."""
        lack = self._find(run)
        if lack:
            self._look_at = time.monotonic() + AGAIN
            while len(self._examples) >= MOST:
                del self._examples[next(iter(self._examples))]
            self._examples[lack] = run
        return lack

    def _find(self, run: RunDocument) -> Lack | None:
        try:
            folders = self._folders_of(run)
        except (ReproError, OSError):  # whoever then executes the run meets it again, and says it
            return None
        with project.within(folders):
            lack = find(run)
        # Of code that came with a run nothing follows for another of the same stage.
        return lack._replace(key="") if lack and folders else lack


def find(run: RunDocument) -> Lack | None:
    """What this process's code lacks for a run. Keys are checked of runs whose submit kept which unknown ones it may
    have: older documents do not say."""
    stage, name = run["stage"], run["_id"]
    try:
        if "code" in run:
            registry.check(run["config"], "config", run.get("allow_unknown", ()), now=True)
        else:
            registry.locate(stage)
        if run.get("same_code") and provenance.submitted(stage)["digest"] != run["code"]["digest"]:
            return Lack(stage, "", name, f"its code is not that which is asked about, {run['code']['from']}")
    except UnknownKey as error:
        return Lack(stage, error.key if PLAIN.fullmatch(error.key) else "", name, str(error))
    except ConfigError as error:
        return Lack(stage, "", name, str(error))
    return None
