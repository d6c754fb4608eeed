"""Runs that need a certain machine, as a user types it: who takes them, who leaves them, and what is told meanwhile."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from repro.scheduler.runs import demands
from repro.worker.abilities import Abilities
from repro.worker.gpus import Gpu
from tests.repro.test_own_stages import Place
from tests.worker.test_worker import wait_for


@pytest.fixture
def place(tmp_path, settings_environment, database):
    found = Place(tmp_path / "mine", settings_environment, database)
    found.write("a.json", {"stage": "texts:write"})
    found.write("texts.py", "def write(run):\n    return {'seed': run.params.get('seed', 0)}\n")
    return found


def test_a_run_goes_to_a_worker_that_has_what_it_needs(place):
    place.well("repro-submit", "a.json", "--needs", "site=berlin", "--needs", "torch>=2", "--same", "numpy")
    needs = f"numpy={version('numpy')} & site=berlin & torch>=2"
    assert place.run("a")["needs"] == needs
    place.well("repro-worker", "--burst", "--gpus", "none", "--label", "site=paris")
    assert place.run("a")["state"] == "pending"
    command = ["repro-worker", "--gpus", "none", "--lease", "5", "--label", "site=Paris", "--label", "room=5"]
    worker = subprocess.Popen(command, env=place.environment, cwd=place.folder, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: "no live worker has that" in place.well("repro", "status").stdout)
        shown = needs.replace(" & ", ", ")
        assert f"needs {shown}, and no live worker has that; see repro workers" in place.well("repro", "status").stdout
        wait_for(lambda: "has not" in place.well("repro", "workers").stdout)  # with its next heartbeat
        (told,) = json.loads(place.well("repro", "workers", "--json").stdout)
        assert (told["has"]["site"], told["has"]["room"], told["meets"]) == ("Paris", "5", [])
        assert told["lacks"] == [f"has not {shown}"]
        assert (told["has"]["torch"], told["has"]["repro-queue"]) == (version("torch"), version("repro-queue"))
        assert "site Paris" in place.well("repro", "workers").stdout
    finally:
        worker.terminate()
        worker.wait(300)
    place.well("repro-worker", "--burst", "--gpus", "none", "--label", "site=Berlin")
    assert place.run("a")["state"] == "done"
    assert f"  needs: {shown}" in place.well("repro", "show", "a").stdout


def test_what_it_needs_is_no_part_of_the_result(place):
    place.well("repro-submit", "a.json")
    place.work()
    twin = place.well("repro-submit", "a.json", "--name", "twin", "--needs", "site=nowhere")
    assert "done at once: equal to a" in twin.stdout


def test_a_demand_that_every_worker_meets_stops_nobody(place):
    for seed in (1, 2):
        place.well("repro-submit", "a.json", "--set", f"seed={seed}", "--needs", "python>=3")
    place.work()
    assert [place.run(name)["state"] for name in ("aa", "ab")] == ["done", "done"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["repro-submit", "a.json", "--needs", "A100"], "needs: expected such as card=*A100*"),
        (["repro-submit", "a.json", "--needs", "card>=A100"], "only numbers, versions and sizes"),
        (["repro-submit", "a.json", "--same", "no-such-package"], "no package of that name is installed here"),
        (
            ["repro-worker", "--gpus", "none", "--label", "berlin"],
            "expected NAME=VALUE, such as site=berlin, got: berlin",
        ),
        (["repro-worker", "--gpus", "none", "--label", "a b=c"], "expected NAME=VALUE"),
    ],
)
def test_what_makes_no_sense_is_one_line(place, words, told):
    refused = place(*words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr
    assert place.run("a") is None


def test_cards_are_known_where_all_are_alike():
    two = [Gpu("u1", "NVIDIA A100-SXM4-80GB", 80 * 10**9), Gpu("u2", "NVIDIA A100-SXM4-40GB", 40 * 10**9)]
    alike, mixed = Abilities(gpus=two[:1]), Abilities({"site": "here"}, two)
    assert demands.is_met("card=*a100* & memory>=80GB", alike.has)
    assert not demands.is_met("card=*a100*", mixed.has)
    assert demands.is_met("memory>=40GB & site=here", mixed.has)
    assert not demands.is_met("memory>=41GB", mixed.has)
    assert Abilities().has("python") == ".".join(map(str, sys.version_info[:3]))
    assert not demands.is_met("memory>=1", Abilities().has)


def test_what_the_code_imports_is_needed_and_no_machine_without_it_burns_the_queue(place):
    code = "import json, numpy, torch, click, mine2, nowhere_installed\nfrom another.part import x\n"
    code += "try:\n    import optional\nexcept ImportError:\n    optional = None\n"
    place.write("mine2.py", "import also_nowhere\n\nclass A:\n    import inside\n")
    place.write("texts.py", f"{code}\ndef write(run):\n    import late\n")
    place.well("repro-submit", "a.json")
    needs = "module.also_nowhere=* & module.another=* & module.click=* & module.nowhere_installed=*"
    assert (place.run("a")["needs"], place.run("a")["held"]) == (needs, needs)
    place.work()
    assert (place.run("a")["state"], place.run("a")["attempts"]) == ("pending", 0)
    assert "needs: module also_nowhere, module another, module click, module" in place.well("repro", "show", "a").stdout
    place.well("repro", "cancel", "a")
    place.write("texts.py", "import click, mine2\n\ndef write(run):\n    return {'ok': True}\n")
    place.write("mine2.py", "")
    place.well("repro", "retry", "a", "--code")
    assert (place.run("a")["needs"], place.run("a")["held"]) == ("module.click=*", "module.click=*")
    place.work()
    assert place.run("a")["state"] == "done"
    place.write("texts.py", "def write(run):\n    return {'ok': True}\n")
    place.well("repro", "verify", "a", "--no-wait")
    assert place.run("a.verify")["held"] is False
    place.write("b.json", {"stage": "texts:write", "seed": 3})
    place.write("texts.py", "import nowhere_installed\n\ndef write(run): ...\n")
    place.well("repro-submit", "b.json", "--allow-unknown", "seed", "--here")
    assert place.run("b")["held"] is False
