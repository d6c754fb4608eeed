"""The raw files that a dataset was made of, where its result lists them, from whatever store it lies in."""

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from repro.stages.errors import ReproError
from repro.worker.store.outputs import outputs_of

if TYPE_CHECKING:
    from repro.scheduler.runs import RunDocument
    from repro.worker.store.store import Store

RAW_FILES = "files.csv"  # the list, if the config asks for it
MOST_FILES, MOST_BYTES = 200, 1 << 20


def raw_files(open_store: "Callable[[], Store]", run: "RunDocument") -> dict[str, Any]:
    """The first of them: `name` of the run, `columns`, `rows`, `cut` (whether there are more); or `missing`, which says
    why there are none.
    """
    found: dict[str, Any] = {"name": run["_id"], "columns": [], "rows": [], "cut": False, "missing": None}
    if run["state"] not in ("done", "verified"):
        return found | {"missing": f"it is {run['state']}"}
    try:
        store = open_store()
        listed = next((one for one in outputs_of(store, run) if one["path"] == RAW_FILES), None)
        if listed is None:
            return found | {"missing": f"its result has no {RAW_FILES}"}
        text = store.read_range(listed, run["location"], 0, MOST_BYTES).decode("utf-8", "surrogateescape")
    except (OSError, ReproError) as error:
        return found | {"missing": str(error)}
    cut = listed["size"] > MOST_BYTES
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1] if cut else text)))
    return found | {
        "columns": rows[0] if rows else [],
        "rows": rows[1 : MOST_FILES + 1],
        "cut": cut or len(rows) > MOST_FILES + 1,
    }
