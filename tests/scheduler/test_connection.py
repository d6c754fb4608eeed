"""Connecting: what is promised of the connection, and one line for every way in which it can fail."""

import time
from datetime import UTC

import pytest
from pymongo.errors import AutoReconnect

from repro.scheduler.server import connection
from repro.scheduler.server.connection import connect, reachable
from repro.scheduler.settings import Settings
from repro.stages.errors import ReproError, Unreachable


def settings(url):
    return Settings.read({"REPRO_MONGO_URL": url})


def test_the_url_names_the_database_else_it_is_repro(mongo_server):
    base, _, query = mongo_server.partition("?")
    for path, name in (("other", "other"), ("", "repro")):
        db = connect(settings(f"{base.rpartition('/')[0]}/{path}?{query}"))
        with db.client:
            assert db.name == name


def test_majority_everywhere_whatever_the_url_says(mongo_server):
    db = connect(settings(mongo_server + ("&" if "?" in mongo_server else "?") + "w=1&readPreference=secondary"))
    with db.client:
        assert db.write_concern.document == {"w": "majority", "j": True}
        assert db.read_concern.document == {"level": "majority"}
        assert db.read_preference.name == "Primary"


def test_times_know_their_zone(database):
    database.things.insert_one({"_id": 1})
    database.things.update_one({"_id": 1}, [{"$set": {"at": "$$NOW"}}])
    assert database.things.find_one()["at"].utcoffset() == UTC.utcoffset(None)


def test_an_absent_server_is_told_within_five_seconds_without_the_password():
    began, host = time.monotonic(), "127.0.0.1:1"
    with pytest.raises(Unreachable, match=f"MongoDB at {host} can't be reached: .*REPRO_MONGO_URL") as caught:
        connect(settings(f"mongodb://user:secret@{host}/repro"))
    assert connection.PATIENCE_MS < 4000  # so that it is told within five on a machine with nothing else to do
    assert time.monotonic() - began < 35
    assert "secret" not in str(caught.value)


def test_a_refused_password_is_told(mongo_server):
    host = mongo_server.partition("://")[2].partition("/")[0]
    with pytest.raises(Unreachable, match=f"MongoDB at {host} refuses: Authentication failed") as caught:
        connect(settings(f"mongodb://user:secret@{host}/repro"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://user:secret",  # the host forgotten
        "mongodb://user:sec/secret@host:1/repro",  # not percent-encoded
        "mongodb://user:se@secret@host/repro",
        "mongodb://user:%zzsecret@host/repro",
        "mongodb+srv://user:secret",
        "http://user:secret@host/repro",
        "secret",
        "mongodb://",
        "mongodb://host:99999/repro",
        "mongodb://host/re pro",
        "mongodb://user:secret@host/repro?retrywrite=true",  # mistyped: pymongo would only warn
        "mongodb://user:secret@host/repro?tls=maybe",
        "mongodb://host/repro?tls=true&tlsCAFile=/nowhere",
    ],
)
def test_a_bad_url_is_one_line_that_keeps_the_password(url):
    with pytest.raises(ReproError, match="REPRO_MONGO_URL can't be used: ") as caught:
        connect(settings(url))
    assert caught.value.exit_code == 2
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_connection_that_is_lost_later_is_told_too():
    with pytest.raises(Unreachable, match="can't be reached: connection closed"), reachable():
        raise AutoReconnect("connection closed")
