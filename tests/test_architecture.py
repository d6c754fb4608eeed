"""Imports point one way, one folder writes run documents and one part reads them, torch stays out of quick starts."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("stages", "scheduler", "worker", "repro")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))  # follows no links

WRITES = {
    *("insert_one", "insert_many", "update_one", "update_many", "replace_one", "delete_one", "delete_many"),
    *("bulk_write", "find_one_and_update", "find_one_and_replace", "find_one_and_delete"),
    *("drop", "drop_collection"),
}
OTHER_COLLECTIONS = {"workers", "metrics", "settings", "logs"}
WRITES_RUNS = "scheduler/runs/"
READS_RUNS = "scheduler/"
DOCUMENTED_QUERY = "repro/tools/demo.py"  # shows the plain query that users may make
RUNS_INSIDE_THE_CHILD = {"worker/process/child.py", "worker/process/fork_server.py"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def writes(tree: ast.AST) -> list[int]:
    """Lines that may write run documents: a write on anything not plainly named as another collection."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in WRITES:
            on = node.value
            match on:
                case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=name)):
                    pass
                case ast.Call(func=ast.Attribute(attr="get_collection"), args=[ast.Constant(value=name), *_]):
                    pass
                case _:
                    name = None
            if name not in OTHER_COLLECTIONS:
                found.append(node.lineno)
        elif isinstance(node, ast.Constant) and node.value in WRITES | {"$out", "$merge"}:
            found.append(node.lineno)  # getattr(collection, "insert_one"), or a pipeline that writes
    return sorted(found)


def touches_of_runs(tree: ast.AST) -> list[int]:
    """Lines that may touch the collection of runs: `.runs` of anything but a module, `self` and what is called."""
    modules = {"self"}
    called = set[ast.AST]()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                modules |= {(alias.asname or alias.name).partition(".")[0] for alias in names}
            case ast.Call(func=function):
                called.add(function)
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="runs", value=ast.Name(id=name)) if name in modules:
                pass
            case ast.Attribute(attr="runs") if node not in called:
                found.append(node.lineno)
            case ast.Subscript(slice=ast.Constant(value="runs")):
                found.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr="get_collection"), args=[ast.Constant(value="runs"), *_]):
                found.append(node.lineno)
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value="runs"), *_]):
                found.append(node.lineno)
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("repro.scheduler.runs"):
                found += [node.lineno for alias in names if alias.name == "collection"]
            case ast.Attribute(attr="collection", value=ast.Name(id="runs" | "run_document")):
                found.append(node.lineno)
    return sorted(found)


def imports_at_once(tree: ast.Module, module: str) -> list[int]:
    """Lines that import a module as soon as theirs is imported: not in a function, not for types only."""
    found, waiting = [], list[ast.AST](tree.body)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=rest):
                waiting += rest
                continue
            case ast.Import(names=names) if any(a.name.partition(".")[0] == module for a in names):
                found.append(node.lineno)
            case ast.ImportFrom(module=str(name), level=0) if name.partition(".")[0] == module:
                found.append(node.lineno)
        waiting += ast.iter_child_nodes(node)
    return sorted(found)


def test_the_sources_are_found():
    assert {name_of(path).partition("/")[0] for path in SOURCES} == set(PACKAGES)


def test_import_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_run_documents_are_written_in_one_folder(path):
    if not name_of(path).startswith(WRITES_RUNS):
        assert writes(ast.parse(path.read_text())) == []


def test_the_one_folder_does_write_them():
    assert any(writes(ast.parse(path.read_text())) for path in (ROOT / WRITES_RUNS).iterdir() if path.suffix == ".py")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("db.runs.insert_one({})", [1]),
        ('db["runs"].update_many({}, {})', [1]),
        ('db.get_collection("runs").delete_one({})', [1]),
        ("collection = db.runs\ncollection.replace_one({}, {})", [2]),
        ("collection().bulk_write([])", [1]),
        ("write = db.runs.find_one_and_update", [1]),
        ('getattr(db.runs, "delete_many")({})', [1]),
        ('db.runs.aggregate([{"$out": "runs"}])', [1]),
        ("db[name].drop()", [1]),
        ("db.workers.update_one({}, {})", []),
        ('db["settings"].find_one_and_update({}, {})', []),
        ('db.get_collection("metrics").insert_many([])', []),
        ("db.runs.find({})", []),
        ("environment.update(more)", []),
    ],
)
def test_a_write_elsewhere_is_caught(code, found):
    assert writes(ast.parse(code)) == found


@pytest.mark.parametrize("path", [p for p in SOURCES if not name_of(p).startswith(READS_RUNS)], ids=name_of)
def test_run_documents_are_read_in_one_part(path):
    if name_of(path) != DOCUMENTED_QUERY:
        assert touches_of_runs(ast.parse(path.read_text())) == []


def test_the_one_part_does_read_them():
    reading = [p for p in SOURCES if name_of(p).startswith(READS_RUNS) and touches_of_runs(ast.parse(p.read_text()))]
    assert {p.parent.name for p in reading} == {"lists", "queue", "runs"}
    assert touches_of_runs(ast.parse((ROOT / DOCUMENTED_QUERY).read_text())) != []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("db.runs.find({})", [1]),
        ("self.db.runs.find_one({})", [1]),
        ("connect().runs.aggregate([])", [1]),
        ("read = db.runs", [1]),
        ("count(db.runs)", [1]),
        ("import client\nclient.repro.runs.distinct('a')", [2]),
        ('db["runs"].find()', [1]),
        ('db.get_collection("runs", codec_options=options).find()', [1]),
        ('getattr(db, "runs").find()', [1]),
        ("from repro.scheduler.runs.run_document import RunDocument, collection", [1]),
        ("from repro.scheduler import runs\nruns.collection(db).find()", [2]),
        ("db.workers.find({})", []),
        ("from repro.scheduler.queue import lookup\nlookup.runs(db, names)", []),
        ("from repro.tools import completion\noption(shell_complete=completion.runs)", []),
        ("import repro.scheduler.runs\nrepro.runs", []),
        ("from repro.scheduler import runs\nruns.claim(db)", []),
        ("from repro.scheduler.runs import State, claim", []),
        ('document["sources"], self.runs, max_runs', []),
    ],
)
def test_a_read_elsewhere_is_caught(code, found):
    assert touches_of_runs(ast.parse(code)) == found


@pytest.mark.parametrize("path", [p for p in SOURCES if not name_of(p).startswith("stages/")], ids=name_of)
def test_torch_is_imported_inside_the_child_only(path):
    if name_of(path) not in RUNS_INSIDE_THE_CHILD:
        assert imports_at_once(ast.parse(path.read_text()), "torch") == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import torch", [1]),
        ("import json, torch.nn as nn", [1]),
        ("from torch import nn", [1]),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", [2]),
        ("class A:\n    from torch.nn import Module", [2]),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import torch", [4]),
        ("with a:\n    import torch", [2]),
        ("def f():\n    import torch", []),
        ("if TYPE_CHECKING:\n    import torch", []),
        ("import torchvision\nfrom .torch import a\nfrom repro.stages import torch_tools", []),
    ],
)
def test_an_import_of_torch_is_caught(code, found):
    assert imports_at_once(ast.parse(code), "torch") == found


def test_reading_the_keys_of_every_stage_loads_no_torch():
    """Which is what a submit does; `stages` themselves import torch freely."""
    code = (
        "import sys; from repro.stages import config, params; from repro.stages.running import manifest, standalone;"
        "from repro.stages.source import registry;"
        "assert [registry.keys(name) for name in registry.BUILT_IN];"
        "print([m for m in ('torch', 'numpy', 'matplotlib', 'pymongo') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
