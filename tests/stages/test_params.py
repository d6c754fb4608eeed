"""What a stage reads is recorded; what its code knows is read from its source."""

import itertools
import sys

import pytest

from repro.stages.errors import ConfigError, StageError
from repro.stages.params import Params
from repro.stages.source.keys import check_keys, known_keys


def test_every_read_is_recorded_with_its_value_and_whether_it_was_a_default():
    params = Params({"stage": "train", "lr": 0.1, "epochs": 3, "unused": 1})
    assert params.record() == {}
    assert params["lr"] == 0.1
    assert params.get("epochs", 5) == 3
    assert params.get("channels", 5) == 5
    assert params.get("note") is None
    assert params.record() == {
        "channels": {"value": 5, "default": True},
        "epochs": {"value": 3, "default": False},
        "lr": {"value": 0.1, "default": False},
        "note": {"value": None, "default": True},
    }
    assert list(params.record()) == sorted(params.record())


def test_unread_are_the_keys_that_no_one_asked_for():
    params = Params({"stage": "train", "seed": 1, "gpus": 0, "source": "a", "b": 1, "a": 2, "lr": 0.1})
    params.get("lr", 0.1)
    assert params.unread() == ["a", "b"]
    assert "a" in params  # to ask whether it is there is to read it
    assert params.unread() == ["b"]
    assert dict(params.items())["a"] == 2
    assert params.unread() == []


def test_a_key_that_is_not_there_and_has_no_default():
    params = Params({})
    with pytest.raises(StageError, match='lacks "lr"'):
        params["lr"]
    assert params.record() == {}


@pytest.mark.parametrize("in_config", [True, False])
@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 1.0), (1, True), (0, None), ("", None), ([1], [2])])
def test_two_defaults_of_one_key_are_refused(in_config, one, other):
    params = Params({"key": one} if in_config else {})
    params.get("key", one)
    assert params.get("key", one) == one
    with pytest.raises(StageError, match='"key" is read with two defaults'):
        params.get("key", other)


@pytest.mark.parametrize(
    ("value", "default", "fits"),
    [
        (1, 2, True),
        (1, 2.0, True),
        (1.0, 2, False),
        (True, 2, False),
        (True, 2.0, False),
        (1, False, False),
        ("1", 1, False),
        (1, "1", False),
        ([1], 1, False),
        (1, [1], False),
        ([], [1], True),
        (None, 1, False),
        ("anything", None, True),
        (None, None, True),
    ],
)
def test_a_value_is_of_the_type_of_its_default(value, default, fits):
    params = Params({"key": value})
    if fits:
        assert params.get("key", default) is value or params.get("key", default) == value
        check_keys({"stage": "x", "key": value}, {"stage": "", "key": default}, "model.json")
    else:
        with pytest.raises(StageError, match='"key": expected '):
            params.get("key", default)
        with pytest.raises(ConfigError, match=r'model\.json: "key": expected '):
            check_keys({"stage": "x", "key": value}, {"stage": "", "key": default}, "model.json")


def test_a_stage_that_changes_what_it_read_changes_no_config_and_no_default():
    config, default = {"sizes": [1, 2]}, [3]
    params = Params(config)
    params.get("sizes", [0]).append(9)
    params["sizes"].append(9)
    params.get("other", default).append(9)
    assert (config, default) == ({"sizes": [1, 2]}, [3])
    assert params.get("sizes", [0]) == [1, 2]
    assert params.get("other", [3]) == [3]
    assert params.record()["sizes"]["value"] == [1, 2]


def test_as_a_mapping():
    params = Params({"a": 1, "b": 2})
    assert (len(params), list(params), dict(params)) == (2, ["a", "b"], {"a": 1, "b": 2})
    with pytest.raises(TypeError):
        params["a"] = 2


NUMBER = itertools.count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package from `{file: source}`; every module of it fails when it is imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules):
        name = f"lab{next(NUMBER)}"
        for file, source in {"__init__": "", **modules}.items():
            path = tmp_path / name / f"{file.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            refuse = "" if file == "__init__" and not source else "raise AssertionError('imported')\n"
            path.write_text(source.replace("PACKAGE", name) + "\n" + refuse)
            for folder in path.parents:
                if folder == tmp_path:
                    break
                (folder / "__init__.py").touch()
        return name

    return write


RESERVED = {"stage": "", "source": None, "seed": 0, "gpus": 0}


def test_keys_are_read_from_the_source_without_importing_it(package):
    name = package(
        stage="""
def stage(run, cfg):
    params = run.params
    a = params.get("a", 1), run.params.get("b", -0.5), run.params["c"], self.params.get("d")
    if "e" in params: pass
    params.get("f", DEFAULT); params.get("g", [1, 2]); params.get(key, 1)
    cfg.get("not1", 1); cfg["not2"]; os.environ["not3"]; params.pop("not4")
"""
    )
    found = known_keys(f"{name}.stage")
    assert found == RESERVED | {"a": 1, "b": -0.5, "c": None, "d": None, "e": None, "f": None, "g": [1, 2]}
    assert f"{name}.stage" not in sys.modules


def test_imports_are_followed_within_the_package_only(package):
    other = package(helper='params.get("outside", 1)')
    name = package(
        stage=f"""
import PACKAGE.one, json, {other}.helper
from PACKAGE import two
from PACKAGE.three import function
from .four import function
from . import five
from {other} import helper
def later():
    from PACKAGE.six import function
""",
        **{word: f'params.get("{word}", 1)' for word in ("one", "two", "three", "four", "five", "six", "unused")},
    )
    assert known_keys(f"{name}.stage").keys() - RESERVED.keys() == {"one", "two", "three", "four", "five", "six"}


def test_relative_imports_of_a_subpackage(package):
    name = package(
        stage="from . import sub",
        sub__in____init__="from .inner import function\nfrom .. import beside",
        sub__in__inner='from ..deep import function\nparams["inner"]',
        deep='params["deep"]',
        beside='params["beside"]',
        inner='params["not_this_one"]',
    )
    assert known_keys(f"{name}.stage").keys() - RESERVED.keys() == {"inner", "deep", "beside"}


def test_the_literal_default_wins_whichever_is_read_first(package):
    for order in ('params["a"]; params.get("a", 1)', 'params.get("a", 1); params["a"]'):
        assert known_keys(package(stage=order) + ".stage")["a"] == 1


def test_keys_of_computed_names_are_declared_beside_the_code(package):
    name = package(stage='DYNAMIC_KEYS = {"width_0": 32, "width_1": 64}\nOTHER = {"not_this": 1}\nparams.get(name, 1)')
    assert known_keys(f"{name}.stage") == RESERVED | {"width_0": 32, "width_1": 64}


def test_imports_in_a_circle_end(package):
    name = package(one='from . import two\nparams["a"]', two='from . import one\nparams["b"]')
    assert known_keys(f"{name}.one").keys() - RESERVED.keys() == {"a", "b"}


@pytest.mark.parametrize("module", ["sys", "math", "nowhere_at_all", "nowhere.at.all", "json.nowhere", "handmade"])
def test_modules_without_a_source_know_the_reserved_keys_only(module, monkeypatch):
    monkeypatch.setitem(sys.modules, "handmade", type(sys)("handmade"))
    assert known_keys(module) == RESERVED


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    known = RESERVED | {"my_new_param": 10, "lr": 0.1}
    with pytest.raises(ConfigError) as caught:
        check_keys({"stage": "x", "my_new_parm": 20}, known, "model.json")
    assert str(caught.value) == ('model.json: no code of stage "x" reads "my_new_parm"; did you mean "my_new_param"?')
    with pytest.raises(ConfigError, match=r"known keys: gpus, lr, my_new_param, seed, source, stage; if"):
        check_keys({"stage": "x", "zzzzzz": 20}, known, "model.json")
    check_keys({"stage": "x", "my_new_parm": 20}, known, "model.json", ["my_new_parm"])
    check_keys({"stage": "x", "my_new_param": 20, "seed": 1}, known, "model.json")
    with pytest.raises(ConfigError, match='"lr": expected a number'):
        check_keys({"stage": "x", "lr": "high"}, known, "model.json", ["my_new_parm"])
