"""The files of a run's folder that are the run's own. All others are its outputs.

Their names are such as no library chooses: `config.json` is what `save_pretrained` writes, and `log.txt` what many a
script does. Folders of before that was so have the earlier names, and are read for ever.
"""

from collections.abc import Container
from pathlib import Path

CONFIG, MANIFEST, LOG = "repro-config.json", "repro-run.json", "repro-log.txt"
DIFF = "repro-code.diff"  # what was not committed; only there if something was not
CURVES = "repro-curves.csv"  # what the stage told by `progress`; only there if it told anything
CHECKPOINTS = "repro-checkpoints"  # a folder of the store, of which nothing is a result
STORE = "repro-store.json"  # beside the folders of runs: which store it is
OWN_FILES = (CONFIG, MANIFEST, LOG, DIFF, CURVES)
EARLIER = {CONFIG: "config.json", MANIFEST: "run.json", LOG: "log.txt", DIFF: "code.diff"}


def name_among(name: str, present: Container[str]) -> str:
    """What an own file is called in a folder that has these files. The config, which comes first, tells how old it is:
    in a newer folder a file of an earlier name is an output."""
    return name if name in present or CONFIG in present else EARLIER.get(name, name)


def own_file(folder: Path, name: str) -> Path:
    """The path of an own file in a run's folder of today or of earlier; it need not be there."""
    return folder / name_among(name, [one for one in (name, CONFIG) if (folder / one).exists()])
