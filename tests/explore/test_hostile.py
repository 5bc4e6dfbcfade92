"""Requests that nobody means well: always refused with one sentence, and nothing in the folder changes."""

import io
import itertools
import random
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whence.artefacts import file_digest
from whence.errors import ConfigError
from whence.explore.guard import COOKIE, Guard
from whence.explore.server import bind
from whence.explore.upload import BYTES

PAGES = ("/picture", "/image", "/unit", "/without", "/png", "/job", "/where", "/")
KEYS = {"/picture": "name", "/image": "id", "/unit": "name", "/png": "picture", "/job": "id", "/where": "like"}
NAMES = (
    "../../etc/passwd",
    "..%2f..%2fmanifest.json",
    "%00",
    "0/0\x00",
    "/etc/passwd",
    "C:\\windows",
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "{{7*7}}",
    "0/99999999999999999999",
    "-1/0",
    "٠/٠",
    "\u202e0/0",
    "\U0001f600" * 40,
    "x" * 4000,
    "upload-000000000000",
    "samples/0",
    "1e309",
)
PATHS = (
    "/%2e%2e/%2e%2e/etc/passwd",
    "/static/../guard.py",
    "/static/guard.py",
    "/static/%2e%2e%2fsite.py",
    "/.git",
    "/picture/0/0",
    "/manifest.json",
    "/members/00",
    "/static/",
)


def table(seed: int = 0) -> list[tuple[str, str, dict, dict]]:
    """Requests: method, address, parameters, and what else is sent."""
    source = random.Random(seed)
    rows = [("GET", page, {KEYS[page]: name}, {}) for page, name in itertools.product(KEYS, NAMES)]
    rows += [("GET", path, {}, {}) for path in PATHS]
    rows += [("GET", "/", {"page": text}, {}) for text in ("0", "-1", "1.5", "999999999", "9" * 50, "x", "²")]
    rows += [
        ("GET", page, {"format": "xml", **dict.fromkeys(("name", "picture"), "0/0")}, {})
        for page in ("/", "/picture", "/where")
    ]
    rows += [("GET", "/picture", {"name": "0/0", "by": name}, {}) for name in NAMES]
    rows += [("GET", "/without", {"picture": "0/0", "unit": name}, {}) for name in NAMES]
    rows += [
        ("GET", "/without", {"picture": "0/0", "unit": ["u1"] * 40}, {}),
        ("GET", "/without", {"picture": "0/0"}, {}),
    ]
    rows += [("GET", "/", {"q": "x" * 5000}, {}), ("GET", "/", {"q": ["a", "b"]}, {}), ("GET", "/picture", {}, {})]
    rows += [(method, source.choice(PAGES), {}, {}) for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE") * 4]
    hosts = (
        "evil.example",
        "127.0.0.1.evil.example",
        "",
        "127.0.0.1@evil.example",
        "[::1",
        "localhost:8000/x",
        "0x7f.1",
    )
    rows += [("GET", "/", {}, {"headers": {"host": host}}) for host in hosts]
    origins = ("http://evil.example", "null", "http://127.0.0.1:8001", "", "http://127.0.0.1:8000.evil.example")
    forms = {"/without": {"picture": "0/0", "unit": "u1"}, "/losses": {"name": "0/2"}, "/draw": {"seed": "5"}}
    rows += [
        ("POST", path, {}, {"data": data, "origin": o}) for (path, data), o in itertools.product(forms.items(), origins)
    ]
    rows += [
        ("POST", path, {}, {"data": data, "token": t})
        for (path, data), t in itertools.product(forms.items(), ("", "x", "ü" * 9))
    ]
    rows += [("POST", "/without", {}, {"data": {"picture": name, "unit": "u1"}}) for name in NAMES]
    rows += [("POST", "/without", {}, {"data": {"picture": "0/0", "unit": name}}) for name in NAMES]
    rows += [("POST", "/losses", {}, {"data": {"name": name}}) for name in NAMES]
    rows += [("POST", "/draw", {}, {"data": {"seed": seed}}) for seed in ("", "-1", "1.5", "9" * 30, "²", "nan", "0x1")]
    rows += [("POST", "/draw", {}, {"data": {"seed": "5", "prompt": text}}) for text in ("a", "x" * 900, "a\nb")]
    rows += [("POST", page, {}, {"data": {}}) for page in ("/picture", "/image", "/png", "/nowhere")]
    rows += [("POST", "/draw", {}, {"content": body, "kind": kind}) for kind, body in BODIES]
    rows += [("POST", path, {}, {"file": file}) for path, file in itertools.product(("/upload", "/where"), files())]
    return rows


BODIES = (
    ("application/json", b"{}"),
    ("text/plain", b"seed=5"),
    ("multipart/form-data", b"no boundary"),
    ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
    ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % k for k in range(100))),
    ("application/x-www-form-urlencoded", b"x" * (BYTES + 10**6)),
    ("application/x-www-form-urlencoded", b"%ff%fe=%00&&&==="),
)


def files() -> list[bytes]:
    """Files that are no PNG or JPEG, damaged, too large, or small files that unpack to very much."""
    stream, good = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(stream, "GIF")
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)).save(good, "PNG")
    whole = good.getvalue()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def bomb(side: int) -> bytes:
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 10**6)) + chunk(b"IEND", b"")

    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    return [
        b"",
        b"x",
        svg,
        stream.getvalue(),
        whole[:60],
        whole[:-40],
        b"\xff\xd8\xff\xe0" + b"0" * 99,
        bomb(7000),
        bomb(60000),
        b"\0" * (BYTES + 1),
    ]


REQUESTS = table()


def hashes(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file_digest(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def send(someone, method: str, path: str, parameters: dict, more: dict):
    if method != "POST":
        return someone.client.request(method, path, params=parameters, headers=more.get("headers"))
    token = more.get("token", someone.explorer.guard.token)
    headers = {"Origin": more.get("origin", "http://127.0.0.1:8000")}
    if "content" in more:
        return someone.client.post(path, content=more["content"], headers=headers | {"Content-Type": more["kind"]})
    given = {"file": ("a.png", more["file"])} if "file" in more else None
    return someone.client.post(path, data={"token": token} | more.get("data", {}), files=given, headers=headers)


def test_hostile_requests_are_refused_with_one_sentence_and_change_nothing(visitor, measured):
    someone, before = visitor(measured), hashes(measured)
    assert len(REQUESTS) >= 300
    wrong = []
    for method, path, parameters, more in REQUESTS:
        answer = send(someone, method, path, parameters, more)
        found = re.search(r'<p id="error">([^<]+)</p>', answer.text)
        right = 400 <= answer.status_code < 500 and found is not None and found[1].strip().endswith(".")
        leak = re.search(r"Traceback|/whence/|\.py\b|<script>alert", answer.text)
        if not right or leak or "default-src 'none'" not in answer.headers["content-security-policy"]:
            told = {name: str(value)[:80] for name, value in (parameters | more).items()}
            wrong.append((method, path, told, answer.status_code))
    assert wrong == []
    assert hashes(measured) == before
    assert not someone.explorer.jobs.by_id


@pytest.mark.parametrize("kind", ["scored", "shared"])
def test_folders_without_an_ensemble_draw_and_measure_nothing(visitor, request, kind):
    folder = request.getfixturevalue(kind)
    someone, before = visitor(folder), hashes(folder)
    unit = "anna"
    for path, data in (
        ("/without", {"picture": "a.png", "unit": unit}),
        ("/losses", {"name": "a.png"}),
        ("/draw", {"seed": "5"}),
    ):
        assert someone.post(path, data).status_code == 409
    assert hashes(folder) == before


def test_text_of_the_data_is_never_markup(visitor, scored):
    someone = visitor(scored)
    for address in ("/", "/picture?name=b+%3Cb%3E.png", "/where?q=%3Cb%3E"):
        page = someone.get(address).text
        assert "b &lt;b&gt;.png" in page or "&lt;b&gt;" in page
        assert "<b>.png" not in page


def test_every_answer_binds_the_browser(visitor, measured):
    someone = visitor(measured)
    for address in ("/", "/png?picture=0/0", "/static/explore.js", "/nowhere", "/?format=json"):
        headers = someone.get(address).headers
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_another_address_needs_the_key(explore, measured):
    from starlette.testclient import TestClient

    explorer = explore(measured, "0.0.0.0")
    client = TestClient(explorer.app(), base_url="http://192.168.0.7:8000", follow_redirects=False)
    for address in ("/", "/?key=", "/?key=x", "/?key=" + explorer.guard.key[:-1], "/static/explore.js"):
        assert client.get(address).status_code == 403
    answer = client.get("/?q=0&key=" + explorer.guard.key)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?q=0"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={explorer.guard.key};")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/?q=0").status_code == 200
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False)]
)
def test_only_this_machine_needs_no_key(host, local):
    assert Guard(host).is_local == local
    assert len({Guard(host).token for _ in range(9)}) == 9


def test_a_port_that_is_taken_is_passed_over_or_refused():
    first = bind("127.0.0.1", None)
    number = first.getsockname()[1]
    second = bind("127.0.0.1", None)
    assert second.getsockname()[1] > number
    with pytest.raises(ConfigError, match=r"can't listen at 127.0.0.1, port \d+: .* Give another --host or --port"):
        bind("127.0.0.1", number)
    with pytest.raises(ConfigError, match="can't listen at 203.0.113.1"):
        bind("203.0.113.1", None)
    first.close()
    second.close()
