"""The rules of the product that live in the stages, each by its number, with a small real stage."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repro.stages import config as configs
from repro.stages.errors import ConfigError, StageError
from repro.stages.params import Params
from repro.stages.run import Run
from repro.stages.running import arguments as command_line
from repro.stages.running import standalone
from tests import sample

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with sample.offered(tmp_path_factory.mktemp("lab")) as folder:
        yield folder


@pytest.fixture
def go(lab, tmp_path, monkeypatch):
    """Run a config under a name; its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(standalone, "start_again_in", lambda wanted: None)  # this process is the tests'

    def run(name, config, *arguments):
        path = tmp_path / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps({"stage": "sample"} | config))
        command_line.main("sample", ["-c", path.name, *arguments])
        return tmp_path / "runs" / name

    return run


def test_rule_01_a_config_from_before_a_key_existed_means_its_default(go):
    old = go("old", {})
    named = go("named", {"channels": 5, "lr": 0.1, "seed": 0, "threads": 1})
    assert sample.outputs(old) == sample.outputs(named)
    assert sample.outputs(old).keys() == {"weights.bin", "machine.txt", "habits.txt"}
    assert sample.outputs(old) != sample.outputs(go("wide", {"channels": 6}))  # the key does count


def test_rule_01_one_key_has_one_default():
    params = Params({})
    params.get("channels", 5)
    with pytest.raises(StageError, match="two defaults"):
        params.get("channels", 6)


def test_rule_02_the_folder_comes_first_and_is_named_after_the_config(go):
    folder = go("model", {})
    assert folder.name == "model"
    assert "repro-config.json" in json.loads((folder / "seen.json").read_text())


def test_rule_03_the_config_is_copied_exclusively(go, tmp_path, capsys):
    folder = go("model", {"lr": 0.2})
    assert json.loads((folder / "repro-config.json").read_text()) == {"stage": "sample", "lr": 0.2}
    before = sample.everything(folder)
    with pytest.raises(SystemExit) as caught:
        go("model", {})
    assert caught.value.code == 2
    assert sample.everything(folder) == before
    (tmp_path / "runs/planted").mkdir()
    (tmp_path / "runs/planted/repro-config.json").write_text("{}")  # a config, and nothing of a run yet
    with pytest.raises(SystemExit):
        go("planted", {})
    assert sample.everything(tmp_path / "runs/planted").keys() == {str(tmp_path / "runs/planted/repro-config.json")}


def test_rule_04_every_result_file_is_written_once(tmp_path):
    run = Run("model", Params({}), {}, tmp_path)
    with run.open("a") as file:
        file.write("once")
    for mode in ("x", "xb"):
        with pytest.raises(FileExistsError):
            run.open("a", mode)
    for mode in ("w", "a", "r+", "wb", "ab", "x+"):
        with pytest.raises(ValueError, match='"x" or "r" only'):
            run.open("a", mode)
    with pytest.raises(FileExistsError):
        run.path("a")


REMOVES = ("unlink", "remove", "rmtree", "rmdir", "replace", "truncate")
# Who may remove a file: never a result of a run that has ended.
MAY_REMOVE = {
    "files.py": "its own unfinished copy beside a name, and a lock that it holds",
    "running/outputs.py": "links of a run that has not ended yet, for what they lead to",
    "running/checkpoint_files.py": "checkpoints, which are no results",
    "running/rank_parent.py": "the folder in which the ranks have met",
    "running/standalone.py": "the checkpoints of a run that has ended, or whose folder is gone",
    "running/resume.py": "the files of an attempt that did not end",
}


def overwrites(tree: ast.AST) -> list[int]:
    """Lines that open a file for writing over, or call something that does."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [*node.args, *(k.value for k in node.keywords if k.arg == "mode")]
        modes = {a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)}
        written_over = any(set(mode) <= set("wab+trx") and set(mode) & set("wa+") for mode in modes)
        if (name in ("open", "fdopen") and written_over) or name in ("write_text", "write_bytes", "rename", "copyfile"):
            lines.append(node.lineno)
    return lines


def removes(tree: ast.AST) -> list[int]:
    """Lines that call what removes, replaces or cuts a file; the `replace` of a text and of a dataclass is none."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case (
                ast.Call(func=ast.Attribute(attr="replace"), args=[_])
                | ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="replace"))
            ):
                lines.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr=name)) if name in REMOVES and name != "replace":
                lines.append(node.lineno)
    return lines


def name_in_stages(path):
    return path.relative_to(ROOT / "stages").as_posix()


STAGES = sorted((ROOT / "stages").rglob("*.py"))


@pytest.mark.parametrize("path", STAGES, ids=name_in_stages)
def test_rule_04_no_stage_opens_a_file_to_write_over_it(path):
    if name_in_stages(path) != "running/outputs.py":  # as above
        assert overwrites(ast.parse(path.read_text())) == []


@pytest.mark.parametrize("path", STAGES, ids=name_in_stages)
def test_rule_04_no_stage_removes_or_replaces_a_file(path):
    if name_in_stages(path) not in MAY_REMOVE:
        assert removes(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ('open("a", "w")', [1]),
        ('path.open(mode="ab")', [1]),
        ('path.open("r+b")', [1]),
        ('path.write_text("x")', [1]),
        ('path.open("xb")', []),
        ('run.open("model.bin", "x")', []),
        ("path.open()", []),
    ],
)
def test_rule_04_the_check_can_fail(code, lines):
    assert overwrites(ast.parse(code)) == lines


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("path.unlink()", [1]),
        ("shutil.rmtree(folder, ignore_errors=True)", [1]),
        ("os.remove(path)", [1]),
        ("new.replace(path)", [1]),
        ("os.replace(new, path)", [1]),
        ("file.truncate(0)", [1]),
        ('text.replace("a", "b")', []),
        ("replace(run, rank=1)", []),
    ],
)
def test_rule_04_the_check_of_removals_can_fail(code, lines):
    assert removes(ast.parse(code)) == lines


def test_rule_05_a_config_is_immutable(go, tmp_path):
    folder = go("model", {"lr": 0.1})
    before = sample.everything(folder)
    (tmp_path / "model.json").unlink()
    with pytest.raises(SystemExit):
        go("model", {"lr": 0.2})
    assert sample.everything(folder) == before
    config = {"sizes": [1]}
    Params(config)["sizes"].append(2)
    assert config == {"sizes": [1]}


@pytest.fixture(scope="module")
def alone(lab, tmp_path_factory):
    """Run the sample stage in a process of its own, as a shell would; its outputs."""

    def run(*prefix, python=sample.MAIN, **variables):
        folder = tmp_path_factory.mktemp("shell")
        (folder / "model.json").write_text(json.dumps({"stage": "sample", "channels": 64}))
        command = [*prefix, sys.executable, "-c", python, "-c", "model.json"]
        environment = sample.environment(lab, **variables)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return sample.outputs(folder / "runs/model")

    return run


@pytest.fixture(scope="module")
def here(alone):
    """What the sample stage gives in the shell of these tests."""
    return alone()


def test_rule_06_the_sample_stage_would_notice(lab, tmp_path):
    """Its habits do differ where nobody sees to it: else the tests beside this one would have no power."""

    def habits(**variables):
        code = "import sample_stage; from types import SimpleNamespace as N; "
        code += f"print(*sample_stage.habits(N(params={{}}, out={str(tmp_path)!r})), sep='\\n')"
        words = [sys.executable, "-c", code]
        usual = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
        environment = sample.environment(lab) | usual | variables
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        return dict(line.split(": ", 1) for line in done.stdout.splitlines())

    (tmp_path / "a").touch()
    usual = habits()
    assert habits() == usual
    assert {key for key, value in habits(PYTHONHASHSEED="7").items() if value != usual[key]} >= {"a set", "a hash"}
    assert habits(TZ="Asia/Kathmandu")["a date"] != usual["a date"]
    assert habits(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")["an encoding"] != usual["an encoding"]


AS_NOBODY = [
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    # May read what root installed and write to root's folders, so that nothing but who it is differs.
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
]
OTHERS = {
    "threads": {"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": "7"},
    "cards": {"CUDA_VISIBLE_DEVICES": "0,1,2,3"},
    "hash seed": {"PYTHONHASHSEED": "7"},
    "locale": {"LC_ALL": "C", "LANG": "tr_TR.UTF-8", "PYTHONUTF8": "0"},
    "time zone": {"TZ": "Asia/Kathmandu"},
    "home": {"HOME": "/nonexistent", "TMPDIR": "/var/tmp"},
    "cores": ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))],
    "user": AS_NOBODY,
}


def test_rule_06_another_machine_changes_no_byte(alone, here):
    """All that it has otherwise, at once; `test_rule_06_each_thing...` tells which it is, should this fail."""
    prefix = [word for words in OTHERS.values() if isinstance(words, list) and words is not AS_NOBODY for word in words]
    variables = {k: v for words in OTHERS.values() if isinstance(words, dict) for k, v in words.items()}
    assert alone(*prefix, **variables) == here


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_rule_06_each_thing_that_another_machine_has_otherwise_changes_no_byte(alone, here, other):
    """As another shell or user would start it."""
    changed = OTHERS[other]
    if changed is AS_NOBODY and (os.getuid() != 0 or not shutil.which("setpriv")):
        pytest.skip("only root can be somebody else")
    assert (alone(*changed) if isinstance(changed, list) else alone(**changed)) == here


def test_rule_06_neither_name_nor_root_nor_an_earlier_run_in_the_process_change_a_byte(go, tmp_path):
    one = sample.outputs(go("one", {}))
    go("between", {"seed": 5, "threads": 2, "deterministic": False})
    assert sample.outputs(go("two", {})) == one
    go("one", {}, "--root", "other")
    assert sample.outputs(tmp_path / "other/one") == one
    assert sample.outputs(go("seeded", {"seed": 1})) != one


def test_rule_07_conf_is_merged_before_anything_else_and_saved(go):
    ordered = go("ordered", {"lr": 0.2, "steps": 5}, "--conf", '{"lr": 0.3, "steps": 2}', "--set", "lr=0.4")
    merged = {"stage": "sample", "lr": 0.4, "steps": 2}
    assert json.loads((ordered / "repro-config.json").read_text()) == merged
    assert sample.outputs(ordered) == sample.outputs(go("written", merged))


def test_rule_10_configs_are_flat():
    with pytest.raises(ConfigError, match='write it flat: "losses_l1": 0'):
        configs.parse('{"losses": [{"l1": 0}]}', "model.json")
    with pytest.raises(ConfigError, match="write it flat"):
        configs.parse('{"loss": {"l1": {"weight": 0}}}', "model.json")


def test_rule_10_the_example_configs_are_flat_and_their_sources_are_there():
    paths = sorted((ROOT / "configs").glob("*.json"))
    names = {path.stem for path in paths}
    for path in paths:
        config = configs.load(path)
        configs.check(config, str(path))
        assert set(configs.sources(config)) <= names, path


def test_rule_13_a_chain_of_sources_is_known_by_what_it_computes(go):
    def mark(folder):
        return json.loads((folder / "repro-run.json").read_text())

    data = mark(go("data", {"seed": 1}))
    model = mark(go("model", {"source": "data"}))
    assert model["sources"] == {"data": {"fingerprint": data["fingerprint"]}}
    go("datab", {"seed": 2})
    go("datac", {"seed": 1})
    other, same = mark(go("modelb", {"source": "datab"})), mark(go("modelc", {"source": "datac"}))
    assert other["fingerprint"] != model["fingerprint"] == same["fingerprint"]
    assert go("last", {"source": ["model", "datab"]}).joinpath("repro-run.json").exists()


def test_rule_14_the_five_steps_come_in_their_order(go, monkeypatch):
    steps = []
    for module, name in (
        (command_line, "_parse"),
        (standalone.configs, "merge"),
        (standalone, "_make_folder"),
        (standalone.files, "create"),
        (standalone.own_process, "compute"),
    ):
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, call=call, name=name: (steps.append(name), call(*a))[1])
    go("model", {})
    assert steps == ["_parse", "merge", "_make_folder", "create", "compute", "create"]  # the last one is repro-run.json


@pytest.mark.parametrize("name", ["make_dataset", "augment", "train", "predict", "evaluate", "export"])
def test_rule_14_every_built_in_stage_ends_in_the_same_five_steps(name):
    last = ast.parse((ROOT / "stages" / f"{name}.py").read_text()).body[-1]
    assert (
        ast.unparse(last)
        == f"if __name__ == '__main__':\n    from repro.stages.running.arguments import main\n    main('{name}')"
    )


def test_this_page_names_a_test_for_every_rule():
    """Every rule has a row, and whatever a row names exists."""
    text = (ROOT / "docs" / "rules.md").read_text()
    rows = [row.split(" | ") for row in text.splitlines() if row[:2] == "| "]
    assert [row[0] for row in rows if row[0][2:].isdigit()] == [f"| {number}" for number in range(1, 20)]
    for _, _, held in (row for row in rows if row[0][2:].isdigit()):
        file = ROOT / "tests/test_rules.py"
        for name in re.findall("`([^`]+)`", held):
            place, _, test = name.rpartition("::") if "::" in name else ("", "", name)
            if "/" in name:
                file = ROOT / (place or name)
                assert file.exists(), name
            assert test.startswith("tests/") or f"def {test}(" in file.read_text(), name
