"""Settings: defaults, absolute paths, URLs as they are."""

import pytest

from repro.scheduler.settings import Settings
from repro.stages.errors import ReproError


def test_defaults_lie_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.read({})
    assert settings.home == tmp_path / ".repro"
    assert settings.mongo_url is None
    assert settings.store == f"file://{tmp_path}/.repro/store"
    assert settings.data == str(tmp_path)


def test_an_empty_variable_is_not_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = dict.fromkeys(["REPRO_HOME", "REPRO_MONGO_URL", "REPRO_STORE", "REPRO_DATA"], "")
    assert Settings.read(empty) == Settings.read({})


@pytest.mark.parametrize(
    ("given", "store"),
    [
        ("s3://bucket/runs/", "s3://bucket/runs"),
        ("s3://bucket", "s3://bucket"),
        ("memory://", "memory://"),
        ("file:///", "file:///"),
        ("/a b/c/", "file:///a b/c"),
        ("/a/b/../c", "file:///a/c"),
    ],
)
def test_a_store_is_a_url(given, store):
    assert Settings.read({"REPRO_STORE": given}).store == store


def test_relative_paths_and_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.read({"REPRO_HOME": "~/h", "REPRO_STORE": "s", "REPRO_DATA": "../d", "HOME": "/x"})
    assert settings.home.is_absolute()
    assert "~" not in str(settings.home)
    assert settings.store == f"file://{tmp_path}/s"
    assert settings.data == str(tmp_path.parent / "d")


def test_data_may_be_a_url():
    assert Settings.read({"REPRO_DATA": "s3://bucket/images/"}).data == "s3://bucket/images"


def test_a_home_elsewhere_is_refused():
    with pytest.raises(ReproError, match="REPRO_HOME is s3://bucket/home, but must be a folder of this machine"):
        Settings.read({"REPRO_HOME": "s3://bucket/home"})


@pytest.mark.parametrize("name", ["HOME", "STORE", "DATA", "MONGO_URL"])
def test_what_is_no_text_is_refused(name):
    with pytest.raises(ReproError, match=f"REPRO_{name}: .* is no UTF-8 text"):
        Settings.read({f"REPRO_{name}": "/tmp/h\udcff"})


def test_a_current_folder_that_is_gone_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ReproError, match="go to another folder"):
        Settings.read({})
