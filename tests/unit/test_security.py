"""Promise 4: who may see the toolbar, and who may change something with it."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urljoin

import pytest

from otel_toolbar import guard
from otel_toolbar.web.security import COOKIE, Access, own_headers, split_host

LOCAL = Access(None, (), trust_peer=True)
TOKEN = Access("s3cret/+", (), trust_peer=True)
BY_HAND = Access(None, (), trust_peer=False)
HOST = (b"host", b"localhost:8000")
LOOPBACK, ELSEWHERE = ("127.0.0.1", 50000), ("192.168.0.7", 50000)


def scope(*headers: tuple[bytes, bytes], client: Any = LOOPBACK, **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/_toolbar",
        "query_string": b"",
        "scheme": "http",
        "client": client,
        "headers": [*headers],
        **more,
    }


CLIENTS = {
    "127.0.0.1": True,
    "127.200.3.4": True,
    "::1": True,
    "::1%lo": True,
    "::ffff:127.0.0.1": True,
    "::ffff:7f00:1": True,
    "::ffff:10.0.0.1": False,
    "10.0.0.1": False,
    "0.0.0.0": False,
    "::": False,
    "2001:db8::1": False,
    "172.17.0.1": False,
    "localhost": False,
    "testclient": False,
    "": False,
    "unix:/run/app.sock": False,
}


@pytest.mark.parametrize(("address", "seen"), CLIENTS.items(), ids=CLIENTS)
def test_peer(address: str, seen: bool) -> None:
    assert LOCAL.may_see(scope(HOST, client=(address, 1))) is seen
    assert LOCAL.may_see(scope(HOST, client=[address, 1], type="websocket")) is seen


@pytest.mark.parametrize("client", [None, (), (None, None), (b"\x7f\0\0\1", 1)])
def test_peer_that_is_not_known(client: Any) -> None:
    assert not LOCAL.may_see(scope(HOST, client=client))


def test_no_client_in_the_scope() -> None:
    unknown = scope(HOST)
    del unknown["client"]
    assert not LOCAL.may_see(unknown)


HOSTS = {
    b"localhost": True,
    b"LOCALHOST:80": True,
    b"localhost:8000": True,
    b"127.0.0.1": True,
    b"127.0.0.1:65535": True,
    b"[::1]": True,
    b"[::1]:8000": True,
    b"dev.test": True,
    b"Dev.Test:8000": True,
    b"port.test:9000": True,
    b"[fd00::1]:8000": True,
    b"port.test": False,
    b"port.test:9001": False,
    b"": False,
    b"evil.example": False,
    b"localhost.evil.example": False,
    b"evil.example:localhost": False,
    b"localhost:80:80": False,
    b"localhost.": False,
    b"localhost@evil.example": False,
    b"localhost:": False,
    b"localhost:800000": False,
    b"localhost ": False,
    b"localhost/": False,
    b"localhost,evil.example": False,
    b"::1": False,
    b"[::1": False,
    b"127.0.0.2": False,
    b"0.0.0.0": False,
    b"local\xb9ost": False,
}


@pytest.mark.parametrize(("host", "seen"), HOSTS.items(), ids=[h.decode("latin-1") for h in HOSTS])
def test_host(host: bytes, seen: bool) -> None:
    access = Access(None, ("dev.test", " PORT.test:9000", "[fd00::1]"), trust_peer=True)
    assert access.may_see(scope((b"host", host))) is seen


def test_host_missing_or_doubled() -> None:
    assert not LOCAL.may_see(scope())
    assert not LOCAL.may_see(scope(HOST, HOST))
    assert not LOCAL.may_see(scope(HOST, (b"Host", b"evil.example")))


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "Via",
        "X-Real-IP",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Whatever",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-Original-Forwarded-For",
        "X-Original-URL",
        "CF-Connecting-IP",
        "CF-Ray",
        "True-Client-IP",
        "Fastly-Client-IP",
        "Fly-Client-IP",
        "CDN-Loop",
        "X-Envoy-External-Address",
        "X-Azure-ClientIP",
    ],
)
def test_signs_of_a_proxy_only_refuse(name: str) -> None:
    for header in (name.encode(), name.lower().encode()):
        assert not LOCAL.may_see(scope(HOST, (header, b"127.0.0.1")))
        assert not LOCAL.may_see(scope(HOST, (header, b"127.0.0.1"), client=ELSEWHERE))
        assert not LOCAL.may_see(scope(HOST, (header, b"")))


def test_mounted_by_hand_everybody_needs_the_token() -> None:
    assert not BY_HAND.may_see(scope(HOST))
    access = Access("s3cret", (), trust_peer=False)
    assert not access.may_see(scope(HOST))
    assert access.may_see(scope(HOST, (b"x-toolbar-token", b"s3cret")))


def test_token_is_for_everybody_else() -> None:
    away = {"client": ELSEWHERE}
    assert TOKEN.may_see(scope(HOST)), "loopback needs none"
    assert not TOKEN.may_see(scope(HOST, **away))
    right = (b"X-Toolbar-Token", b"s3cret/+")
    assert TOKEN.may_see(scope(right, (b"host", b"example.com"), (b"via", b"x"), **away))
    assert not TOKEN.may_see(scope(HOST, right, right, **away)), "twice is not once"
    for wrong in (b"", b"s3cret", b"s3cret/+ ", b"\xff", TOKEN._proof("s3cret/+")):
        assert not TOKEN.may_see(scope(HOST, (b"x-toolbar-token", wrong), **away))
    assert not LOCAL.may_see(scope(HOST, (b"x-toolbar-token", b""), **away))
    assert not LOCAL.may_see(scope(HOST, (b"x-toolbar-token", b"None"), **away))


def login(query: bytes, **more: Any) -> dict[bytes, bytes] | None:
    answer = TOKEN.token_login(scope(HOST, query_string=query, client=ELSEWHERE, **more))
    return None if answer is None else dict(answer)


def test_login_leads_to_the_same_page_with_a_cookie() -> None:
    answer = login(b"token=s3cret%2F%2B")
    assert answer is not None
    assert answer[b"location"] == b"./_toolbar"
    assert answer[b"cache-control"] == b"no-store"
    cookie = answer[b"set-cookie"].decode()
    value, attributes = cookie.split("; ", 1)
    assert attributes == "HttpOnly; SameSite=Strict; Path=/"
    assert "s3cret" not in cookie

    def seen(*cookies: str, access: Access = TOKEN) -> bool:
        headers = [(b"cookie", each.encode()) for each in cookies]
        return access.may_see(scope(HOST, *headers, client=ELSEWHERE))

    assert seen(value)
    assert seen(f"a=b; {value} ; c=d")
    assert seen("a=b", value)
    assert seen(f"{COOKIE}=planted", value)
    assert not seen(value[:-1])
    assert not seen(value + "0")
    assert not seen(f"x{value}")
    assert not seen(f"{COOKIE}=s3cret/+")
    assert not seen(f"{COOKIE}=")
    assert not seen(COOKIE)
    assert not seen(value, access=Access("other", (), trust_peer=True))
    assert not seen(value, access=LOCAL)


LOGINS = {
    b"token=s3cret/+": "http://h/_toolbar",
    b"token=s3cret/%2b": "http://h/_toolbar",
    b"a=1&token=s3cret/%2B&b=%20": "http://h/_toolbar?a=1&b=%20",
    b"token=s3cret/+&token=other&tokens=1": "http://h/_toolbar?tokens=1",
    b"token=s3cret/+&x=\xff\r\nset-cookie:1": "http://h/_toolbar?x=%FF%0D%0Aset-cookie:1",
    b"token=s3cret/+&//evil.example": "http://h/_toolbar?//evil.example",
    b"": None,
    b"token=": None,
    b"token": None,
    b"token=wrong": None,
    b"token=wrong&token=s3cret/+": None,
    b"TOKEN=s3cret/+": None,
    b"token=%ff%zz": None,
}


@pytest.mark.parametrize(("query", "target"), LOGINS.items(), ids=[repr(q) for q in LOGINS])
def test_login(query: bytes, target: str | None) -> None:
    answer = login(query)
    if target is None:
        assert answer is None
    else:
        assert answer is not None
        assert urljoin("http://h/_toolbar?token=x", answer[b"location"].decode()) == target


@pytest.mark.parametrize(
    ("path", "shown", "target"),
    [
        ("/_toolbar/", "/_toolbar/", "/_toolbar/"),
        ("/_toolbar/traces/ab12", "/_toolbar/traces/ab12", "/_toolbar/traces/ab12"),
        ("/_toolbar", "/prefix/_toolbar", "/prefix/_toolbar"),
        ("/_toolbar/a:b", "/_toolbar/a:b", "/_toolbar/a%3Ab"),
        ("/_toolbar/\r\nx", "/_toolbar/%0D%0Ax", "/_toolbar/%0D%0Ax"),
        ("/_toolbar/\udcff", "/_toolbar/%FF", "/_toolbar/%3F"),
    ],
)
def test_login_leads_to_the_same_host_and_path(path: str, shown: str, target: str) -> None:
    answer = login(b"token=s3cret/+", path=path)
    assert answer is not None
    assert urljoin("http://h" + shown, answer[b"location"].decode()) == "http://h" + target


def test_login_only_by_get_and_only_with_a_token_set() -> None:
    assert login(b"token=s3cret/+", method="POST") is None
    assert login(b"token=s3cret/+", method="HEAD") is None
    assert LOCAL.token_login(scope(HOST, query_string=b"token=None")) is None


def test_cookie_of_a_secure_page_is_secure() -> None:
    answer = login(b"token=s3cret/+", scheme="https")
    assert answer is not None
    assert answer[b"set-cookie"].endswith(b"; Path=/; Secure")


def test_token_that_is_no_utf8() -> None:
    access = Access("caf\udce9", (), trust_peer=True)
    assert access.may_see(scope((b"x-toolbar-token", b"caf\xe9"), client=ELSEWHERE))


def test_secrets_are_not_shown() -> None:
    assert TOKEN.csrf not in repr(TOKEN)
    assert "s3cret" not in repr(TOKEN)


READS = {
    "typed address": ({}, True),
    "own script": ({"sec-fetch-site": "same-origin", "sec-fetch-dest": "empty"}, True),
    "typed, with metadata": ({"sec-fetch-site": "none", "sec-fetch-dest": "document"}, True),
    "link from another site": (
        {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"},
        True,
    ),
    "framed by another site": ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}, False),
    "fetched by another site": ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "empty"}, False),
    "another port": ({"sec-fetch-site": "same-site", "sec-fetch-dest": "empty"}, False),
    "script of another site": ({"sec-fetch-site": "cross-site"}, False),
    "own origin": ({"origin": "http://localhost:8000"}, True),
    "own origin behind TLS": ({"origin": "https://localhost:8000"}, True),
    "foreign origin": ({"origin": "http://evil.example"}, False),
    "foreign port": ({"origin": "http://localhost:8001"}, False),
    "default port": ({"origin": "http://localhost"}, False),
    "sandboxed": ({"origin": "null"}, False),
    "no web page": ({"origin": "file://"}, False),
    "extension": ({"origin": "chrome-extension://localhost:8000"}, False),
    "with a path": ({"origin": "http://localhost:8000/"}, False),
    "malformed": ({"origin": "http://a b"}, False),
    "empty": ({"origin": ""}, False),
}


@pytest.mark.parametrize(("headers", "answered"), READS.values(), ids=READS)
def test_who_may_read(headers: dict[str, str], answered: bool) -> None:
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert LOCAL.may_read(scope(HOST, *given)) is answered
    assert LOCAL.may_read(scope(HOST, *given, type="websocket")) is answered
    assert not LOCAL.may_read(scope(HOST, *given, client=ELSEWHERE))


def test_origin_twice() -> None:
    origin = (b"origin", b"http://localhost:8000")
    assert not LOCAL.may_read(scope(HOST, origin, origin))


def test_origin_without_a_usable_host() -> None:
    away = Access("t", (), trust_peer=True)
    headers = (b"x-toolbar-token", b"t"), (b"origin", b"http://localhost")
    assert not away.may_read(scope(*headers, client=ELSEWHERE))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"localhost", b"http://localhost"),
        (b"localhost:80", b"http://localhost"),
        (b"localhost", b"https://localhost"),
        (b"localhost:443", b"https://LOCALHOST"),
        (b"[::1]:8000", b"http://[::1]:8000"),
    ],
)
def test_same_origin(host: bytes, origin: bytes) -> None:
    assert LOCAL.may_read(scope((b"host", host), (b"origin", origin)))


GOOD = {
    "origin": "http://localhost:8000",
    "x-toolbar-csrf": LOCAL.csrf,
    "content-type": "application/json; charset=utf-8",
    "content-length": "2",
}
NO_BODY = {key: GOOD[key] for key in ("origin", "x-toolbar-csrf")}
CHANGES = {
    "right": ("POST", GOOD, True),
    "without a body": ("POST", NO_BODY, True),
    "empty body": ("POST", {**NO_BODY, "content-length": "0"}, True),
    "delete": ("DELETE", NO_BODY, True),
    "get": ("GET", GOOD, False),
    "head": ("HEAD", GOOD, False),
    "options": ("OPTIONS", GOOD, False),
    "no origin": ("POST", {**GOOD, "origin": None}, False),
    "origin null": ("POST", {**GOOD, "origin": "null"}, False),
    "foreign origin": ("POST", {**GOOD, "origin": "http://evil.example"}, False),
    "host as prefix": ("POST", {**GOOD, "origin": "http://localhost:8000.evil.example"}, False),
    "no CSRF token": ("POST", {**GOOD, "x-toolbar-csrf": None}, False),
    "wrong CSRF token": ("POST", {**GOOD, "x-toolbar-csrf": "x" * 43}, False),
    "empty CSRF token": ("POST", {**GOOD, "x-toolbar-csrf": ""}, False),
    "form": ("POST", {**GOOD, "content-type": "application/x-www-form-urlencoded"}, False),
    "text": ("POST", {**GOOD, "content-type": "text/plain"}, False),
    "JSON as text": ("POST", {**GOOD, "content-type": "text/plain; application/json"}, False),
    "body without type": ("POST", {**GOOD, "content-type": None}, False),
    "chunks without type": ("POST", {**NO_BODY, "transfer-encoding": "chunked"}, False),
    "type without length": ("POST", {**NO_BODY, "content-type": "text/plain"}, False),
}


@pytest.mark.parametrize(("method", "headers", "allowed"), CHANGES.values(), ids=CHANGES)
def test_who_may_change(method: str, headers: dict[str, str | None], allowed: bool) -> None:
    given = [
        (name.encode(), value.encode()) for name, value in headers.items() if value is not None
    ]
    assert LOCAL.may_change(scope(HOST, *given, method=method)) is allowed
    assert not LOCAL.may_change(scope(HOST, *given, method=method, client=ELSEWHERE))
    assert not LOCAL.may_change(scope((b"host", b"evil.example"), *given, method=method))


def test_content_type_twice() -> None:
    given = [(name.encode(), value.encode()) for name, value in GOOD.items()]
    twice = scope(HOST, *given, (b"content-type", b"text/plain"), method="POST")
    assert not LOCAL.may_change(twice)


def test_scope_that_cannot_be_read_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    guard.forget()
    with caplog.at_level(logging.WARNING):
        assert not LOCAL.may_see({"client": LOOPBACK})
        assert not LOCAL.may_see({"client": LOOPBACK})
    assert len(caplog.records) == 1


def test_headers_of_our_own_pages() -> None:
    headers = dict(own_headers())
    policy = dict(
        part.strip().split(" ", 1)
        for part in headers[b"content-security-policy"].decode().split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "require-trusted-types-for": "'script'",
    }
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cross-origin-embedder-policy"] == b"require-corp"
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"
    assert headers[b"cache-control"] == b"no-store"
    assert b"immutable" in dict(own_headers(cacheable=True))[b"cache-control"]


def test_host_and_port() -> None:
    assert split_host([b"[::1]:80"]) == ("[::1]", 80)
    assert split_host([b"a"]) == ("a", None)
    assert split_host([]) is None
