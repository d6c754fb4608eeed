"""The raw files that a dataset was made of, where its result lists them, from whatever store it lies in."""

import csv
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.stages.errors import ReproError
from repro.worker.store.outputs import outputs_of

if TYPE_CHECKING:
    from repro.worker.store.store import Store

RAW_FILES = "files.csv"  # the list, if the config asks for it
MOST_FILES, MOST_BYTES = 200, 1 << 20


def raw_files(open_store: "Callable[[], Store]", run: Mapping[str, Any]) -> dict[str, Any]:
    """The first of them: `name` of the run, `columns`, `rows`, `cut` (whether there are more); or `missing`, which says
    why there are none.
    """
    if run["state"] not in ("done", "verified"):
        return _missing(run["_id"], f"it is {run['state']}")
    try:
        store = open_store()
        listed = next((one for one in outputs_of(store, run) if one["path"] == RAW_FILES), None)
        if listed is None:
            return _missing(run["_id"], f"its result has no {RAW_FILES}")
        return _read(run["_id"], store.read_range(listed, run["location"], 0, MOST_BYTES), listed["size"])
    except (OSError, ReproError) as error:
        return _missing(run["_id"], str(error))


def of_folder(run: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a run whose location is a folder of this machine."""
    try:
        with Path(run["location"], RAW_FILES).open("rb") as file:
            return _read(run["_id"], file.read(MOST_BYTES), os.fstat(file.fileno()).st_size)
    except OSError as error:
        return _missing(run["_id"], str(error.strerror))


def _read(name: str, data: bytes, size: int) -> dict[str, Any]:
    text, cut = data.decode("utf-8", "surrogateescape"), size > len(data)
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1] if cut else text)))
    more = cut or len(rows) > MOST_FILES + 1
    return _missing(name, None) | {"columns": rows[0] if rows else [], "rows": rows[1 : MOST_FILES + 1], "cut": more}


def _missing(name: str, why: str | None) -> dict[str, Any]:
    return {"name": name, "columns": [], "rows": [], "cut": False, "missing": why}
