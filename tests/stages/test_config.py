"""Configs: strict, flat, with one canonical form."""

import json
import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from repro.stages import config as configs
from repro.stages import flat_json
from repro.stages.errors import ConfigError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGER = st.integers(-(2**63), 2**63 - 1)
SCALAR = st.none() | st.booleans() | INTEGER | st.floats(allow_nan=False, allow_infinity=False) | TEXT
KEY = st.from_regex(flat_json.KEY, fullmatch=True).filter(lambda key: len(key) < 30 and key.isascii())
CONFIG = st.dictionaries(KEY, SCALAR | st.lists(SCALAR, max_size=4), max_size=6)


def typed(value):
    """Equal only for values of the same type and, for floats, the same bits."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, repr(value)


def refused(call, *arguments):
    """The message of a refusal, which is always one line that can be printed."""
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert caught.value.exit_code == 2
    return message


def wrong(text):
    message = refused(configs.parse, text, "model.json")
    assert message.startswith("model.json:")
    return message


@given(CONFIG)
@example({"a": 1, "b": 1.0, "c": True, "d": -0.0, "e": 1e22, "f": 5e-324, "g": "\0\u2028😀", "h": [1, 1.0, None]})
def test_what_is_saved_is_what_was_parsed(config):
    for text in (json.dumps(config), json.dumps(config, indent=4), configs.pretty(config).decode()):
        assert typed(configs.parse(text, "x")) == typed(config)
    assert list(configs.parse(configs.pretty(config).decode(), "x")) == list(config)  # the order stays, too


@given(CONFIG)
def test_pretty_has_one_key_a_line(config):
    assert configs.pretty(config).decode().count("\n") == max(len(config), 1) + 2


@given(CONFIG, st.randoms())
def test_canonical_form_is_independent_of_the_order_of_keys(config, random):
    items = list(config.items())
    random.shuffle(items)
    assert configs.canonical(dict(items)) == configs.canonical(config)


@given(CONFIG, CONFIG)
@example({"a": 1}, {"a": 1.0})
@example({"a": 1}, {"a": True})
@example({"a": 0.0}, {"a": -0.0})
@example({"a": "1"}, {"a": 1})
@example({"a": None}, {})
@example({"a": [1]}, {"a": 1})
@example({"a": ["b", "c"]}, {"a": ['b","c']})
def test_canonical_form_keeps_different_configs_apart(one, other):
    assert (configs.canonical(one) == configs.canonical(other)) == (typed(one) == typed(other))


@given(CONFIG, CONFIG, st.dictionaries(KEY, INTEGER, max_size=3))
def test_merge_lays_conf_and_then_every_setting_over_the_file(config, conf, settings):
    before = typed(config)
    merged = configs.merge(config, json.dumps(conf), [f"{key}={value}" for key, value in settings.items()])
    assert typed(merged) == typed({**config, **conf, **settings})
    assert typed(config) == before
    assert merged is not config


def test_merge_reads_settings_in_order():
    assert configs.merge({"a": 0}, '{"a": 1, "b": 1}', ["a=2", "a=3"]) == {"a": 3, "b": 1}
    assert configs.merge({"a": 0}) == {"a": 0}
    assert "--conf" in refused(configs.merge, {}, "")


@given(CONFIG, KEY, SCALAR)
def test_fingerprint_changes_with_any_key(config, key, value):
    config.pop("source", None)
    assume(key != "source" and typed(config.get(key, "(absent)")) != typed(value))
    assert configs.fingerprint(config, {}) != configs.fingerprint(config | {key: value}, {})
    assert configs.fingerprint(config, {}) == configs.fingerprint(dict(reversed(config.items())), {})
    if key in config:
        rest = {k: v for k, v in config.items() if k != key}
        assert configs.fingerprint(config, {}) != configs.fingerprint(rest, {})


def test_fingerprint_depends_on_what_a_source_is_and_not_on_its_name():
    one, other = "1" * 64, "2" * 64
    config = {"stage": "train", "source": "data"}
    fingerprint = configs.fingerprint(config, {"data": one})
    assert fingerprint == configs.fingerprint(config | {"source": "renamed"}, {"renamed": one})
    assert fingerprint != configs.fingerprint(config, {"data": other})
    assert config["source"] == "data"
    both = config | {"source": ["a", "b"]}
    assert configs.fingerprint(both, {"a": one, "b": other}) == configs.fingerprint(
        config | {"source": ["x", "y"]}, {"x": one, "y": other}
    )
    assert configs.fingerprint(both, {"a": one, "b": other}) != configs.fingerprint(both, {"a": other, "b": one})


def test_fingerprint_is_what_it_was_last_year():
    """The format is for ever: documents and folders hold it."""
    assert configs.canonical({"b": [1, 1.0, None], "a": "é"}) == '{"a":"é","b":[1,1.0,null]}'.encode()
    assert configs.fingerprint({"stage": "noop"}, {}) == (
        "3f9bd3f538778f60fc52d30e52803c872aad43aee5925ccc07108f2ef9ae65c8"
    )


@given(st.integers(1, 10**6))
def test_letters_count_like_columns_of_a_spreadsheet(number):
    text = configs.letters(number)
    value = 0
    for letter in text:
        value = value * 26 + ord(letter) - ord("a") + 1
    assert value == number


@given(st.sets(st.integers(1, 60).map(configs.letters)))
def test_next_letter_is_the_first_that_is_not_taken(used):
    taken = {f"model{letter}" for letter in used} | {"model"}
    name = configs.next_letter("model", taken)
    assert name not in taken
    number = next(n for n in range(1, 100) if configs.letters(n) not in used)
    assert name == f"model{configs.letters(number)}"


def test_next_letter_after_z_is_aa_and_a_name_has_an_end():
    assert configs.next_letter("model", {f"model{chr(c)}" for c in range(97, 123)}) == "modelaa"
    assert "at most 64" in refused(configs.next_letter, "m" * 64, set())


@pytest.mark.parametrize(
    ("text", "place"),
    [("", "1:1"), ("{", "1:2"), ('{"a": 1,}', "1:9"), ('{\n "a": 1\n "b": 2}', "3:2"), ('{"a": 1} x', "1:10")],
)
def test_broken_json_is_named_with_line_and_column(text, place):
    assert wrong(text).startswith(f"model.json:{place}: broken JSON: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"loss": {"l1": 0, "l2": 1.5}}', ['"loss" is nested', '"loss_l1": 0, "loss_l2": 1.5']),
        ('{"losses": [{"l1": 0}]}', ['"losses" is nested', '"losses_l1": 0']),
        ('{"a": [1, [2]]}', ['"a" is nested', '"a_1": ...']),
        ('{"a": {"b": {"c": 1}}}', ['"a_b": ...']),
        ('{"a": {"b\\n": 1}}', ['"a_b\\n": 1']),
        ('{"a": {}}', ['leave out the empty object "a"']),
        ('{"a": 1, "b": 2, "a": 1}', ['"a" stands there twice']),
        ('{"a": {"b": 1, "b": 1}}', ['"b" stands there twice']),
        ('{"a": NaN}', ['"a": nan']),
        ('{"a": Infinity}', ['"a": inf']),
        ('{"a": [0, -Infinity]}', ['"a": -inf']),
        ('{"a": 1e999}', ['"a": inf']),
        (f'{{"a": {2**63}}}', ['"a": 9223372036854775808 does not fit in 64 bits']),
        (f'{{"a": [{-(2**63) - 1}]}}', ['"a": -9223372036854775809 does not fit in 64 bits']),
        ('{"a": ' + "7" * 5000 + "}", ['"a": 777', "does not fit in 64 bits"]),
        ('{"a": -' + "7" * 5000 + "}", ['"a": -777', "does not fit in 64 bits"]),
        ('{"a": "\\ud800"}', ['"a": half of a surrogate pair']),
        ('{"a": ["x\\udfff"]}', ['"a": half of a surrogate pair']),
        ('{"": 1}', ["bad key ''"]),
        ('{"1a": 1}', ["bad key '1a'"]),
        ('{"a.b": 1}', ["bad key 'a.b'"]),
        ('{"$a": 1}', ["bad key '$a'"]),
        ('{"a\\n": 1}', ["bad key 'a\\n'"]),
        ('{"a\\u0000": 1}', ["bad key 'a\\x00'"]),
        ('{"\\ud800": 1}', ["bad key '\\ud800'"]),
        ('{"\\u00e9": 1}', ["bad key 'é'"]),
        ('{"a": "\0"}', [":1:8: broken JSON"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"a": ' * 100_000, ["nested too deeply"]),
        ("[]", ["expected one JSON object, got: a list: []"]),
        ('"text"', ["expected one JSON object, got: a string"]),
        ("null", ["expected one JSON object, got: null"]),
        ("true", ["expected one JSON object, got: a boolean: true"]),
        ("NaN", ["expected one JSON object, got: a number"]),
    ],
)
def test_what_is_no_flat_config_is_refused_with_the_key_and_the_reason(text, says):
    message = wrong(text)
    for part in says:
        assert part in message


def test_numbers_at_the_edge_pass():
    config = configs.parse(f'{{"a": {2**63 - 1}, "b": {-(2**63)}, "c": 1.7976931348623157e308, "d": "\\u0000"}}', "x")
    assert config == {"a": 2**63 - 1, "b": -(2**63), "c": 1.7976931348623157e308, "d": "\0"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1.0", 1.0),
        ("a=true", True),
        ("a=null", None),
        ('a="1"', "1"),
        ("a=[1,2]", [1, 2]),
        ("a=b=c", "b=c"),
        ("a=", ""),
        ("a=hello world", "hello world"),
        ("a=[1,", "[1,"),
        ("a=1e-3", 0.001),
    ],
)
def test_a_setting_is_json_or_else_a_string(text, value):
    key, found = configs.parse_setting(text)
    assert (key, typed(found)) == ("a", typed(value))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a", "expected key=value"),
        ("", "expected key=value"),
        ("=1", "bad key ''"),
        ("a b=1", "bad key 'a b'"),
        ("a\n=1", "bad key 'a\\n'"),
        ("a=NaN", '"a": nan is no finite number'),
        ("a=[1,Infinity]", '"a": inf is no finite number'),
        ("a=1e999", '"a": inf is no finite number'),
        ('a={"b": 1}', 'write it flat: "a_b": 1'),
        ('a={"b": 1, "b": 2}', '"b" stands there twice'),
        ("a=" + "9" * 5000, '"a": 999'),
        ("a=" + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a=\udcff", '"a": half of a surrogate pair'),
    ],
)
def test_a_bad_setting_is_refused(text, says):
    message = refused(configs.parse_setting, text)
    assert message.startswith("--set ")
    assert says in message


def test_conf_is_as_strict_as_a_file():
    assert refused(configs.merge, {}, '{"a": 1, "a": 1}') == '--conf: "a" stands there twice'
    assert refused(configs.merge, {}, '{"a": NaN}').startswith('--conf: "a": ')
    assert refused(configs.merge, {}, "lr=1").startswith("--conf:1:1: broken JSON")


def write(folder, data):
    path = folder / "model.json"
    path.write_bytes(data)
    return path


def test_a_file_at_the_limit_passes_and_one_byte_more_does_not(tmp_path):
    start = b'{"a": "'
    fits = start + b"x" * (configs.MAX_BYTES - len(start) - 2) + b'"}'
    assert len(configs.load(write(tmp_path, fits))["a"]) == configs.MAX_BYTES - len(start) - 2
    message = refused(configs.load, write(tmp_path, fits + b"\n"))
    assert "model.json: 65537 bytes; a config holds at most 65536" in message


def test_a_merged_config_is_bounded_as_it_is_saved(tmp_path):
    frame = len(configs.pretty({"stage": "train", "a": ""}))
    fits = {"stage": "train", "a": "x" * (configs.MAX_BYTES - frame)}
    configs.check(fits, "model.json")
    assert configs.load(write(tmp_path, configs.pretty(fits))) == fits
    assert "over 65536 bytes" in refused(configs.check, fits | {"a": fits["a"] + "x"}, "model.json")
    configs.check({"stage": "train", "a": [1] * 20_000}, "model.json")  # 60 kB in the file, and no more when saved


def test_bytes_that_are_not_utf8_are_refused_and_a_bom_is_not(tmp_path):
    assert "model.json: not UTF-8" in refused(configs.load, write(tmp_path, b'{"a": "\xff"}'))
    assert "model.json: not UTF-8" in refused(configs.load, write(tmp_path, '{"a": 1}'.encode("utf-16")))
    assert configs.load(write(tmp_path, b'\xef\xbb\xbf{"a": "\xc3\xa9"}')) == {"a": "é"}


def test_files_that_cannot_be_read(tmp_path):
    assert refused(configs.load, tmp_path / "no.json") == (
        f"{tmp_path / 'no.json'}: can't be read: No such file or directory"
    )
    assert refused(configs.load, tmp_path).endswith("can't be read: Is a directory")
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert "can't be read" in refused(configs.load, tmp_path / "loop.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stage": ...}, 'no "stage"'),
        ({"stage": None}, '"stage": expected a string, got: null'),
        ({"stage": ["train"]}, '"stage": expected a string, got: a list'),
        ({"seed": 1.0}, '"seed": expected an integer, got: a number: 1.0'),
        ({"seed": True}, '"seed": expected an integer, got: a boolean: true'),
        ({"seed": None}, '"seed": expected an integer, got: null'),
        ({"gpus": -1}, '"gpus": expected a number of cards'),
        ({"gpus": 1.0}, '"gpus": expected a number of cards'),
        ({"gpus": "1"}, '"gpus": expected a number of cards'),
        ({"gpus": True}, '"gpus": expected a number of cards'),
        ({"source": 1}, '"source": expected a name or a list of names'),
        ({"source": ["a", None]}, '"source": expected a name or a list of names'),
        ({"source": ["a", "a"]}, '"source" names one config twice'),
        ({"source": "../a"}, "\"source\": bad name '../a'"),
        ({"source": "a\n"}, "\"source\": bad name 'a\\n'"),
        ({"source": ""}, "\"source\": bad name ''"),
        ({"source": "x" * 65}, '"source": bad name'),
        ({"source": "_a"}, '"source": bad name'),
        ({"source": "é"}, '"source": bad name'),
    ],
)
def test_reserved_keys_are_checked_in_the_merged_config(change, says):
    config = {"stage": "train", "source": "data", "seed": 1, "gpus": 0}
    configs.check(config, "model.json")
    changed = {key: value for key, value in (config | change).items() if value is not ...}
    message = refused(configs.check, changed, "model.json")
    assert message.startswith("model.json: ")
    assert says in message


def test_sources_in_the_order_given():
    assert configs.sources({}) == configs.sources({"source": None}) == configs.sources({"source": []}) == []
    assert configs.sources({"source": "a"}) == ["a"]
    assert configs.sources({"source": ["b", "a"]}) == ["b", "a"]


@pytest.mark.parametrize("name", ["a", "0", "A-b_c", "x" * 64])
def test_good_names(name):
    assert configs.check_name(name, "x") == name


def test_difference_shows_only_what_differs():
    old, new = {"a": 1, "b": 0.1, "c": "x"}, {"a": 1.0, "b": 0.1, "d": None}
    assert configs.difference(old, new) == 'a: 1 -> 1.0, c: "x" -> (absent), d: (absent) -> null'
    assert configs.difference(old, dict(reversed(old.items()))) == ""


@given(CONFIG, CONFIG)
def test_difference_is_empty_for_equal_configs_only(one, other):
    assert (configs.difference(one, other) == "") == (typed(one) == typed(other))


@given(st.text(max_size=40))
def test_any_text_is_a_config_or_a_one_line_refusal(text):
    try:
        message = ""
        config = configs.parse(text, "x")
    except ConfigError as error:
        message, config = str(error), {}
    assert message.isprintable()
    assert all(math.isfinite(v) for v in config.values() if isinstance(v, float))
