"""Runs as their folders tell them: `repro-run.json` of a complete folder, and of those beside it that it comes from."""

import json
from pathlib import Path
from typing import Any

from repro.stages import config as configs
from repro.stages.errors import ReproError
from repro.stages.own_files import MANIFEST, own_file
from repro.stages.plain import unstrict

Run = dict[str, Any]


def with_sources(folder: Path) -> tuple[Run, dict[str, Run]]:
    """The run of a folder, and those that it comes from, as far as their folders lie beside it.

    Raises:
        ReproError: there is no complete result.
    """
    run, line = _read(folder), dict[str, Run]()
    waiting = [(run, folder)]
    while waiting:
        child, place_of_child = waiting.pop()
        for name, of in child["of_sources"].items():
            last = str(of.get("location", name)).rpartition("/")[2]
            beside = next((f for f in (place_of_child.parent / last, place_of_child.parent / name) if _is_run(f)), None)
            if name not in line and beside:
                line[name] = _read(beside)
                waiting.append((line[name], beside))
            line.setdefault(name, {"_id": name, **of})
    return run, line


def _is_run(folder: Path) -> bool:
    return own_file(folder, MANIFEST).is_file()


def _read(folder: Path) -> Run:
    mark = own_file(folder, MANIFEST)
    try:
        manifest: Run = json.loads(mark.read_bytes())
        config, sources = manifest["config"], manifest["sources"]
        run = manifest | {"_id": manifest["name"], "stage": config["stage"], "state": "done", "location": str(folder)}
        run["metrics"] = unstrict(run["metrics"])
        unread = configs.unread(config, manifest["params"])
        return run | {"of_sources": sources, "sources": list(sources), "unread": unread}
    except OSError as error:
        raise ReproError(f"{mark}: {error.strerror}; a folder without it is not a complete result") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReproError(f"{mark} is broken: {type(error).__name__}: {error}") from error
