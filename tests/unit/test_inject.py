"""The tag and our headers in responses: with us and without us all else is the same."""

from __future__ import annotations

import copy
import logging
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from otel_toolbar import guard
from otel_toolbar.web import inject
from otel_toolbar.web.inject import Injector
from otel_toolbar.web.prolog import Prolog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Message = dict[str, Any]

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
TAG = (
    f'<script src="/_toolbar/static/toolbar.js?v=0.1.0" data-trace="{TRACE}" data-base="/_toolbar"'
    f' async></script><noscript><link rel="help" href="/_toolbar/t/{TRACE}"></noscript>'
).encode()
ANY_TAG = re.compile(rb'<script[^>]* data-trace="[^>]*></script><noscript>.*?</noscript>')
OWN = [
    (b"server-timing", f'traceparent;desc="{TRACEPARENT}"'.encode()),
    (b"x-trace-id", TRACE.encode()),
]
HTML = b"<!doctype html><html><head><title>x</title></head><body>y</body></html>"
TAGGED = HTML.replace(b"<head>", b"<head>" + TAG)
UTF8 = (b"content-type", b"text/html; charset=utf-8")


class Server:
    """Receives what the app sends, and keeps it as it was at that moment."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Any) -> None:
        self.messages.append(copy.deepcopy(message))


def request(*headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "root_path": "",
        "headers": [(b"host", b"localhost:8000"), *headers],
        **more,
    }


def injector(
    scope: dict[str, Any],
    server: Server,
    traceparent: Callable[[], str | None] = lambda: TRACEPARENT,
) -> Injector:
    return Injector(scope, server.send, base="/_toolbar", version="0.1.0", traceparent=traceparent)


def start(*headers: tuple[bytes, bytes], status: int = 200, **more: Any) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [*headers], **more}


def body(content: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def sent(*messages: Message, scope: dict[str, Any] | None = None) -> list[Message]:
    server = Server()
    under_test = injector(scope or request(), server)
    for message in messages:
        await under_test.send(message)
    await under_test.finish()
    return server.messages


async def page(
    *headers: tuple[bytes, bytes],
    content: bytes = HTML,
    status: int = 200,
    scope: dict[str, Any] | None = None,
    **more: Any,
) -> bytes:
    _, last = await sent(start(*headers, status=status, **more), body(content), scope=scope)
    return last["body"]


# Headers of ours


async def test_names_the_trace_in_every_response() -> None:
    headers = [(b"content-type", b"application/json"), (b"Server-Timing", b"db;dur=1")]
    for status in (200, 204, 304, 404, 500):
        first, _ = await sent(start(*headers, status=status), body(b"{}"))
        assert first == start(*headers, *OWN, status=status)


async def test_the_apps_own_trace_id_stays() -> None:
    first, _ = await sent(start((b"X-Trace-Id", b"mine")), body())
    assert first["headers"] == [(b"X-Trace-Id", b"mine"), OWN[0]]


async def test_headers_may_be_missing_or_a_tuple_or_lists() -> None:
    first, _ = await sent({"type": "http.response.start", "status": 200}, body())
    assert first["headers"] == OWN
    first, _ = await sent({"type": "http.response.start", "status": 200, "headers": ()}, body())
    assert first["headers"] == OWN
    first, second = await sent(
        {"type": "http.response.start", "status": 200, "headers": [[*UTF8]]}, body(HTML)
    )
    assert first["headers"] == [[*UTF8], *OWN]
    assert second["body"] == TAGGED


async def test_headers_that_can_be_read_once_are_left_alone() -> None:
    server = Server()
    once = iter([UTF8])
    message = {"type": "http.response.start", "status": 200, "headers": once}
    under_test = injector(request(), server)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    under_test._send = send
    await under_test.send(message)
    assert sent == [message]
    assert [*once] == [UTF8]


@pytest.mark.parametrize("traceparent", [None, "", "00-xyz", TRACEPARENT + "\r\nset-cookie: a=b"])
async def test_without_a_trace_nothing_is_added(traceparent: str | None) -> None:
    server = Server()
    under_test = injector(request(), server, lambda: traceparent)
    messages = [start(UTF8, (b"content-length", b"70")), body(HTML)]
    for message in messages:
        await under_test.send(message)
    assert server.messages == messages


# The tag


async def test_tag() -> None:
    assert await page(UTF8) == TAGGED
    assert len(TAG) < 300


TAGGED_RESPONSES: dict[str, list[tuple[bytes, bytes]]] = {
    "any case": [(b"Content-Type", b' Text/HTML ;Charset="UTF-8"')],
    "latin-1": [(b"content-type", b"text/html; charset=iso-8859-1")],
    "Japanese": [(b"content-type", b"text/html; charset=Shift_JIS")],
    "Chinese": [(b"content-type", b"text/html; charset=gb18030")],
    "identity": [UTF8, (b"content-encoding", b"identity")],
    "inline": [UTF8, (b"content-disposition", b"Inline; filename=a.html")],
    "etag": [UTF8, (b"etag", b'"abc"'), (b"accept-ranges", b"bytes")],
    "cookies": [UTF8, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=\xe9")],
    "trusted types": [UTF8, (b"content-security-policy", b"require-trusted-types-for 'script'")],
}

UNTAGGED_RESPONSES: dict[str, list[tuple[bytes, bytes]]] = {
    "no type": [],
    "two types": [UTF8, UTF8],
    "JSON": [(b"content-type", b"application/json")],
    "plain text": [(b"content-type", b"text/plain")],
    "XHTML": [(b"content-type", b"application/xhtml+xml")],
    "nearly HTML": [(b"content-type", b"text/htmlx")],
    "joined types": [(b"content-type", b"text/html, text/plain")],
    "UTF-16": [(b"content-type", b"text/html; charset=utf-16le")],
    "UTF-32": [(b"content-type", b"text/html; charset=UTF-32")],
    "UTF-7": [(b"content-type", b"text/html; charset='utf-7'")],
    "ISO-2022-JP": [(b"content-type", b"text/html; charset=iso-2022-jp")],
    "HZ": [(b"content-type", b"text/html; charset=hz-gb-2312")],
    "EBCDIC": [(b"content-type", b"text/html; charset=cp037")],
    "johab": [(b"content-type", b"text/html; charset=johab")],
    "not a charset": [(b"content-type", b"text/html; charset=nonsense\xff")],
    "gzip": [UTF8, (b"Content-Encoding", b"gzip")],
    "br after identity": [UTF8, (b"content-encoding", b"identity, br")],
    "two encodings": [UTF8, (b"content-encoding", b"identity"), (b"content-encoding", b"zstd")],
    "attachment": [UTF8, (b"content-disposition", b"attachment; filename=a.html")],
    "unknown disposition": [UTF8, (b"content-disposition", b"filename=a.html")],
    "digest": [UTF8, (b"digest", b"sha-256=x")],
    "content digest": [UTF8, (b"content-digest", b"sha-256=:x:")],
    "representation digest": [UTF8, (b"Repr-Digest", b"sha-256=:x:")],
    "MD5": [UTF8, (b"content-md5", b"x")],
    "signature": [UTF8, (b"signature", b"x")],
    "range": [UTF8, (b"content-range", b"bytes 0-9/10")],
    "no-transform": [UTF8, (b"cache-control", b"public, No-Transform")],
    "two lengths": [UTF8, (b"content-length", b"70"), (b"content-length", b"70")],
    "length is no number": [UTF8, (b"content-length", b"x")],
    "length is negative": [UTF8, (b"content-length", b"-1")],
    "policy": [UTF8, (b"content-security-policy", b"script-src 'none'")],
    "policy that reports": [UTF8, (b"content-security-policy-report-only", b"default-src 'none'")],
}


@pytest.mark.parametrize("headers", TAGGED_RESPONSES.values(), ids=TAGGED_RESPONSES)
async def test_tagged(headers: list[tuple[bytes, bytes]]) -> None:
    assert await page(*headers) == TAGGED


@pytest.mark.parametrize("kind", [b"text/html", b"text/html; version=2", b"text/html;charset="])
async def test_page_whose_encoding_the_header_does_not_name(kind: bytes) -> None:
    """The document may name it, so the tag goes behind where that stands."""
    assert await page((b"content-type", kind)) == HTML.replace(b"</head>", TAG + b"</head>")


@pytest.mark.parametrize("headers", UNTAGGED_RESPONSES.values(), ids=UNTAGGED_RESPONSES)
async def test_untagged(headers: list[tuple[bytes, bytes]]) -> None:
    first, second = await sent(start(*headers), body(HTML))
    assert first == start(*headers, *OWN)
    assert second == body(HTML)


@pytest.mark.parametrize("status", [100, 103, 204, 205, 206, 304])
async def test_status_without_a_page(status: int) -> None:
    assert await page(UTF8, status=status) == HTML


@pytest.mark.parametrize("status", [200, 201, 400, 404, 500, 503])
async def test_status_with_a_page(status: int) -> None:
    assert await page(UTF8, status=status) == TAGGED


async def test_trailers_may_hold_a_digest() -> None:
    messages = [
        start(UTF8, trailers=True),
        body(HTML),
        {"type": "http.response.trailers", "headers": [(b"digest", b"x")]},
    ]
    _, *rest = await sent(*messages)
    assert rest == messages[1:]


UNTAGGED_REQUESTS = {
    "HEAD": request(method="HEAD"),
    "iframe": request((b"sec-fetch-dest", b"iframe")),
    "fetch": request((b"sec-fetch-dest", b"empty")),
    "two destinations": request((b"sec-fetch-dest", b"document"), (b"sec-fetch-dest", b"empty")),
    "htmx": request((b"HX-Request", b"true")),
    "turbo frame": request((b"turbo-frame", b"x")),
    "XMLHttpRequest": request((b"x-requested-with", b"XMLHttpRequest")),
    "unpoly": request((b"x-up-version", b"3")),
}


@pytest.mark.parametrize("scope", UNTAGGED_REQUESTS.values(), ids=UNTAGGED_REQUESTS)
async def test_requests_for_no_page(scope: dict[str, Any]) -> None:
    messages = start(UTF8, (b"content-length", b"%d" % len(HTML))), body(HTML)
    first, second = await sent(*messages, scope=scope)
    assert first["headers"] == [*messages[0]["headers"], *OWN]
    assert second == messages[1]


async def test_fragment_only_where_the_browser_wants_a_document() -> None:
    wanted = request((b"sec-fetch-dest", b"document"))
    assert await page(UTF8, content=b"<p>x") == b"<p>x"
    assert await page(UTF8, content=b"<p>x", scope=wanted) == TAG + b"<p>x"
    assert await page(UTF8, content=HTML, scope=wanted) == TAGGED


async def test_post_of_a_form() -> None:
    assert await page(UTF8, scope=request(method="POST")) == TAGGED


@pytest.mark.parametrize(
    ("root_path", "prefix"),
    [
        ("", b""),
        ("/", b""),
        ("/app", b"/app"),
        ("/app/", b"/app"),
        ("//evil.example", b"/evil.example"),
        ("/a b\"'<é", b"/a%20b%22%27%3C%C3%A9"),
    ],
)
async def test_prefix_that_a_proxy_strips(root_path: str, prefix: bytes) -> None:
    tagged = await page(UTF8, scope=request(root_path=root_path))
    assert tagged == TAGGED.replace(b'"/_toolbar', b'"' + prefix + b"/_toolbar")


async def test_what_the_app_writes_into_the_scope_does_not_matter() -> None:
    server, scope = Server(), request(method="HEAD", root_path="/proxy")
    under_test = injector(scope, server)
    scope.update(method="GET", root_path="/proxy/mount")
    await under_test.send(start(UTF8))
    await under_test.send(body(HTML))
    assert server.messages[1]["body"] == HTML
    server, scope = Server(), request(root_path="/proxy")
    under_test = injector(scope, server)
    scope.update(root_path="/proxy/mount")
    await under_test.send(start(UTF8))
    await under_test.send(body(HTML))
    assert b'data-base="/proxy/_toolbar"' in server.messages[1]["body"]


async def test_nonce() -> None:
    policy = (b"content-security-policy", b"script-src 'nonce-a+/b==' 'strict-dynamic'")
    tagged = await page(UTF8, policy)
    assert tagged == TAGGED.replace(b"<script src", b'<script nonce="a+/b==" src')


async def test_script_is_told_what_it_may_not_do() -> None:
    for policy, told in (
        (b"connect-src 'none'", b' data-blocked="connect" async'),
        (b"frame-src 'none'", b' data-blocked="frame" async'),
        (b"default-src 'none'; script-src 'self'", b' data-blocked="connect frame" async'),
    ):
        tagged = await page(UTF8, (b"content-security-policy", policy))
        assert tagged == TAGGED.replace(b" async", told)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [(b"localhost:8000", True), (b"LOCALHOST:8000", True), (b"localhost", False), (b"", False)],
)
async def test_policy_that_names_the_host(host: bytes, allowed: bool) -> None:
    policy = (b"content-security-policy", b"script-src localhost:8000")
    scope = request()
    scope["headers"] = [(b"host", host)]
    assert (b"data-trace" in await page(UTF8, policy, scope=scope)) is allowed


async def test_policy_in_the_document() -> None:
    meta = b'<head><meta http-equiv=content-security-policy content="%s">'
    forbidden = HTML.replace(b"<head>", meta % b"script-src 'none'")
    length = b"%d" % len(forbidden)
    messages = start(UTF8, (b"content-length", length)), body(forbidden)
    first, second = await sent(*messages)
    assert first["headers"][1] == (b"content-length", length)
    assert second == messages[1]
    nonced = HTML.replace(b"<head>", meta % b"script-src 'nonce-abc'")
    assert b'<head><script nonce="abc" src=' in await page(UTF8, content=nonced)


# Content-Length, streams, order


async def test_length_follows_from_the_tag() -> None:
    headers = [UTF8, (b"Content-Length", b"%d" % len(HTML)), (b"x-last", b"\xff")]
    server = Server()
    under_test = injector(request(), server)
    message = start(*headers)
    await under_test.send(message)
    assert server.messages == [], "held until the length is known"
    await under_test.send(body(HTML))
    first, second = server.messages
    length = (b"Content-Length", b"%d" % len(TAGGED))
    assert first["headers"] == [UTF8, length, (b"x-last", b"\xff"), *OWN]
    assert second["body"] == TAGGED
    assert message == start(*headers), "the app's own message stays as it is"


async def test_length_of_a_page_in_parts() -> None:
    headers = [UTF8, (b"content-length", b"%d" % len(HTML))]
    first, second, third = await sent(start(*headers), body(HTML[:40], more=True), body(HTML[40:]))
    assert first["headers"][1] == (b"content-length", b"%d" % len(TAGGED))
    assert second["body"] + third["body"] == TAGGED
    parts = [body(HTML[:20], more=True), body(HTML[20:])]
    first, *rest = await sent(start(*headers), *parts)
    assert first["headers"] == [*headers, *OWN], "too late: the length has to be said"
    assert rest == parts


async def test_stream_stays_a_stream() -> None:
    server = Server()
    under_test = injector(request(), server)
    await under_test.send(start(UTF8))
    assert len(server.messages) == 1
    for index in range(len(HTML)):
        await under_test.send(body(HTML[index : index + 1], more=True))
        assert len(server.messages) == index + 2
    assert b"".join(each["body"] for each in server.messages[1:]) == TAGGED
    await under_test.send(body(more=True))
    await under_test.send(body(b"<head>" * 1000))
    assert server.messages[-1]["body"] == b"<head>" * 1000


async def test_endless_page_without_a_place() -> None:
    server = Server()
    under_test = injector(request(), server)
    await under_test.send(start(UTF8))
    for _ in range(100):
        await under_test.send(body(b"<!--" + b"x" * 9000, more=True))
    assert under_test._prolog is None, "gave up, keeps nothing"
    assert len(server.messages) == 101


async def test_body_may_be_missing_or_a_view() -> None:
    for message in (
        {"type": "http.response.body"},
        {"type": "http.response.body", "more_body": False},
    ):
        assert (await sent(start(UTF8), message))[1] == message
    message = {"type": "http.response.body", "body": memoryview(HTML).toreadonly()}
    server = Server()
    under_test = injector(request(), server)
    await under_test.send(start(UTF8))
    await under_test.send(message)
    assert server.messages[1]["body"] == TAGGED


@pytest.mark.parametrize(
    "kind", ["pathsend", "zerocopysend", "push", "early_hint", "debug", "start"]
)
async def test_other_messages_pass_behind_the_start(kind: str) -> None:
    headers = [UTF8, (b"content-length", b"70")]
    other: Message = {"type": f"http.response.{kind}", "path": "/x", "file": 7}
    first, second, third = await sent(start(*headers), other, body(HTML))
    assert first["headers"] == [*headers, *OWN]
    assert second == other
    assert third == body(HTML)


async def test_messages_before_the_start_pass() -> None:
    before = {"type": "http.response.debug", "info": {}}
    assert (await sent(before, start(UTF8), body(HTML)))[0] == before


async def test_start_is_not_lost_when_the_app_ends_early() -> None:
    headers = [UTF8, (b"content-length", b"70")]
    assert await sent(start(*headers)) == [start(*headers, *OWN)]
    server = Server()
    under_test = injector(request(), server)
    await under_test.send(start(*headers))
    await under_test.finish()
    await under_test.finish()
    assert len(server.messages) == 1


async def test_errors_of_the_server_reach_the_app() -> None:
    class Gone(OSError):
        pass

    async def send(message: Any) -> None:
        raise Gone

    under_test = injector(request(), Server())
    under_test._send = send
    with pytest.raises(Gone):
        await under_test.send(start(UTF8))
    under_test = injector(request(), Server())
    under_test._send = send
    await under_test.send(start(UTF8, (b"content-length", b"70")))
    with pytest.raises(Gone):
        await under_test.send(body(HTML))


# Faults of ours


def _fails(*args: Any, **more: Any) -> Any:
    raise RuntimeError("planted")


@pytest.fixture
def _quiet() -> None:
    guard.forget()


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (inject, "decide"),
        (inject, "Prolog"),
        (inject, "split_host"),
        (inject, "_page_charset"),
        (inject, "_decided"),
        (inject, "_is_partial"),
        (inject, "places"),
        (inject, "_may_change_body"),
        (inject, "_with_length"),
        (Prolog, "feed"),
        (Injector, "_own"),
        (Injector, "_tag"),
        (Injector, "_page"),
        (Injector, "_body"),
        (Injector, "_start"),
    ],
)
async def test_fault(
    place: Any, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for remembers in (inject._page_charset, inject._decided, inject._is_partial):
        remembers.cache_clear()
    monkeypatch.setattr(place, name, _fails)
    messages = start(UTF8, (b"content-length", b"%d" % len(HTML))), body(HTML)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            first, second = await sent(*messages)
            assert first["headers"] in (messages[0]["headers"], [*messages[0]["headers"], *OWN])
            assert second == messages[1]
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("_quiet")
async def test_fault_in_what_we_are_given() -> None:
    server = Server()
    under_test = injector(request(), server, _fails)
    for message in (start(UTF8), body(HTML)):
        await under_test.send(message)
    assert server.messages == [start(UTF8), body(HTML)]


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize(
    "messages",
    [
        [{}],
        [{"type": "http.response.start"}],
        [{"type": "http.response.start", "status": "200", "headers": [UTF8]}, body(HTML)],
        [{"type": "http.response.start", "status": 200, "headers": [("a", "b")]}, body(HTML)],
        [{"type": "http.response.start", "status": 200, "headers": None}, body(HTML)],
        [start(UTF8), {"type": "http.response.body", "body": None}],
        [start(UTF8), {"type": "http.response.body", "body": "text"}],
    ],
)
async def test_messages_that_no_app_should_send(messages: list[Message]) -> None:
    """The server says what it thinks of them, as it does without us."""
    received = await sent(*messages)
    assert received[1:] == messages[1:]
    named = {**messages[0], "headers": [*(messages[0].get("headers") or ()), *OWN]}
    assert received[0] in (messages[0], named)


# Transparency

NAMES = st.sampled_from(
    [b"set-cookie", b"Set-Cookie", b"ETag", b"x-a", b"X-Trace-Id", b"server-timing", b"vary"]
) | st.binary(min_size=1, max_size=6)
HEADER = st.tuples(NAMES, st.binary(max_size=8))
TYPE = st.sampled_from([
    UTF8, UTF8, UTF8, (b"Content-Type", b"text/html"),
    (b"content-type", b"text/html; charset=utf-16"),
    (b"content-type", b"application/json"), (b"content-type", b"\xff"),
])  # fmt: skip
SPECIAL = st.sampled_from([
    (b"content-encoding", b"gzip"), (b"content-disposition", b"attachment"), (b"digest", b"x"),
    (b"content-range", b"bytes 0-1/2"), (b"content-security-policy", b"script-src 'none'"),
    (b"content-security-policy", b"script-src 'nonce-abc'"), (b"content-length", b"7"),
])  # fmt: skip
PIECE = st.sampled_from([
    b"<!doctype html>", b"<html lang=en>", b"<head>", b"<head a='>'>", b"<!-- <head> -->", b"<!--",
    b"<meta charset=utf-8>", b"<title><head></title>", b"<script>'</body><head>'</script>", b"\n ",
    b"<body>", b"</body>", b"\xff\xfe", b"\0", b"<", b"text",
    b"<meta http-equiv=content-security-policy>",
]) | st.binary(max_size=9)  # fmt: skip
PAGE = st.lists(PIECE, max_size=4).map(lambda rest: b"<!doctype html><html><head>" + b"".join(rest))
DOCUMENT = st.one_of(PAGE, st.lists(PIECE, max_size=8).map(b"".join))
OTHER = st.sampled_from([
    {"type": "http.response.pathsend", "path": "/etc/hostname"},
    {"type": "http.response.zerocopysend", "file": 3, "more_body": False},
    {"type": "http.response.trailers", "headers": [(b"digest", b"\xff")], "more_trailers": False},
    {"type": "http.response.push", "path": "/a", "headers": []},
    {"type": "http.response.early_hint", "links": [b"</a>"]},
    {"type": "http.response.debug", "info": {}},
])  # fmt: skip
REQUEST_HEADERS = st.lists(
    st.sampled_from([
        (b"sec-fetch-dest", b"document"), (b"sec-fetch-dest", b"iframe"), (b"hx-request", b"true"),
        (b"accept", b"\xff"),
    ]),
    max_size=1,
)  # fmt: skip


class Exchange:
    """What an app sends; it raises after that if `fails`."""

    def __init__(self, scope: dict[str, Any], messages: list[Message], fails: bool) -> None:
        self.scope, self.messages, self.fails = scope, messages, fails

    def __repr__(self) -> str:
        return f"{self.scope['method']} {self.messages} {'raises' if self.fails else ''}"

    async def run(self, send: Callable[[Any], Awaitable[None]]) -> None:
        for message in self.messages:
            await send(message)
        if self.fails:
            raise ZeroDivisionError


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Half of them pages that get the tag if the cuts allow, half of them anything."""
    likely = draw(st.booleans())
    document = draw(PAGE if likely else DOCUMENT)
    headers = [UTF8] if likely else [draw(TYPE), *draw(st.lists(SPECIAL, max_size=2))]
    headers += draw(st.lists(HEADER, max_size=4))
    if draw(st.booleans()):
        headers.append((b"Content-Length", b"%d" % len(document)))
    status = 200 if likely else draw(st.sampled_from([200, 404, 500, 204, 205, 206, 301, 304]))
    more = {} if likely else draw(st.sampled_from([{}, {"trailers": True}]))
    first = start(*draw(st.permutations(headers)), status=status, **more)
    messages = [first, *draw(bodies(document))]
    for other in [] if likely else draw(st.lists(OTHER, max_size=2)):
        messages.insert(draw(st.integers(0, len(messages))), other)
    ends = None if likely else draw(st.integers(0, len(messages)))
    method = "GET" if likely else draw(st.sampled_from(["GET", "POST", "HEAD"]))
    scope = request(*([] if likely else draw(REQUEST_HEADERS)), method=method)
    return Exchange(scope, messages[:ends], fails=draw(st.integers(0, 4)) == 0)


@st.composite
def bodies(draw: st.DrawFn, document: bytes) -> list[Message]:
    cuts = sorted(draw(st.lists(st.integers(0, len(document)), max_size=4)))
    ends = [*cuts, len(document)]
    parts = [document[a:b] for a, b in zip([0, *cuts], ends, strict=True)]
    return [body(part, more=index < len(parts) - 1) for index, part in enumerate(parts)]


def without_ours(message: Message, original: Message, longer: int) -> Message:
    """A message with us, our headers and the adjusted length taken back."""
    if message["type"] != "http.response.start":
        return message
    own = OWN[:1] if any(n.lower() == b"x-trace-id" for n, _ in original["headers"]) else OWN
    assert message["headers"][len(original["headers"]) :] == own
    headers = [
        (
            name,
            b"%d" % (int(value) - longer)
            if longer and name.lower() == b"content-length"
            else value,
        )
        for name, value in message["headers"][: len(original["headers"])]
    ]
    return {**message, "headers": headers}


def without_tag(message: Message) -> tuple[Message, int]:
    content = message.get("body", b"")
    tags = ANY_TAG.findall(content)
    assert len(tags) <= 1
    if not tags:
        return message, 0
    return {**message, "body": content.replace(tags[0], b"")}, len(tags[0])


EXAMPLES = int(os.environ.get("TOOLBAR_TEST_EXAMPLES", "3000"))


@settings(max_examples=EXAMPLES, deadline=None)
@given(exchanges())
@example(Exchange(request(), [start(UTF8, (b"content-length", b"70"))], fails=True))
@example(Exchange(request(), [start(UTF8, (b"content-length", b"71")), body(HTML)], fails=False))
async def test_transparency(exchange: Exchange) -> None:
    plain, server = Server(), Server()
    failed = [False, False]
    try:
        await exchange.run(plain.send)
    except ZeroDivisionError:
        failed[0] = True
    under_test = injector(exchange.scope, server)
    given_messages = copy.deepcopy(exchange.messages)
    calls = 0

    async def send(message: Any) -> None:
        nonlocal calls
        await under_test.send(message)
        calls += 1
        delayed = calls - len(server.messages)
        assert delayed == 0 or (delayed == 1 and message["type"] == "http.response.start")

    try:
        await exchange.run(send)
    except ZeroDivisionError:
        failed[1] = True
    finally:
        await under_test.finish()

    assert failed[0] == failed[1]
    assert exchange.messages == given_messages, "the app's own objects stay as they are"
    assert len(server.messages) == len(plain.messages)
    stripped = [without_tag(message) for message in server.messages]
    lengths = [length for _, length in stripped if length]
    assert len(lengths) <= 1, "one tag at most"
    longer = sum(lengths)
    event("tagged" if longer else "not tagged")
    restored = [
        without_ours(message, original, longer)
        for (message, _), original in zip(stripped, plain.messages, strict=True)
    ]
    assert restored == plain.messages
