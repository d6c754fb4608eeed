"""Public-style training scripts as they are: flags from the config, outputs from the folder, figures from the log."""

import json

import fsspec
import pytest

from repro.stages.source import project, registry, scripts
from tests.repro.test_code_travels import Machine
from tests.repro.test_own_stages import Place

TRAIN = """
import argparse
import json
import sys

import torch
from lib.options import common


def main():
    parser = argparse.ArgumentParser()
    common(parser)
    parser.add_argument("--lr", type=float, default=1)
    parser.add_argument("--steps", "-n", type=int, default=3)
    parser.add_argument("--hidden", type=int, nargs="+", default=[8, 8])
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--no-shuffle", dest="shuffle", action="store_false")
    parser.add_argument("--bias", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--arch", choices=["small", "large"], default="small")
    parser.add_argument("--tag", action="append")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--data")
    args = parser.parse_args()
    for step in range(args.steps):
        print(f"epoch=1 step={step + 1}, loss={args.lr / (step + 1):.4f}")
    print(json.dumps({"step": args.steps, "accuracy": 0.5, "done": True, "name": "x"}))
    print("not a figure: a=b", "x=1")
    with open("best.txt", "w") as file:
        file.write("first")
    with open("best.txt", "w") as file:
        json.dump(vars(args), file, sort_keys=True)
    torch.save(torch.rand(3), "weights.pt")
    if args.arch == "large":
        sys.exit("too large")


if __name__ == "__main__":
    main()
"""
OPTIONS = (
    "def common(parser):\n    parser.add_argument('--batch-size', type=int, default=32, help='a')\n    return parser\n"
)
NANO = """
import os
batch_size = 12
learning_rate = 6e-4
compile = True
dataset = "words"
_hidden = 1
config_keys = [k for k, v in globals().items() if not k.startswith("_") and isinstance(v, (int, float, bool, str))]
exec(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "configurator.py")).read())
with open("out.txt", "w") as file:
    file.write(repr((batch_size, learning_rate, compile, dataset)))
"""
CONFIGURATOR = """
import sys
from ast import literal_eval
for arg in sys.argv[1:]:
    key, val = arg.removeprefix("--").split("=")
    if key not in globals():
        raise ValueError(f"Unknown config key: {key}")
    try:
        attempt = literal_eval(val)
    except (SyntaxError, ValueError):
        attempt = val
    assert type(attempt) == type(globals()[key])
    globals()[key] = attempt
"""


@pytest.fixture
def place(tmp_path, settings_environment, database):
    found = Place(tmp_path / "project", settings_environment, database)
    (found.folder / "lib").mkdir()
    for name, text in (
        ("train.py", TRAIN),
        ("lib/options.py", OPTIONS),
        ("nano.py", NANO),
        ("configurator.py", CONFIGURATOR),
    ):
        found.write(name, text)
    return found


def result(run, name):
    with fsspec.open(f"{run['location']}/{name}", "rb") as file:
        return file.read()


def test_a_script_runs_as_it_is_on_a_machine_that_has_never_seen_it_and_alone(place, tmp_path):
    config = {"stage": "script:train.py", "lr": 0.5, "hidden": [4, 2], "amp": True, "shuffle": False, "bias": False}
    place.write("a.json", config | {"tag": ["one", "two"], "batch_size": 7, "data": "{data}/x"})
    place.well("repro-submit", "a.json")
    Machine(tmp_path / "machine", place.environment | {"REPRO_DATA": str(tmp_path)}).work()
    run = place.run("a")
    assert run["state"] == "done", run["error"]
    given = json.loads(result(run, "best.txt"))
    assert given == {
        "lr": 0.5, "steps": 3, "hidden": [4, 2], "amp": True, "shuffle": False, "bias": False, "arch": "small",
        "tag": ["one", "two"], "batch_size": 7, "seed": 1337,
        "data": given["data"],
    }  # fmt: skip
    assert given["data"].endswith("/x")
    assert "{" not in given["data"]
    assert run["metrics"] == {"loss": pytest.approx(0.5 / 3, abs=1e-4), "accuracy": 0.5, "done": True, "epoch": 1}
    assert run["params"]["steps"] == {"value": 3, "default": True}
    assert "unread" not in run
    assert result(run, "repro-curves.csv").splitlines()[0].startswith(b"step,")
    shown = place.well("repro", "show", "a").stdout
    assert "script: as it is: killed, it begins from the beginning" in shown
    assert "epoch=1 step=3, loss=0.1667" in place.well("repro", "logs", "a").stdout
    place.well("repro", "run", "a.json", REPRO_DATA=given["data"].removesuffix("/x"))
    for name in ("best.txt", "weights.pt"):
        assert (place.folder / "runs/a" / name).read_bytes() == result(run, name)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"lrr": 0.1}, 'reads "lrr"; did you mean "lr"?'),
        ({"batchsize": 1}, 'did you mean "batch_size"?'),
        ({"steps": 1.5}, '"steps": expected an integer'),
        ({"arch": "huge"}, '"arch": expected one of "small", "large"'),
        ({"amp": 1}, '"amp": expected true or false'),
        ({"stage": "script:trian.py"}, "no trian.py in"),
        ({"stage": "script:lib/options.py"}, 'expected such as "script:train.py"'),
        ({"stage": "script:json.py"}, "no json.py in"),
    ],
)
def test_what_is_mistyped_is_refused_at_submit(place, config, told):
    place.write("a.json", {"stage": "script:train.py"} | config)
    refused = place("repro-submit", "a.json")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert told in refused.stderr
    assert place.run("a") is None


def test_a_script_that_leaves_with_an_error_fails_with_it(place):
    place.write("a.json", {"stage": "script:train.py", "arch": "large"})
    assert place("repro-submit", "a.json").stderr == ""
    place.work()
    assert place.run("a")["error"]["message"] == "train.py left with too large; its log says why"
    place.write("b.json", {"stage": "script:train.py", "threads": 2, "seed": 5, "unknown": 3})
    place.well("repro-submit", "b.json", "--allow-unknown", "unknown")
    place.work()
    assert "left with 2" in place.run("b")["error"]["message"]  # argparse knows no --unknown
    assert "unrecognized arguments: --unknown=3" in place.well("repro", "logs", "b").stdout


def test_nanogpts_way(place):
    place.write("a.json", {"stage": "script:nano.py", "learning_rate": 0.001, "compile": False, "dataset": "chars"})
    place.well("repro-submit", "a.json")
    place.work()
    assert place.run("a")["state"] == "done", place.run("a")["error"]
    assert result(place.run("a"), "out.txt") == b"(12, 0.001, False, 'chars')"
    place.write("b.json", {"stage": "script:nano.py", "_hidden": 2})
    assert 'reads "_hidden"' in place("repro-submit", "b.json").stderr


def test_a_script_that_reads_a_config_file(place):
    code = "import argparse, json\np = argparse.ArgumentParser()\np.add_argument('-c', '--config', required=True)\n"
    code += "p.add_argument('--fast', action='store_true')\na = p.parse_args()\nc = json.load(open(a.config))\n"
    code += "open('out.json', 'w').write(json.dumps([c, c['lr'], c.get('depth', 3), a.fast]))\n"
    place.write("reads.py", code)
    place.write("a.json", {"stage": "script:reads.py", "lr": 0.5, "fast": True, "seed": 4})
    place.well("repro-submit", "a.json")
    place.work()
    assert place.run("a")["state"] == "done", place.run("a")["error"]
    assert json.loads(result(place.run("a"), "out.json")) == [{"lr": 0.5}, 0.5, 3, True]
    assert [output["path"] for output in place.run("a")["outputs"]] == ["out.json"]
    assert place.run("a")["environment"].get("undeclared") is None
    place.write("b.json", {"stage": "script:reads.py", "lr": 0.5, "dept": 4})
    assert 'reads "dept"; did you mean "depth"?' in place("repro-submit", "b.json").stderr


def test_whatever_a_script_prints_is_no_error_of_it(place):
    code = "import argparse, sys\np = argparse.ArgumentParser()\np.add_argument('src')\np.add_argument('dst')\n"
    code += "p.add_argument('--many', nargs='+')\np.add_argument('--config', default='base.json')\na = p.parse_args()\n"
    code += (
        "print('step=1 total=3 self=4 loss=2')\nprint('step=99999999999999999999 loss=1')\nprint('{\"step\": 1e400}')\n"
    )
    code += "print('x' * 5000 + ' step=7 loss=9')\nprint('epoch=nan loss=inf')\nprint('step=2 loss=nan')\n"
    code += "open('out.txt', 'w').write(repr(vars(a)))\n"
    place.write("odd.py", code)
    place.write("a.json", {"stage": "script:odd.py", "many": ["-", "b"], "dst": "two", "src": "one"})
    place.well("repro-submit", "a.json")
    place.work()
    run = place.run("a")
    assert run["state"] == "done", run["error"]
    given = {"src": "one", "dst": "two", "many": ["-", "b"], "config": "base.json"}
    assert result(run, "out.txt").decode() == repr(given)
    curves = result(run, "repro-curves.csv").decode().splitlines()
    assert curves[0].split(",")[:1] == ["step"]
    assert [line.partition(",")[0] for line in curves[1:]] == ["1", "2"]
    assert run["metrics"]["total"] == 3


def test_its_inputs_are_named_by_their_places(place):
    place.write("data.json", {"stage": "script:train.py", "steps": 1})
    copies = "import argparse, shutil\np = argparse.ArgumentParser()\np.add_argument('file')\np.add_argument('-o')\n"
    place.write("copies.py", f"{copies}a = p.parse_args()\nshutil.copy(a.file, a.o)\n")
    place.write("b.json", {"stage": "script:copies.py", "source": "data", "file": "{source}/best.txt", "o": "x.txt"})
    place.write("c.json", {"stage": "script:copies.py", "source": ["data"], "file": "{source.data}/best.txt", "o": "y"})
    place.write("d.json", {"stage": "script:copies.py", "o": "y"})
    place.well("repro-submit", "b.json", "c.json")
    place.work()
    assert result(place.run("b"), "x.txt") == result(place.run("data"), "best.txt") == result(place.run("c"), "y")
    place.well("repro-submit", "d.json")
    place.work()
    assert place.run("d")["error"]["message"] == 'the config lacks "file", which the script needs'


def test_a_rerun_of_a_script_is_identical(place):
    place.write("a.json", {"stage": "script:train.py"})
    place.well("repro-submit", "a.json")
    place.work()
    place.well("repro", "verify", "a", "--no-wait")
    place.work()
    assert place.well("repro", "verify", "--collect").stdout.startswith("a: identical")
    assert place.well("repro", "verify", "--defaults").stderr == "no default has drifted\n"
    place.write(
        "train.py", TRAIN.replace('"--steps", "-n", type=int, default=3', '"--steps", "-n", type=int, default=4')
    )
    assert "script:train.py: steps was 3 in 1 done run, is 4 today" in place("repro", "verify", "--defaults").stdout


def test_options_that_source_shows_in_odd_ways(tmp_path):
    (tmp_path / "odd.py").write_text(
        "from argparse import ArgumentParser, BooleanOptionalAction as B\nimport argparse\n"
        "p = ArgumentParser()\ng = p.add_argument_group('g')\nname = '--computed'\n"
        "g.add_argument('-v', '--verbose', action='count', default=0)\n"
        "g.add_argument(name)\n"
        "g.add_argument('--rate', type=float, default=2 * 3)\n"
        "g.add_argument('--need', required=True)\n"
        "p.add_argument('--version', action='version', version='1')\n"
        "p.add_argument('--cache', action=argparse.BooleanOptionalAction)\n"
        "p.add_argument('-x')\n"
        "p.add_argument('rest', nargs='*')\n"
    )
    with project.within([str(tmp_path)]):
        found = {option.key: option for option in scripts.options("odd")}
        known = registry.keys("script:odd.py")
    assert found.keys() == {"verbose", "rate", "need", "cache", "x", "rest"}
    assert (found["verbose"].action, found["cache"].action, found["rest"].flags) == ("count", "boolean", ())
    assert found["need"].default is scripts.REQUIRED
    assert found["rate"].default is scripts.COMPUTED
    assert {"verbose", "rate", "seed", "threads"} <= known.keys()


def test_init_writes_a_config_that_runs(place):
    place.well("git", "init")
    place.write(".gitignore", "*.log\n.repro\n")
    told = place.well("repro", "init", "train.py").stdout
    config = json.loads((place.folder / "configs/train.json").read_text())
    defaults = {"lr": 1.0, "steps": 3, "hidden": [8, 8], "amp": False, "shuffle": True, "bias": True, "arch": "small"}
    assert config == {"stage": "script:train.py", "seed": 1337, "batch_size": 32} | defaults
    assert told.startswith("configs/train.json: 9 keys; .gitignore: /runs/\n")
    assert (place.folder / ".gitignore").read_text() == "*.log\n.repro\n/runs/\n"
    for line in told.splitlines()[-3:]:
        place.well(*line.partition("#")[0].split(), *(["--gpus", "none"] if "worker" in line else []))
    assert place.run("train")["state"] == "done"
    assert (place.folder / "runs/try/best.txt").read_bytes() == result(place.run("train"), "best.txt")
    refused = place("repro", "init", "train.py")
    assert (refused.returncode, "configs/train.json is there already" in refused.stderr) == (2, True)


def test_init_of_a_function_and_of_what_is_not_there(place):
    code = "from dataclasses import dataclass\n\n@dataclass\nclass Options:\n    lr: float = 0.1\n    name: str = 'a'\n"
    place.write(
        "fit.py", f"{code}\ndef main(run):\n    o = run.options(Options)\n    return {{'n': run.params['need']}}\n"
    )
    told = place.well("repro", "init", "fit.py:main", "--name", "first").stdout
    config = json.loads((place.folder / "configs/first.json").read_text())
    assert config == {"stage": "fit:main", "need": "", "lr": 0.1, "name": "a"}
    assert "it has no default of: need; give them values" in told
    assert ".gitignore" not in told
    for wrong in ("fit.py:mian", "nothing.py", "fit:nothing"):
        refused = place("repro", "init", wrong, "--name", "other")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert not (place.folder / "configs/other.json").exists()
