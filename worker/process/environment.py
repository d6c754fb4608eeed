"""The environment variables of a run's process: few, and none by accident."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

# What a run may see of the worker's environment. All else, the user's shell settings included, stays out.
ALLOWED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
CONSTANT = {
    "CUDA_VISIBLE_DEVICES": "",  # a slot grants GPUs
    "LC_ALL": "C.UTF-8",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",  # until the config's "threads" is applied
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "TZ": "UTC",
}


def common_environment(outer: Mapping[str, str]) -> dict[str, str]:
    """The environment of every run: an allow-list of the worker's, and constants."""
    return {key: value for key, value in outer.items() if key in ALLOWED} | CONSTANT


def asked_for(patterns: Iterable[str], outer: Mapping[str, str]) -> dict[str, str]:
    """What of the worker's environment a stage asks for, by names or patterns such as `AWS_*`."""
    return {key: value for key, value in outer.items() if any(fnmatchcase(key, pattern) for pattern in patterns)}
