"""Each fault of the HTTP face, before a real HTTP server."""

import http.client
import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.proxy import HttpFaults
from tests.worker.test_worker import wait_for


class Objects(http.server.BaseHTTPRequestHandler):
    """PUT keeps a body, GET and HEAD give it back, as S3 does."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.server.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"])), self.headers["Host"]
        self._answer(b"")

    def do_GET(self):
        self._answer(self.server.kept[self.path][0])

    do_HEAD = do_GET

    def _answer(self, body):
        self.send_response(200)
        self.send_header("ETag", '"tag"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def server():
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Objects)
    found.daemon_threads = True
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def kept(server):
    """What the server holds: path -> body, host that the client named."""
    server.kept = {}
    return server.kept


@pytest.fixture
def proxy(server, kept):
    with HttpFaults(server.server_port) as found:
        yield found


def ask(proxy, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_without_a_fault_all_passes_as_it_is(proxy, kept):
    body = bytes(range(256)) * 20_000  # 5 MB: more than any limit on a body that a server may have by default
    assert ask(proxy, "PUT", "/b/a%20b?x=%2F", body)[0] == 200
    assert kept == {"/b/a%20b?x=%2F": (body, f"127.0.0.1:{proxy.port}")}
    status, found, headers = ask(proxy, "GET", "/b/a%20b?x=%2F")
    assert (status, found, headers["ETag"]) == (200, body, '"tag"')
    status, found, headers = ask(proxy, "HEAD", "/b/a%20b?x=%2F")
    assert (status, found, headers["Content-Length"]) == (200, b"", str(len(body)))
    assert proxy.struck == []


def test_a_dropped_reply_comes_after_the_server_has_applied_the_request(proxy, kept):
    proxy.next("drop reply", method="PUT", contains="repro-run.json")
    ask(proxy, "PUT", "/b/other", b"1")
    with pytest.raises(ConnectionResetError):
        ask(proxy, "PUT", "/b/repro-run.json", b"2")
    assert kept["/b/repro-run.json"][0] == b"2"
    assert ask(proxy, "PUT", "/b/repro-run.json", b"3")[0] == 200
    assert proxy.struck == [("drop reply", "PUT", "/b/repro-run.json")]


def test_a_dropped_request_never_reaches_the_server(proxy, kept):
    proxy.next("drop request")
    with pytest.raises(ConnectionResetError):
        ask(proxy, "PUT", "/b/a", b"1")
    assert kept == {}


@pytest.mark.parametrize("status", ["503", "409"])
def test_a_status_is_answered_as_often_as_the_rule_says_and_the_server_hears_nothing(proxy, kept, status):
    proxy.next(status, method="PUT", times=2)
    found = [ask(proxy, "PUT", "/b/a", b"1")[0] for _ in range(3)]
    assert found == [int(status), int(status), 200]
    assert proxy.struck == [(status, "PUT", "/b/a")] * 2


def test_a_stalled_request_is_answered_late(proxy):
    ask(proxy, "PUT", "/b/a", b"1")
    proxy.next("stall", seconds=0.5)
    began = time.monotonic()
    assert ask(proxy, "GET", "/b/a")[1] == b"1"
    assert time.monotonic() - began >= 0.5


def test_a_truncated_answer_promises_more_than_it_gives(proxy):
    ask(proxy, "PUT", "/b/a", b"1234567890" * 1000)
    proxy.next("truncate", method="GET")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)) as caught:
        ask(proxy, "GET", "/b/a")
    if isinstance(caught.value, http.client.IncompleteRead):
        assert caught.value.expected == 5000


def test_while_it_refuses_nothing_passes(proxy, kept):
    proxy.refusing = True
    with pytest.raises(ConnectionResetError):
        ask(proxy, "PUT", "/b/a", b"1")
    proxy.forget()
    assert ask(proxy, "PUT", "/b/a", b"1")[0] == 200
    assert len(kept) == 1


def test_what_is_under_way_can_be_cut_and_is_applied_nevertheless(proxy, kept):
    proxy.next("stall", seconds=0.5)
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask, proxy, "PUT", "/b/a", b"1")
        wait_for(lambda: proxy.struck)
        proxy.cut()
        with pytest.raises(ConnectionError):
            asked.result()
    wait_for(lambda: kept)
    assert ask(proxy, "GET", "/b/a")[1] == b"1"


def test_a_client_that_waits_for_100_continue_is_told_so(proxy, kept):
    assert ask(proxy, "PUT", "/b/a", b"12", Expect="100-continue")[0] == 200
    assert kept["/b/a"][0] == b"12"


def test_the_end_waits_for_nothing_that_stalls(proxy):
    proxy.next("stall", seconds=600)
    ended = []

    def wait():
        with pytest.raises(ConnectionError) as caught:
            ask(proxy, "GET", "/b/a")
        ended.append(caught.value)

    thread = threading.Thread(target=wait)
    thread.start()
    while not proxy.struck:
        time.sleep(0.01)
    proxy.close()
    thread.join(10)
    assert ended
