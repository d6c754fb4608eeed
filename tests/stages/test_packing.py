"""The project's code as one archive: what is in it, and that the same files give the same bytes."""

import io
import os
import subprocess
import tarfile

import pytest

from repro.stages.errors import ConfigError
from repro.stages.source import packing, project


@pytest.fixture
def tree(tmp_path):
    """A project: a package below `src`, a helper beside it, and things that are no source."""
    root = tmp_path / "project"
    for name, text in {
        "src/pkg/__init__.py": "",
        "src/pkg/fit.py": "import helper\nfrom pkg import ops\n\ndef main(run): ...\n",
        "src/pkg/ops.py": "TWO = 2\n",
        "helper.py": "ONE = 1\n",
        "tool.sh": "echo\n",
        ".gitignore": "*.log\n/data/\n",
        "a.log": "log",
        "data/big.bin": "data",
        "__pycache__/helper.pyc": "compiled",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ".gitignore").write_text("*.log\n/data/\n__pycache__/\n")
    (root / "tool.sh").chmod(0o755)
    return root


def git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def commit(folder):
    git(folder, "init")
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "all")


def packed(root, *folders):
    with project.within([str(root / folder) for folder in folders or ("", "src")]):
        return packing.pack("pkg.fit")


def opened(found):
    return tarfile.open(fileobj=io.BytesIO(found.tar))


def names(found):
    with opened(found) as archive:
        return sorted(archive.getnames())


SOURCE = [".gitignore", "helper.py", "src/pkg/__init__.py", "src/pkg/fit.py", "src/pkg/ops.py", "tool.sh"]


def test_what_git_tracks_and_would_track(tree):
    commit(tree)
    (tree / "new.py").write_text("untracked")
    (tree / "helper.py").write_text("ONE = 5\n")
    (tree / "tool.sh").unlink()
    found = packed(tree)
    assert names(found) == sorted(f"0/{name}" for name in ({*SOURCE, "new.py"} - {"tool.sh"}))
    assert found.folders == ("0", "0/src")
    with opened(found) as archive:
        assert archive.extractfile("0/helper.py").read() == b"ONE = 5\n"


def test_without_git_it_is_the_folder_by_the_same_rules(tree, tmp_path, monkeypatch):
    visible = [f"0/{name}" for name in SOURCE if name != ".gitignore"]
    (tree / ".venv/lib").mkdir(parents=True)
    (tree / ".venv/lib/x.py").touch()
    (tree / "env/lib").mkdir(parents=True)
    (tree / "env/lib/x.py").touch()
    (tree / "env/pyvenv.cfg").touch()
    found = packed(tree, "src", "")
    assert names(found) == sorted(visible)
    assert found.folders == ("0/src", "0")
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    without = names(packed(tree, "src", ""))
    assert without == sorted([*visible, "0/a.log", "0/data/big.bin"])  # who reads .gitignore is not there


def test_the_same_files_give_the_same_bytes_wherever_and_whenever_they_lie(tree, tmp_path):
    commit(tree)
    found = packed(tree)
    git(tmp_path, "clone", "project", "elsewhere")
    for file in (tmp_path / "elsewhere").glob("*.py"):
        os.utime(file, (1, 1))
    other = packed(tmp_path / "elsewhere")
    assert (other.sha256, other.tar, other.compressed()) == (found.sha256, found.tar, found.compressed())
    (tree / "helper.py").write_text("ONE = 2\n")
    assert packed(tree).sha256 != found.sha256


def test_reproignore_leaves_out_what_git_tracks_too(tree):
    (tree / "weights.bin").write_bytes(b"0" * 100)
    commit(tree)
    (tree / ".reproignore").write_text("*.bin\nnotes/\n")
    (tree / "notes").mkdir()
    (tree / "notes/a.txt").touch()
    assert names(packed(tree)) == sorted(f"0/{name}" for name in [*SOURCE, ".reproignore"])


def test_a_project_that_is_too_big_is_refused_with_its_biggest_files(tree, monkeypatch):
    commit(tree)
    monkeypatch.setattr(packing, "MOST", 2000)
    (tree / "weights.bin").write_bytes(b"0" * 3000)
    with pytest.raises(ConfigError, match=r"weights\.bin \(0\.0 MB\).*\.reproignore.*--here"):
        packed(tree)
    (tree / ".reproignore").write_text("weights.bin\n")
    packed(tree)


def test_links_and_repositories_within(tree, tmp_path):
    (tmp_path / "outside.py").write_text("OUT = 1\n")
    (tmp_path / "far").mkdir()
    (tree / "inner.py").symlink_to("helper.py")
    (tree / "out.py").symlink_to(tmp_path / "outside.py")
    (tree / "far").symlink_to(tmp_path / "far")
    (tree / "gone.py").symlink_to("nothing.py")
    inner = tree / "vendored"
    inner.mkdir()
    (inner / "theirs.py").write_text("x = 1\n")
    commit(inner)
    git(tree, "init")
    git(tree, "add", ".")
    with opened(packed(tree)) as found:
        assert found.getmember("0/inner.py").linkname == "helper.py"
        assert found.extractfile("0/out.py").read() == b"OUT = 1\n"
        assert "0/vendored/theirs.py" in found.getnames()
        assert not {"0/far", "0/far/", "0/vendored/.git"} & set(found.getnames())


def test_results_are_no_code(tree):
    for name in (
        "runs/a/repro-config.json",
        "runs/a/model.bin",
        "results/repro-store.json",
        "results/x-0/a",
        "runs/b.py",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("{}")
    assert names(packed(tree)) == sorted(f"0/{name}" for name in [*SOURCE, "runs/b.py"])[1:]
    commit(tree)
    assert names(packed(tree)) == sorted(f"0/{name}" for name in [*SOURCE, "runs/b.py"])


def test_installed_code_stays_where_it_is(tree):
    with project.within([str(tree)]):
        assert packing.pack("json.decoder") is None
        assert packing.pack("repro.stages.train") is None


def test_a_folder_from_which_nothing_is_imported_stays(tree, tmp_path):
    (tmp_path / "private.txt").touch()
    with project.within([str(tmp_path), str(tree / "src"), str(tree)]):  # in the one around it, with PYTHONPATH
        found = packing.pack("pkg.fit")
    assert found.folders == ("0/src", "0")
    assert "0/helper.py" in names(found)
    assert not any("private" in name for name in names(found))


def test_a_project_that_is_installed_in_editable_mode_goes_from_wherever_it_is_submitted(tree, tmp_path, monkeypatch):
    commit(tree)
    monkeypatch.syspath_prepend(tree / "src")  # as its .pth file does
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/mine.py").write_text("from pkg import ops\n\ndef stage(run): ...\n")
    with project.within([str(tmp_path / "experiments")]):
        found = packing.pack("mine")
        assert found.folders == ("0", "1/src")
        assert {"0/mine.py", "1/src/pkg/ops.py"} <= set(names(found))
        assert packing.pack("pkg.ops").folders == ("0/src",)


def test_two_trees_go_together(tree, tmp_path):
    commit(tree)
    lib = tmp_path / "lib"
    lib.mkdir()
    (lib / "helper.py").write_text("ONE = 1\n")
    commit(lib)
    (tree / "helper.py").unlink()
    with project.within([str(tree / "src"), str(lib), str(tmp_path / "unused")]):
        found = packing.pack("pkg.fit")
    assert found.folders == ("0/src", "1")
    assert "1/helper.py" in names(found)
