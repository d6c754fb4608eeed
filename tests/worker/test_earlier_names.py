"""Folders of before a run's own files had their names are read as ever; in a newer one such a file is an output."""

import json
from pathlib import Path

from repro.readers import run_folders
from repro.stages.own_files import CONFIG, EARLIER, LOG, MANIFEST, own_file
from repro.worker.audit import store_recovery


def as_of_earlier(folder):
    for name, earlier in EARLIER.items():
        if (folder / name).exists():
            (folder / name).rename(folder / earlier)


def test_a_store_of_earlier_gives_everything_back(bench):
    run = bench.run("a", "write")
    before, log = bench.store.mark(run["location"]).data, bench.store.read(run["location"], LOG)
    as_of_earlier(bench.folder_of("a"))
    assert bench.store.mark(run["location"]).data == before
    assert bench.store.read_own(run["location"], LOG) == log
    assert run_folders.with_sources(bench.folder_of("a"))[0]["config"] == run["config"]
    bench.db.runs.delete_many({})
    plan = store_recovery.plan(bench.db, bench.store, checksums=True)
    store_recovery.restore(bench.db, bench.store, plan)
    again = bench.get("a")
    assert {key: again[key] for key in ("config", "fingerprint", "outputs", "metrics")} == {
        key: run[key] for key in ("config", "fingerprint", "outputs", "metrics")
    }


def test_what_an_attempt_of_today_has_not_is_not_taken_from_its_outputs(bench):
    location = f"{bench.store.url}/a-{'0' * 8}"
    bench.store.open_attempt(location)
    bench.store.create(location, CONFIG, b"{}")
    bench.store.create(location, EARLIER[MANIFEST], json.dumps({"name": "a library's"}).encode())
    assert bench.store.mark(location) is None
    folder = Path(location.removeprefix("file://"))
    assert own_file(folder, MANIFEST) == folder / MANIFEST
