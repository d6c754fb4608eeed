"""Where the data of a queue's runs lie, and which of them a run has read: other data are no fault of the code."""

import hashlib
import json
import sys

import pytest

from tests import toy

READS = """
import os
from pathlib import Path

def read(run):
    found = sorted(Path(run.data).glob("texts/*.txt"))
    with run.open("all.txt") as file:
        file.write("".join(path.read_text() for path in found))
"""


@pytest.fixture
def repro(cli, tmp_path, settings_environment):
    toy.install(tmp_path / "toy")
    (tmp_path / "toy/reads.py").write_text(READS)
    settings_environment["PYTHONPATH"] = str(tmp_path / "toy")
    (tmp_path / "x.json").write_text('{"stage": "reads:read"}')
    for place in ("one", "two"):
        (tmp_path / place / "texts").mkdir(parents=True)
        (tmp_path / place / "texts/a.txt").write_text(place)

    def call(*words, data="", folder=tmp_path):
        data = str(tmp_path / data) if data else ""
        words = [str(tmp_path / word) if word.endswith(".json") else word for word in words]
        return cli("env", "-C", folder, sys.executable, "-m", "repro", *words, REPRO_DATA=data)

    return call


def work(repro, *words, **more):
    return repro("worker", "--burst", "--gpus", "none", *words, **more)


def test_a_queue_reads_its_data_in_one_place(repro, database, tmp_path):
    assert work(repro, data="one").returncode == 0
    refused = work(repro, data="two")
    assert refused.returncode == 2
    assert f"read their data in {tmp_path}/one, not in {tmp_path}/two" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert work(repro, "--data-moved").returncode == 2
    assert work(repro, "--data-moved", data="two").returncode == 0
    assert work(repro, data="one").returncode == 2
    repro("submit", "x.json")
    assert work(repro).returncode == 0  # which says nothing: the queue knows
    assert database.runs.find_one({"_id": "x"})["environment"]["data"]["root"] == f"{tmp_path}/two"
    found = {one["name"]: one for one in json.loads(repro("doctor", "--json", data="one").stdout)}
    assert (found["data root"]["state"], found["data root"]["advice"]) == ("error", "unset REPRO_DATA")


def test_where_nobody_says_the_first_run_that_reads_data_fixes_their_place(repro, database, tmp_path):
    repro("submit", "x.json")
    assert work(repro, folder=tmp_path / "one").returncode == 0
    assert database.settings.find_one({"_id": "data"})["url"] == f"{tmp_path}/one"


def test_other_data_are_a_verdict_of_their_own(repro, database, tmp_path):
    repro("submit", "x.json")
    assert work(repro, data="one").returncode == 0
    read = database.runs.find_one({"_id": "x"})["environment"]["data"]
    listing = hashlib.sha256(b"path,size\ntexts/a.txt,3\n").hexdigest()
    assert read == {"root": f"{tmp_path}/one", "files": 1, "bytes": 3, "listing": listing}
    (tmp_path / "one/texts/b.txt").write_text("more")
    assert repro("verify", "x", "--no-wait").returncode == 0
    assert work(repro, data="one").returncode == 0
    judged = repro("verify", "--collect")
    assert judged.returncode == 1
    assert judged.stdout.startswith("x: data changed (1 outputs; ")
    assert "data bytes 3 -> 7, data files 1 -> 2" in judged.stdout
    assert f"(data): data changed, read 1 files, 3 bytes in {tmp_path}/one, now 2 files, 7 bytes" in judged.stdout
    assert "data changed" in repro("show", "x").stdout
