"""A run without a queue that was killed, taken up again in its own folder."""

import shutil
from pathlib import Path

from repro.stages import config as configs
from repro.stages.errors import ConfigError
from repro.stages.own_files import CONFIG, MANIFEST, own_file

CHECKPOINTS = ".checkpoints"  # in the root; no run is called so


def checkpoints_of(root: Path, name: str) -> Path:
    """Where the checkpoints of a run lie: beside its folder, for they are no results."""
    return root / CHECKPOINTS / name


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
        elif (has_config and left.name != kept.name) or left.name.startswith("."):  # the latter: half of its copy
            left.unlink()
    return has_config
