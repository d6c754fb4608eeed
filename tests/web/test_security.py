"""Who may ask for what, on every route there is; and that nothing that somebody has written runs in a browser."""

import csv
import http.client
import io
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.routing import Mount

from repro.web import app
from repro.web.context import Context
from repro.web.news import News
from tests.web import sample_queue
from tests.web.conftest import Site
from tests.web.sample_queue import EVIL, FILES

ROUTES = [
    route.path.replace("{name}", "model").replace("{path:path}", "notes.txt")
    for route in app.build(Context(None, None, News(), 0, frozenset())).routes
    if not isinstance(route, Mount)
] + ["/static/page.js"]
ASKED = {"/confirm": "?verb=hold&names=big", "/drain": "?name=box:1", "/api/drain": "?name=box:1"}
ASKED |= {"/new": "?from=model", "/api/new": "?from=model", "/tree.png": "?name=model*"}
ROUTES = [path + ASKED.get(path, "") for path in ROUTES]
METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@pytest.fixture
def filled(database, settings_environment, tmp_path):
    sample_queue.fill(database, settings_environment, tmp_path / "made")
    return database


def ask(site, path, method="GET", host=None, body=None, **headers):
    """One request, its path as it is given; the answer with its body."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    if host != "":
        connection.putheader("Host", host or f"127.0.0.1:{site.port}")
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    answer.body = answer.read() if "event-stream" not in (answer.getheader("content-type") or "") else b""
    connection.close()
    return answer


def test_every_route_refuses_a_foreign_name_a_foreign_page_and_who_has_no_token(filled, ui):
    site, guarded = ui("--allow-host", "Box.example"), ui("--token", "secret")
    cookie = f"repro-ui-{guarded.port}"
    for path in ROUTES:
        found = (404,) if "/searches/" in path else (200, 303, 405)  # this queue has no search
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1@evil.example", ""):
            assert ask(site, path, host=host).status in (400, 421), (path, host)
        for host in ("localhost", "box.example:8080", "[::1]:1"):
            assert ask(site, path, host=host).status in found, (path, host)
        assert ask(site, path).getheader("content-security-policy").startswith("default-src 'none'"), path
        for method in METHODS:
            assert ask(site, path, method).status == 403, (path, method)
            for foreign in (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Origin": f"http://localhost:{site.port}"},  # another origin than the one that is asked
                {"Sec_Fetch_Site": "cross-site", "Origin": f"http://127.0.0.1:{site.port}"},
                {"Sec_Fetch_Site": "same-site"},
                {"Sec_Fetch_Site": "none"},
            ):
                assert ask(site, path, method, **foreign).status == 403, (path, method, foreign)
            own = ask(site, path, method, Sec_Fetch_Site="same-origin").status
            assert own in ((200, 303, 400, 405, 404) if method == "POST" else (405, 404)), (path, method)
        for bad in ({}, {"Cookie": f"{cookie}=old"}, {"Cookie": "repro-ui-1=secret"}, {"Authorization": "Bearer x"}):
            assert ask(guarded, path, **bad).status == 401, (path, bad)
        for good in ({"Cookie": f"{cookie}=secret"}, {"Authorization": "Bearer secret"}):
            assert ask(guarded, path, **good).status in found, (path, good)


def test_the_token_goes_from_the_address_into_one_cookie(filled, ui):
    site = ui("--token", "s3cret")
    assert site.address.endswith("/?token=s3cret")
    answer = ask(site, "/runs?state=done&token=s3cret&where=lr%3E1")
    assert answer.status == 200
    assert b'url=./runs?state=done&amp;where=lr%3E1"' in answer.body
    assert b"s3cret" not in answer.body
    (cookie,) = answer.headers.get_all("set-cookie")
    assert cookie.startswith(f"repro-ui-{site.port}=s3cret;")
    assert {"httponly", "samesite=strict"} <= set(cookie.lower().replace(" ", "").split(";"))
    assert ask(site, "/?token=guess").status == 401
    # A path can't lead elsewhere.
    assert b'url=./https%3Aevil.example"' in ask(site, "/https:evil.example?token=s3cret").body
    assert b'url=./evil.example"' in ask(site, "//evil.example?token=s3cret").body


def test_on_another_address_than_this_machines_own_a_token_is_made_up(filled, ui):
    site = ui("--host", "0.0.0.0")
    token = site.address.partition("?token=")[2]
    assert len(token) >= 24
    assert ask(site, "/").status == 401
    assert ask(site, "/", Authorization=f"Bearer {token}").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "../model/notes.txt",
        "..%2fmodel%2fnotes.txt",
        "%2e%2e/notes.txt",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5c..%5cnotes.txt",
        "....//notes.txt",
        "./notes.txt",
        "/notes.txt",
        "//notes.txt",
        "notes.txt/",
        "notes.txt%00",
        "notes.txt%00.png",
        "%c0%ae%c0%ae/notes.txt",
        "NOTES.TXT",
        "a%20b/../notes.txt",
        "a%20b/c.json",
        "repro-log.txt",
        "repro-run.json",
        "",
        "a" * 3000,
    ],
)
def test_only_a_recorded_output_is_served_letter_by_letter(shared_site, path):
    answer = ask(shared_site, f"/runs/model/files/{path}")
    assert answer.status in (400, 404), (answer.status, answer.body[:200])
    assert b"alert(4)" not in answer.body


def test_a_file_is_shown_as_text_or_picture_or_not_at_all(shared_site):
    shown = {}
    for path, data in FILES.items():
        answer = ask(shared_site, f"/runs/model/files/{quote(path)}")
        assert (answer.status, answer.body) == (200, data), path
        assert answer.getheader("x-content-type-options") == "nosniff"
        shown[path] = (answer.getheader("content-type"), (answer.getheader("content-disposition") or "")[:10])
    text, other = ("text/plain; charset=utf-8", ""), ("application/octet-stream", "attachment")
    assert shown == {
        "losses.csv": text,
        "page.html": other,
        "notes.txt": text,
        "picture.svg": other,
        "a b/%2e%2e/c.json": text,
        "dot.png": ("image/png", ""),
        "weights.bin": other,
    }


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=1000000-1100000", 206, slice(1_000_000, 1_100_001)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=1279999-", 206, slice(1_279_999, None)),
        ("bytes=9-3", 200, slice(None)),
        ("bytes=9999999-", 200, slice(None)),
        ("bytes=0-1,3-4", 200, slice(None)),
        ("bytes=x-", 200, slice(None)),
        ("bytes=" + "9" * 5000 + "-", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
    ],
)
def test_a_range_of_a_file(shared_site, asked, status, part):
    answer = ask(shared_site, "/runs/model/files/weights.bin", Range=asked)
    assert (answer.status, answer.body) == (status, FILES["weights.bin"][part])


def test_whatever_runs_say_is_text(shared_site):
    for path in ("/", "/runs", "/runs/evil", "/runs/evil/log", "/runs/broken", "/runs?tag=" + quote(EVIL)):
        answer = ask(shared_site, path)
        assert answer.status == 200, path
        text = answer.body.decode()
        assert "alert(1)" in text, path
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), path
    answer = ask(shared_site, "/api/runs/evil")
    assert answer.getheader("content-type") == "application/json"
    assert json.loads(answer.body)["run"]["config"]["note"] == EVIL


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/" + quote("<script>"), 404),
        ("/runs/nobody", 404),
        ("/runs/model%00", 404),
        ("/runs?where=" + quote("<script>alert(1)</script>"), 400),
        ("/runs?state=nothing", 400),
        ("/runs?limit=-1", 400),
        ("/runs?limit=" + "9" * 5000, 400),
        ("/runs?after=x", 400),
        ("/runs?sort=$where", 400),
        ("/runs?name=" + quote("[") * 50, 200),
        ("/runs?where=" + quote("a=" + "1" * 400), 400),
        ("/runs/model/log?attempt=7", 200),
        ("/runs/model/log?lines=x", 400),
        ("/nothing/at/all", 404),
        ("/%ff%fe", 404),
        ("/runs?name=%ff", 200),
        ("/api/runs/nobody", 404),
    ],
)
def test_bad_addresses_get_one_line_and_no_traceback(shared_site, path, status):
    answer = ask(shared_site, path)
    assert answer.status == status, answer.body[-500:]
    text = answer.body.decode()
    assert "Traceback" not in text
    assert "<script>alert" not in text
    assert answer.getheader("content-security-policy")


def test_a_csv_holds_no_formula(shared_site):
    text = ask(shared_site, "/runs.csv?columns=metrics.a,metrics.text,lr&state=done").body.decode()
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "\t", "+", "-"))]
    assert {"0.01", '"=1+1"'} <= set(cells)


def test_the_search_box_knows_names_digests_tags_and_parts_of_names(shared_site):
    run = json.loads(ask(shared_site, "/api/runs/model").body)["run"]
    for text, to in {
        "model": "./runs/model",
        run["fingerprint"][:12]: "./runs/model",
        run["outputs"][0]["sha256"]: "./runs/",
        "sweep": "./runs?tag=sweep",
        "mod": "./runs?name=%2Amod%2A",
        "m?del": "./runs?name=m%3Fdel",
        "": "./runs",
    }.items():
        assert ask(shared_site, f"/search?q={quote(text)}").getheader("location").startswith(to), text


def test_a_fault_of_the_page_is_told_by_one_line_and_to_who_runs_the_server(database, settings_environment):
    database.runs.insert_one({"_id": "odd", "state": "done", "stage": "x", "config": {}, "history": "nothing"})
    site = Site(settings_environment)
    answer = ask(site, "/runs/odd/attempts")
    _, said = site.stop()
    assert (answer.status, b"This page has a fault (TypeError)" in answer.body) == (500, True)
    assert answer.getheader("content-security-policy")
    assert b"Traceback" not in answer.body
    assert "Traceback" in said


def test_a_disk_that_can_not_be_read_is_told_with_its_place(database, settings_environment, ui, tmp_path):
    sample_queue.fill(database, settings_environment, tmp_path / "made")
    location = Path(database.runs.find_one({"_id": "model"})["location"].removeprefix("file://"))
    (location / "notes.txt").unlink()
    (location / "notes.txt").mkdir()  # what even root can't read as a file
    answer = ask(ui(), "/runs/model/files/notes.txt")
    assert (answer.status, b"notes.txt can&#39;t be read: Is a directory" in answer.body) == (503, True), answer.body
