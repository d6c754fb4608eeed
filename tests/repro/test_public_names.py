"""`from repro import ...`: quick, and all that examples and documents use."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import repro

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = sorted((ROOT / "docs" / "examples").rglob("*.py"))
HEAVY = ("torch", "numpy", "pymongo", "click")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
INSIDE = ("stages", "scheduler", "worker")  # parts of the product, as they lie in the repository


def sources():
    """Where it stands, and the Python of it: programs, and the blocks of pages."""
    for path in PROGRAMS:
        yield str(path.relative_to(ROOT)), path.read_text()
    for path in PAGES:
        for number, block in enumerate(
            re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
        ):
            yield f"{path.relative_to(ROOT)} block {number + 1}", block


def wrong_imports(source):
    """What a source imports of the product besides the names that `repro` offers."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
                wrong += [m for m in modules if m.startswith("repro.") or m.partition(".")[0] in INSIDE]
            case ast.ImportFrom(module="repro", names=names):
                wrong += [alias.name for alias in names if alias.name not in repro.__all__]
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in ("repro", *INSIDE):
                wrong.append(module)
    return wrong


@pytest.mark.parametrize(("where", "source"), list(sources()), ids=lambda value: value if len(value) < 60 else "")
def test_examples_and_documents_import_repro_alone(where, source):
    assert wrong_imports(source) == [], where


def test_the_check_can_fail():
    assert wrong_imports("from stages.alone import main") == ["stages.alone"]
    assert wrong_imports("import repro.stages.errors") == ["repro.stages.errors"]
    assert wrong_imports("from repro.stages.errors import StageError") == ["repro.stages.errors"]
    assert wrong_imports("from repro import Stage") == ["Stage"]
    assert wrong_imports("import repro, torch\nfrom repro import StageError, main") == []


def test_what_a_stage_imports_is_quick_to_import():
    code = "import sys; from repro import StageError, StageRun, main, ranks; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in HEAVY if name in done.stdout.split()] == []


@pytest.mark.parametrize("name", repro.__all__)
def test_every_name_that_is_offered_is_there(name):
    assert getattr(repro, name) is not None


def test_no_page_names_a_module_inside_the_product():
    """As something to import; a path with a slash, such as stages/config.py, is a file to read."""
    named = re.compile(r"`(?:from |import |python -m )?(?:stages|scheduler|worker)\.(?!py\b)\w+")
    found = {path.name: named.findall(path.read_text()) for path in PAGES[1:]}
    assert {name: names for name, names in found.items() if names} == {}
