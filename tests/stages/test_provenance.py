"""What of the code is recorded: the commit, whether there was more than that, and what."""

import json
import subprocess
import sys

import pytest

from repro.stages.running.standalone import Options, run_alone
from repro.stages.source import provenance
from tests import sample


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
        identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", "-C", code, *identity, *words], check=True)
    monkeypatch.syspath_prepend(code)
    monkeypatch.chdir(tmp_path)
    sample.forget()
    provenance._state_of_tree.cache_clear()
    yield code / "tree_stage.py"
    sys.modules.pop("tree_stage", None)
    provenance._state_of_tree.cache_clear()
    sample.forget()


def test_a_clean_tree_has_a_commit_and_no_diff(tree):
    found = provenance.code("tree_stage")
    assert len(found["commit"]) == 40
    assert not found["dirty"]
    assert provenance.diff("tree_stage") == b""


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
    found = provenance.diff("tree_stage")
    assert len(found) < 120
    assert found.endswith(b"(cut here)\n")


def test_a_baked_commit_is_believed(tree, monkeypatch):
    tree.write_text("x = 1\n")
    monkeypatch.setenv("REPRO_COMMIT", "0" * 40)
    assert provenance.code("tree_stage") == {"commit": "0" * 40, "dirty": False}
    assert provenance.diff("tree_stage") == b""


def test_an_image_built_from_a_changed_tree_says_so(monkeypatch):
    monkeypatch.setenv("REPRO_COMMIT", "0" * 40 + "-dirty")
    assert provenance.code() == {"commit": "0" * 40, "dirty": True}
    assert b"not known" in provenance.diff()
