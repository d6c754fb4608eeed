"""Usual ways to read a config in training scripts: none is falsely refused, and in each a mistyped key is."""

import itertools

import pytest

from repro.stages.errors import ConfigError, StageError
from repro.stages.params import Params
from repro.stages.source import keys, registry
from repro.stages.source.flow import REQUIRED
from tests import sample

NUMBER = itertools.count()
TAIL = "\n\ndef other(run):\n    run.params.get('of_another_stage', 1)\n"

# name -> (source of the stage, the keys that it reads); helpers lie in `lib.py`, beside it.
IDIOMS = {
    "get": ("def stage(run):\n    run.params.get('lr', 0.1)", "lr"),
    "subscript": ("def stage(run):\n    run.params['lr']", "lr"),
    "alias": ("def stage(run):\n    p = run.params\n    return p.get('lr', 0.1)", "lr"),
    "alias of an alias": ("def stage(run):\n    p = run.params\n    q = p\n    q['lr']", "lr"),
    "another name for the run": ("def stage(job):\n    job.params['lr']", "lr"),
    "several at once": ("def stage(run):\n    p, out = run.params, run.out\n    p['lr']", "lr"),
    "walrus": ("def stage(run):\n    if (p := run.params) and p.get('lr', 1): pass", "lr"),
    "annotated": ("def stage(run):\n    p: dict = run.params\n    p['lr']", "lr"),
    "copy": ("def stage(run):\n    p = dict(run.params)\n    p.pop('lr', 1)", "lr"),
    "copy by unpacking": ("def stage(run):\n    p = {'extra': 1, **run.params}\n    p['lr']", "lr"),
    "merged over defaults": ("D = {}\ndef stage(run):\n    p = D | dict(run.params)\n    p['lr']", "lr"),
    "setdefault": ("def stage(run):\n    p = dict(run.params)\n    p.setdefault('lr', 1)", "lr"),
    "helper": ("def build(params):\n    params['lr']\ndef stage(run):\n    build(run.params)", "lr"),
    "helper, another name": ("def build(cfg):\n    cfg['lr']\ndef stage(run):\n    build(run.params)", "lr"),
    "helper by keyword": ("def build(*, c):\n    c['lr']\ndef stage(run):\n    build(c=run.params)", "lr"),
    "helper that takes the run": ("def build(r):\n    r.params['lr']\ndef stage(run):\n    build(run)", "lr"),
    "helper elsewhere": ("from lib import build\ndef stage(run):\n    build(run.params)", "depth"),
    "helper of a module": ("import lib\ndef stage(run):\n    lib.build(run.params)", "depth"),
    "nested function": ("def stage(run):\n    def inner(c):\n        c['lr']\n    inner(run.params)", "lr"),
    "closure": ("def stage(run):\n    p = run.params\n    def inner():\n        return p['lr']\n    inner()", "lr"),
    "lambda": ("def stage(run):\n    p = run.params\n    return (lambda: p['lr'])()", "lr"),
    "keywords": ("def build(lr, width=3):\n    pass\ndef stage(run):\n    build(**run.params)", "lr width"),
    "keywords, one given": ("def b(data, lr=1):\n    pass\ndef stage(run):\n    b([], **run.params)", "lr"),
    "keywords with a rest": ("def b(**kw):\n    kw.get('lr', 1)\ndef stage(run):\n    b(**run.params)", "lr"),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass Options:\n    lr: float = 0.1\n    width: int = 3\n"
        "def stage(run):\n    o = Options(**run.params)\n    return o.lr",
        "lr width",
    ),
    "run.options": (
        "from dataclasses import dataclass\n@dataclass\nclass Options:\n"
        "    lr: float = 0.1\n    sizes: tuple = (1, 2)\n"
        "def stage(run):\n    run.options(Options)",
        "lr sizes",
    ),
    "namespace": (
        "from argparse import Namespace\ndef stage(run):\n    args = Namespace(**run.params)\n    return args.lr",
        "lr",
    ),
    "simple namespace": (
        "import types\ndef stage(run):\n    a = types.SimpleNamespace(**run.params)\n    return getattr(a, 'lr', 1)",
        "lr",
    ),
    "namespace handed on": (
        "from argparse import Namespace\ndef b(args):\n    args.lr\ndef stage(run):\n    b(Namespace(**run.params))",
        "lr",
    ),
    "class that keeps it": (
        "class Trainer:\n    def __init__(self, cfg):\n        self.cfg = cfg\n    def fit(self):\n"
        "        return self.cfg['lr']\ndef stage(run):\n    Trainer(run.params).fit()",
        "lr",
    ),
    "method that takes it": (
        "class T:\n    def fit(self, cfg):\n        return cfg['lr']\ndef stage(run):\n    T().fit(run.params)",
        "lr",
    ),
    "class with keywords": (
        "class Net:\n    def __init__(self, width=3, *, depth=1):\n        pass\n"
        "def stage(run):\n    Net(**run.params)",
        "width depth",
    ),
    "match on the config": (
        "def stage(run):\n    match run.params:\n        case {'arch': 'a', 'lr': lr}:\n            pass",
        "arch lr",
    ),
    "match on a value": (
        "def stage(run):\n    match run.params.get('arch', 'a'):\n        case 'a':\n"
        "            run.params.get('lr', 1)",
        "arch lr",
    ),
    "constant": ("KEY = 'lr'\ndef stage(run):\n    run.params[KEY]", "lr"),
    "constant of a class": ("class K:\n    LR = 'lr'\ndef stage(run):\n    run.params[K.LR]", "lr"),
    "constant elsewhere": ("from lib import KEY\ndef stage(run):\n    run.params[KEY]", "depth"),
    "loop": ("def stage(run):\n    for key in ('lr', 'width'):\n        run.params[key]", "lr width"),
    "comprehension": ("KEYS = ['lr', 'width']\ndef stage(run):\n    {k: run.params[k] for k in KEYS}", "lr width"),
    "loop over defaults": (
        "DEFAULTS = {'lr': 0.1, 'width': 3}\ndef stage(run):\n"
        "    {k: run.params.get(k, d) for k, d in DEFAULTS.items()}",
        "lr width",
    ),
    "declared": ("DYNAMIC_KEYS = {'width_0': 32}\ndef stage(run):\n    run.params.get(name(), 1)", "width_0"),
    "declared by dict": ("DYNAMIC_KEYS = dict(width_0=32)\ndef stage(run):\n    run.params.get(name(), 1)", "width_0"),
    "declared, annotated": ("DYNAMIC_KEYS: dict = {'w': object()}\ndef stage(run):\n    run.params.get(n(), 1)", "w"),
    "is it there": ("def stage(run):\n    return 'lr' in run.params", "lr"),
    "decorated": ("import functools\n@functools.cache\ndef stage(run):\n    run.params['lr']", "lr"),
    "wrapped": ("from functools import partial\ndef f(run, a):\n    run.params['lr']\nstage = partial(f, a=1)", "lr"),
    "chosen from a table": (
        "def a(params):\n    params['lr']\nTABLE = {'a': a}\ndef stage(run):\n    TABLE['a'](run.params)",
        "lr",
    ),
    "choice": ("def stage(run):\n    run.params.choice('arch', 'a', ('a', 'b'))", "arch"),
    "imported late": ("def stage(run):\n    from lib import build\n    build(run.params)", "depth"),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(source):
        name = f"flow{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(source + TAIL)
        (tmp_path / "lib.py").write_text("KEY = 'depth'\n\ndef build(c):\n    return c.get('depth', 1)\n")
        sample.forget()
        return f"{name}:stage"

    return write


@pytest.mark.parametrize("idiom", IDIOMS)
def test_a_usual_idiom(project, idiom):
    source, read = IDIOMS[idiom]
    stage = project(source)
    known = registry.keys(stage)
    assert set(read.split()) <= known.keys()
    good = {key: known[key] for key in read.split() if known[key] is not None}
    if idiom != "choice":
        registry.check(
            {"stage": stage} | {k: list(v) if isinstance(v, tuple) else v for k, v in good.items()}, "m.json"
        )
    with pytest.raises(ConfigError, match='reads "mistyped"'):
        registry.check({"stage": stage, "mistyped": 1}, "m.json")


@pytest.mark.parametrize("idiom", [name for name in IDIOMS if name not in ("chosen from a table", "wrapped")])
def test_keys_of_another_stage_of_the_file_are_not_its_own(project, idiom):
    stage = project(IDIOMS[idiom][0])
    with pytest.raises(ConfigError, match='reads "of_another_stage"'):
        registry.check({"stage": stage, "of_another_stage": 1}, "m.json")


def test_a_write_is_no_read(project):
    stage = project("def stage(run):\n    p = dict(run.params)\n    p['made'] = 1\n    del p['gone']\n    p['lr']")
    assert registry.keys(stage).keys() & {"made", "gone", "lr"} == {"lr"}


def test_defaults_are_seen_through_dataclasses_and_keywords(project):
    stage = project(IDIOMS["dataclass"][0])
    assert {key: registry.keys(stage)[key] for key in ("lr", "width")} == {"lr": 0.1, "width": 3}
    assert registry.defaults(stage)["lr"] == [0.1]
    required = registry.defaults(project(IDIOMS["keywords"][0]))
    assert required["lr"] == [REQUIRED]
    assert required["width"] == [3]


def test_a_value_outside_its_choices_is_refused_at_submit_and_in_the_run(project):
    stage = project(IDIOMS["choice"][0])
    registry.check({"stage": stage, "arch": "b"}, "m.json")
    with pytest.raises(ConfigError, match=r'm\.json: "arch": expected one of "a", "b", got: "resnt"'):
        registry.check({"stage": stage, "arch": "resnt"}, "m.json")
    with pytest.raises(StageError, match='"arch": expected one of'):
        Params({"arch": "resnt"}).choice("arch", "a", ("a", "b"))


def test_where_nothing_can_be_seen_the_message_names_the_ways_out(project):
    stage = project("def stage(run):\n    exec('run.params[1]')")
    with pytest.raises(
        ConfigError, match=r"run.options\(Dataclass\), or DYNAMIC_KEYS in its module, or --allow-unknown KEY"
    ):
        registry.check({"stage": stage, "zzz": 1}, "m.json")
    registry.check({"stage": stage, "zzz": 1}, "m.json", ["zzz"])


def test_the_built_in_stages_take_their_own_keys_alone():
    for stage in ("evaluate", "predict", "export"):
        assert not registry.keys(stage).keys() & {"hidden", "channels", "blocks"}
    module, function = registry.locate("train").split(":")
    assert keys.followed(module, function).lost == []
    assert {"hidden", "channels", "blocks", "epochs", "lr", "threads"} <= registry.keys("train").keys()


def test_typed_options_have_recorded_defaults(project):
    from dataclasses import dataclass, field

    @dataclass
    class Options:
        lr: float
        sizes: tuple = (1, 2)
        names: list = field(default_factory=list)

    params = Params({"lr": 0.5, "sizes": [3]})
    assert params.options(Options) == Options(0.5, (3,), [])
    assert params.record()["sizes"] == {"value": [3], "default": False}
    assert params.record()["names"] == {"value": [], "default": True}
    with pytest.raises(StageError, match='lacks "lr"'):
        Params({}).options(Options)
    with pytest.raises(StageError, match='"sizes": expected a list'):
        Params({"lr": 0.1, "sizes": 3}).options(Options)
