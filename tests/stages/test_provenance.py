"""What of the code is recorded: the commit, whether there was more than that, and what."""

import json
import os
import subprocess
import sys

import pytest

from repro.stages.running.standalone import Options, run_alone
from repro.stages.source import provenance
from tests import sample

IDENTITY = os.environ | {
    f"GIT_{who}_{what}": "me@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A package `tree_stage` under git, whose author has changed one line since the commit."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "REPRO_COMMIT"):
        monkeypatch.delenv(name, raising=False)
    code = tmp_path / "code"
    info = code / "tree-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tree\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[repro.stages]\ntree = tree_stage:stage\n")
    (code / "tree_stage.py").write_text("def stage(run):\n    run.path('a.txt').write_text('é1')\n", encoding="utf-8")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", code, *words], check=True, env=IDENTITY)
    monkeypatch.syspath_prepend(code)
    monkeypatch.chdir(tmp_path)
    sample.forget()
    provenance._tree.cache_clear()
    yield code / "tree_stage.py"
    sys.modules.pop("tree_stage", None)
    provenance._tree.cache_clear()
    sample.forget()


def test_a_clean_tree_has_a_commit_and_no_diff(tree):
    found = provenance.snapshot("tree")
    assert len(found.facts["commit"]) == 40
    assert found.facts["dirty"] is False
    assert found.diff == b""


def test_a_file_that_git_does_not_know_is_told_and_its_text_kept(tree):
    """And what it imports, from a sibling package too; what the stage can't reach is nobody's affair."""
    (tree.parent / "lib").mkdir()
    (tree.parent / "lib" / "ops.py").write_text("FACTOR = 3\n")
    (tree.parent / "notes.py").write_text("unreached = 1\n")
    subprocess.run(["git", "-C", tree.parent, "rm", "-q", "--cached", "tree_stage.py"], check=True)
    tree.write_text("def stage(run):\n    from lib.ops import FACTOR\n")
    found = provenance.snapshot("tree")
    assert found.facts["dirty"]
    assert found.facts["untracked"] == ["lib/ops.py", "tree_stage.py"]
    assert b"+FACTOR = 3" in found.diff
    assert b"unreached" not in found.diff


def test_a_package_that_is_a_link_within_the_tree_is_known_by_its_own_place(tree):
    (tree.parent / "parts").mkdir()
    (tree.parent / "parts" / "ops.py").write_text("FACTOR = 3\n")
    (tree.parent / "lib").symlink_to("parts")
    tree.write_text("def stage(run):\n    from lib.ops import FACTOR\n")
    subprocess.run(["git", "-C", tree.parent, "add", "-A"], check=True)
    subprocess.run(["git", "-C", tree.parent, "commit", "-qm", "second"], check=True, env=IDENTITY)
    found = provenance.snapshot("tree")
    assert (found.facts["dirty"], found.facts.get("untracked"), found.diff) == (False, None, b"")
    (tree.parent / "parts" / "ops.py").write_text("FACTOR = 4\n")
    provenance._tree.cache_clear()
    assert b"+FACTOR = 4" in provenance.snapshot("tree").diff


def test_a_tree_that_is_reached_by_a_link_has_untracked_files_too(tree, tmp_path, monkeypatch):
    (tmp_path / "linked").symlink_to(tree.parent)
    monkeypatch.syspath_prepend(tmp_path / "linked")
    (tree.parent / "ops.py").write_text("FACTOR = 3\n")
    tree.write_text("def stage(run):\n    from ops import FACTOR\n")
    subprocess.run(["git", "-C", tree.parent, "commit", "-qm", "second", "tree_stage.py"], check=True, env=IDENTITY)
    sample.forget()
    found = provenance.snapshot("tree")
    assert found.facts["untracked"] == ["ops.py"]
    assert b"+FACTOR = 3" in found.diff


@pytest.mark.parametrize("answers", ["sleep 60", "exit 3"])
def test_a_git_that_does_not_answer_is_not_clean(tree, tmp_path, monkeypatch, answers):
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "git").write_text(f"#!/bin/sh\n{answers}\n")
    (slow / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    monkeypatch.setattr(provenance, "PATIENCE", 0.2)
    facts = provenance.snapshot("tree").facts
    assert "dirty" not in facts
    assert facts.get("git", "git did not answer") == "git did not answer"


def test_the_code_is_that_before_the_first_line(tree, tmp_path):
    """A stage whose file is edited, broken or gone when it ends has its result all the same."""
    tree.write_text("def stage(run):\n    run.path('a.txt').write_text('a')\n    open(__file__, 'r+').write('(((')\n")
    subprocess.run(["git", "-C", tree.parent, "commit", "-qam", "second"], check=True, env=IDENTITY)
    (tmp_path / "model.json").write_text('{"stage": "tree"}')
    folder = run_alone(tmp_path / "model.json", Options(), "tree")
    environment = json.loads((folder / "repro-run.json").read_text())["environment"]
    assert environment["dirty"] is False
    assert environment["commit"] == provenance._git(tree.parent, "rev-parse", "HEAD")
    assert not (folder / "repro-code.diff").exists()


def test_what_counts_as_the_code(tree):
    (tree.parent / "lib").mkdir()
    (tree.parent / "lib" / "ops.py").write_text("FACTOR = 3\n")
    tree.write_text("import lib.ops\n\ndef stage(run):\n    pass\n")
    before = provenance.digest("tree_stage")
    tree.write_text("# new\nimport lib.ops  # why\n\n\ndef stage(run):\n\n    pass   \n")
    assert provenance.digest("tree_stage") == before
    (tree.parent / "lib" / "ops.py").write_text("FACTOR = 4\n")
    assert provenance.digest("tree_stage") != before


def test_what_was_not_committed_lies_beside_the_result(tree, tmp_path):
    tree.write_text(tree.read_text(encoding="utf-8").replace("é1", "é2"), encoding="utf-8")
    (tmp_path / "model.json").write_text('{"stage": "tree"}')
    run_alone(tmp_path / "model.json", Options(), "tree")
    folder = tmp_path / "runs" / "model"
    mark = json.loads((folder / "repro-run.json").read_text())
    assert mark["environment"]["dirty"]
    assert [output["path"] for output in mark["outputs"]] == ["a.txt"]  # the diff is none
    diff = (folder / "repro-code.diff").read_text(encoding="utf-8")
    assert "-    run.path('a.txt').write_text('é1')" in diff
    assert "+    run.path('a.txt').write_text('é2')" in diff
    subprocess.run(["git", "-C", tree.parent, "stash", "-q"], check=True)
    subprocess.run(["git", "-C", tree.parent, "apply", folder / "repro-code.diff"], check=True)
    assert "é2" in tree.read_text(encoding="utf-8")


def test_a_long_diff_is_cut_and_says_so(tree, monkeypatch):
    monkeypatch.setattr(provenance, "LONGEST_DIFF", 100)
    tree.write_text("x = 1\n" * 1000)
    found = provenance.snapshot("tree").diff
    assert len(found) < 120
    assert found.endswith(b"(cut here)\n")


def test_a_baked_commit_speaks_for_the_products_stages_alone(tree, monkeypatch):
    monkeypatch.setenv("REPRO_COMMIT", "0" * 40)
    assert provenance.snapshot("train").facts["commit"] == "0" * 40
    assert provenance.snapshot("tree").facts["commit"] != "0" * 40


def test_an_image_built_from_a_changed_tree_says_so(monkeypatch):
    monkeypatch.setenv("REPRO_COMMIT", "0" * 40 + "-dirty")
    found = provenance.snapshot("train")
    assert (found.facts["commit"], found.facts["dirty"]) == ("0" * 40, True)
    assert b"not known" in found.diff
