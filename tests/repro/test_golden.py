"""Golden configs: what they gave once, today's code still gives."""

import json
import sys
from pathlib import Path

import pytest

from tests import toy

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_golden_configs_of_every_stage_give_what_they_gave(cli):
    made = cli(sys.executable, "-m", "repro", "golden", "check", "--folder", str(GOLDEN), timeout=600)
    assert made.returncode == 0, made.stdout + made.stderr
    stages = {json.loads(path.read_text())["stage"] for path in GOLDEN.glob("*.json")}
    assert stages == {"make_dataset", "augment", "train", "evaluate", "predict", "export"}
    checked = {line.partition(":")[0] for line in made.stdout.splitlines() if not line.startswith(" ")}
    assert checked == {path.stem for path in GOLDEN.glob("*.json")}


@pytest.fixture
def golden(cli, tmp_path, settings_environment):
    """`repro golden` on a folder of the user's own, which holds a chain of two."""
    toy.install(tmp_path / "toy")
    settings_environment["PYTHONPATH"] = str(tmp_path / "toy")
    configs = {"a": {"stage": "toy_write", "text": "abc"}, "b": {"stage": "toy_write", "source": "a"}}
    for name, config in configs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config))

    def call(word, *words):
        return cli(sys.executable, "-m", "repro", "golden", word, *words, "--folder", str(tmp_path / "golden"))

    added = call("add", str(tmp_path / "b.json"))
    assert added.returncode == 0, added.stderr
    assert [line.partition(":")[0] for line in added.stdout.splitlines()] == ["a", "b"]
    return call


def edit(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_what_a_config_gave_is_kept_once_with_its_values(golden, tmp_path):
    folder = tmp_path / "golden"
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*")) == [
        "a.json", "b.json", "results/a/repro-run.json", "results/b/repro-run.json",
    ]  # fmt: skip
    assert golden("check").stdout == "a: identical\nb: identical\n"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert golden("add", str(tmp_path / "b.json")).stdout.startswith("nothing new")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (tmp_path / "a.json").write_text('{"stage": "toy_write", "text": "changed"}')
    refused = golden("add", str(tmp_path / "b.json"))
    assert refused.returncode == 2
    assert "golden configs never change" in refused.stderr
    assert "no golden config modle" in golden("check", "modle").stderr


def test_a_changed_default_is_caught_and_only_where_it_counts(golden, tmp_path):
    edit(tmp_path / "toy/toy.py", '"text", "hello"', '"text", "goodbye"')
    made = golden("check")
    assert made.returncode == 1
    assert made.stdout.splitlines()[:2] == ["a: identical", "b: different"]  # a says its text itself
    assert golden("check", "a").returncode == 0


def test_code_that_raises_is_told(golden, tmp_path):
    edit(tmp_path / "toy/toy.py", '    print("said"', '    raise ValueError("not today")\n    print("said"')
    made = golden("check", "a")
    assert (made.returncode, made.stdout) == (1, "a: different: ValueError: not today\n")


def test_on_other_hardware_the_values_count(golden, tmp_path):
    """The hardware of the record is changed, which is how another machine looks to this one."""
    code, results = tmp_path / "toy/toy.py", tmp_path / "golden/results/c"
    edit(code, '    print("said"', "    run.open('x.csv').write('0.5000\\n')\n    print(\"said\"")
    (tmp_path / "c.json").write_text('{"stage": "toy_write"}')
    assert golden("add", str(tmp_path / "c.json")).returncode == 0
    assert (results / "x.csv").read_text() == "0.5000\n"
    edit(code, "0.5000", "0.5001")
    here = golden("check", "c")
    assert (here.returncode, here.stdout.splitlines()[0]) == (1, "c: close")
    edit(results / "repro-run.json", '"processor": "', '"processor": "another ')
    there = golden("check", "c")
    assert (there.returncode, there.stdout.splitlines()[0]) == (0, "c: close on other hardware")
    assert golden("check", "c", "--level", "equal").returncode == 1
    edit(code, "text.txt", "text.csv")
    assert "text.csv: different, is new" in golden("check", "c").stdout
