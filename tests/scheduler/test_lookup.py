"""Names that a pattern of the shell fits, as the server finds them."""

import fnmatch

import pytest

from repro.scheduler import runs
from repro.scheduler.queue import lookup
from repro.stages import config as configs

NAMES = ["a", "ab", "b1", "b2", "model", "model-2"]


@pytest.fixture(params=["Z", "z"])
def end_of_text(request, monkeypatch):
    """As Python writes it today, and from 3.14 on."""
    before = fnmatch.translate
    monkeypatch.setattr(fnmatch, "translate", lambda pattern: before(pattern)[:-1] + request.param)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", NAMES),
        ("a", ["a"]),
        ("a*", ["a", "ab"]),
        ("b?", ["b1", "b2"]),
        ("b[!1]", ["b2"]),
        ("*o*l", ["model"]),
        ("*-*", ["model-2"]),
        ("m[", []),
    ],
)
def test_a_pattern(database, end_of_text, pattern, names):
    config = {"stage": "toy_write"}
    digest = configs.fingerprint(config, {})
    runs.submit(database, [runs.document(name, config, digest, [], []) for name in NAMES])
    assert lookup.fitting(database, pattern) == names
