"""In a folder whose files have our names, or the standard library's: commands work, a stage has its own modules."""

import json
import os
import sys

import pytest

from tests.repro.test_own_stages import Place

# Each module says whose it is; `cycler` is one that is installed, too, and that the fork server has loaded.
STAGE = """
import config, cycler, datasets, scheduler, worker.inner, stages.train
from repro import StageError

def write(run):
    with run.open("text.txt") as file:
        file.write(" ".join([config.WHO, cycler.WHO, datasets.WHO, scheduler.WHO, worker.inner.WHO, stages.train.WHO]))
    if run.params.get("fails", False):
        raise StageError("as it was told to")
"""
TEXT = "my config my cycler my datasets my scheduler my worker.inner my stages.train"


@pytest.fixture(params=[".", None, pytest.param("elsewhere", marks=pytest.mark.slow)])
def crowded(request, tmp_path, settings_environment, database):
    """A folder with all these names, without PYTHONPATH, with the folder in it, and with another like it in it."""
    place = Place(tmp_path / "mine", settings_environment, database)
    crowd(place.folder, "my")
    crowd(place.folder / "elsewhere", "another's")
    place.write("a.json", {"stage": "mine:write"})
    if request.param:
        place.environment["PYTHONPATH"] = request.param
    return place


def crowd(folder, whose):
    for name in ("worker", "stages"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
    for name in ("config", "cycler", "datasets", "scheduler", "worker/inner", "stages/train", "queue", "images"):
        (folder / f"{name}.py").write_text(f'WHO = "{whose} {name.replace("/", ".")}"\n')
    for name in ("repro", "logging", "types", "re", "enum", "json", "click", "pymongo", "torch", "numpy"):
        (folder / f"{name}.py").write_text(f'raise RuntimeError("{whose} {name}.py was taken for another")\n')
    (folder / "mine.py").write_text(STAGE)


def test_commands_work_and_the_stage_has_its_own_modules(crowded):
    assert "unknown stage" not in crowded.well("repro", "--help").stdout
    crowded.well("repro-submit", "a.json")
    crowded.work()
    assert crowded.run("a")["state"] == "done", crowded.run("a").get("error")
    assert crowded.text("a") == TEXT
    crowded.well("repro", "status")
    crowded.well("repro", "show", "a")
    alone = crowded.well("repro", "run", "a.json")
    assert alone.stdout == "runs/a\n"
    assert (crowded.folder / "runs" / "a" / "text.txt").read_text() == TEXT
    if crowded.environment.get("PYTHONPATH") != ".":
        return
    crowded.well("repro", "verify", "a", "--no-wait")
    crowded.work()
    assert crowded.well("repro", "verify", "--collect").stdout.startswith("a: identical")
    crowded.well("repro", "golden", "add", "a.json", "--folder", "golden")
    assert crowded.well("repro", "golden", "check", "--folder", "golden").stdout == "a: identical\n"


@pytest.mark.parametrize("crowded", ["."], indirect=True)
def test_a_built_in_stage_never_sees_the_folder(crowded):
    crowded.write("noop.json", {"stage": "make_dataset", "images": "none/*.png"})
    crowded.well("repro-submit", "noop.json")
    crowded.work()
    assert "no file matches" in crowded.run("noop")["error"]["message"]
    refused = crowded("repro", "run", "noop.json")
    assert refused.returncode == 1
    assert "no file matches" in refused.stderr


@pytest.mark.parametrize("crowded", [None], indirect=True)
@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (
            "logging:write",
            "Python's standard library has a module of that name ({stdlib}logging/__init__.py), which is",
        ),
        ("repro:write", "the product has a module of that name ("),
        ("data.prepare:write", "{site}data/__init__.py is taken instead of {folder}/data, which has no __init__.py"),
    ],
)
def test_a_stage_whose_name_is_taken_is_refused_with_what_was_taken(
    crowded, tmp_path, settings_environment, stage, told
):
    site = tmp_path / "site"
    (site / "data").mkdir(parents=True)
    (site / "data" / "__init__.py").touch()
    (crowded.folder / "data").mkdir()
    (crowded.folder / "data" / "prepare.py").write_text("def write(run): ...\n")
    paths = [path for path in (crowded.environment.get("PYTHONPATH"), str(site)) if path]
    crowded.environment["PYTHONPATH"] = os.pathsep.join(paths)
    crowded.write("b.json", {"stage": stage})
    refused = crowded("repro-submit", "b.json")
    assert (refused.returncode, refused.stdout) == (2, "")
    stdlib = os.path.dirname(os.__file__) + "/"  # noqa: PTH120
    assert told.format(stdlib=stdlib, site=f"{site}/", folder=crowded.folder) in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert crowded.run("b") is None


def test_python_dash_m_repro_works_there_too(tmp_path, settings_environment, database):
    """Without the names that Python itself would stumble over before it finds us."""
    place = Place(tmp_path / "mine", settings_environment, database)
    for name in ("scheduler", "worker", "config", "logging", "click", "pymongo"):
        (place.folder / f"{name}.py").write_text(f'raise RuntimeError("{name}.py was taken for another")\n')
    assert json.loads(place.well(sys.executable, "-m", "repro", "status", "--json").stdout) is not None
