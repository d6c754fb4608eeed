"""The environment of every run, with a queue or without: an allow-list of the outer one, and constants."""

import os
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

# What a run may see of the outer environment. All else, the user's shell settings included, stays out.
ALLOWED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
CONSTANT = {
    "CUDA_VISIBLE_DEVICES": "",  # a slot grants cards
    "LC_ALL": "C.UTF-8",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",  # until the config's "threads" is applied
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "TZ": "UTC",
}
AGAIN = "REPRO_STARTED_AGAIN"  # that a process has been; its stage never sees it


def common_environment(outer: Mapping[str, str]) -> dict[str, str]:
    """What a run sees of an outer environment, before anything is granted to it."""
    return {key: value for key, value in outer.items() if key in ALLOWED} | CONSTANT


def asked_for(patterns: Iterable[str], outer: Mapping[str, str]) -> dict[str, str]:
    """What of an outer environment a stage asks for, by names or patterns such as `AWS_*`."""
    return {key: value for key, value in outer.items() if any(fnmatchcase(key, pattern) for pattern in patterns)}


def start_again_in(wanted: Mapping[str, str]) -> None:
    """Start this process' command anew in this environment, unless that is what has been done.

    Python reads the hash seed, the locale and the time zone when it starts: nothing less would do.
    """
    if os.environ.pop(AGAIN, None) or dict(os.environ) == dict(wanted):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], dict(wanted) | {AGAIN: "yes"})
