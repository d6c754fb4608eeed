"""A run without a queue that was killed, taken up again in its own folder."""

import fcntl
import os
import shutil
from pathlib import Path

from repro.stages import config as configs
from repro.stages.errors import ConfigError
from repro.stages.run import CONFIG, MANIFEST, own_file

CHECKPOINTS = ".checkpoints"  # in the root; no run is called so


def checkpoints_of(root: Path, name: str) -> Path:
    """Where the checkpoints of a run lie: beside its folder, for they are no results."""
    return root / CHECKPOINTS / name


def hold(folder: Path) -> int | None:
    """Keep others from taking up a run while this process, or one that it has forked, is at it.

    Returns:
        An open file that holds it; None where there is no run, or the file system knows no locks.

    Raises:
        ConfigError: somebody is at it.
    """
    try:
        handle = os.open(own_file(folder, CONFIG), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(f"{folder}: its run is still under way; nothing was changed; wait for it or end it") from None
    except OSError:
        os.close(handle)
        return None
    return handle


def make_way(folder: Path, config: configs.Config) -> bool:
    """Drop the files of an attempt that did not end, which count for nothing: the next one writes them again.

    Returns:
        Whether the folder is there and holds this config.

    Raises:
        ConfigError: the attempt did end, or it was not one at this config.
    """
    if own_file(folder, MANIFEST).exists():
        raise ConfigError(f"{folder}: is finished; there is nothing to resume")
    if not folder.exists():
        return False
    kept = own_file(folder, CONFIG)
    has_config = kept.exists()
    if has_config and kept.read_bytes() != configs.pretty(config):
        raise ConfigError(f"{folder}: holds a run of another config; nothing was changed; take another name or root")
    for left in folder.iterdir():
        if has_config and left.is_dir():
            shutil.rmtree(left)
        elif (has_config and left.name != kept.name) or left.name.startswith(
            "."
        ):  # the latter: half a copy of the config
            left.unlink()
    return has_config
