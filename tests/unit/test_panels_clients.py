"""The panels cache and http, on a recorded trace and on spans of other SDKs."""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import Any

import pytest

from otel_toolbar.insights import reading, repeats
from otel_toolbar.model import Kind, Span, Status, Trace
from otel_toolbar.panels import cache, http
from otel_toolbar.panels.cache.view import CacheView
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.http.view import HttpView, curl
from otel_toolbar.settings import Settings
from tests import recorded

MILLISECOND = 1_000_000
SERVER = Span("a" * 32, "1" * 16, None, "GET /", Kind.SERVER, 0, 1000 * MILLISECOND)


def client(number: int, attributes: dict[str, Any], parent: str | None = None, **more: Any) -> Span:
    """A client span that begins at `number` ms and lasts 1 ms."""
    begin = number * MILLISECOND
    settings: dict[str, Any] = {"name": "GET", "kind": Kind.CLIENT} | more
    name, kind = settings.pop("name"), settings.pop("kind")
    return Span(
        "a" * 32, f"{number + 16:016x}", parent or SERVER.span_id, name, kind, begin,
        begin + MILLISECOND, attributes, **settings,
    )  # fmt: skip


def asked(number: int, operation: str = "GET", key: str = "a", line: int = 7, **more: Any) -> Span:
    attributes = {
        "cache.system": "redis",
        "cache.operation": operation,
        "cache.key": key,
        "code.file.path": "/app/shop.py",
        "code.line.number": line,
    }
    return client(number, attributes | more)


def trace(*spans: Span) -> Trace:
    return Trace.of("a" * 32, [SERVER, *spans], 2000 * MILLISECOND)


def cache_view(*spans: Span) -> CacheView:
    return cache.PANEL.view(trace(*spans), Settings())


def http_view(*spans: Span) -> HttpView:
    return http.PANEL.view(trace(*spans), Settings())


def test_the_recorded_caches() -> None:
    view: CacheView = cache.PANEL.view(recorded.load("clients"), Settings())
    assert (view.count, view.hits, view.misses, view.errors) == (10, 6, 3, 1)
    assert view.ratio == pytest.approx(6 / 9)
    assert view.systems == ("litestar.memory", "redis")
    (again,) = view.repeats
    assert (again.key, again.operation, again.count, again.calls) == (
        "prices:current",
        "GET",
        3,
        (2, 3, 4),
    )
    assert again.place is not None
    assert again.place.function == "shop.prices.prices"
    assert view.keys[0].key == "prices:current"
    pipeline = view.calls[6]
    assert (pipeline.operation, pipeline.count, pipeline.hits) == ("PIPELINE", 3, 1)
    assert pipeline.commands == ("INCRBY visits", "GET prices:current", "EXPIRE visits")
    assert view.calls[4].key.startswith("session:***#")
    assert view.calls[7].error.startswith("redis.exceptions.ResponseError: WRONGTYPE")
    assert cache.PANEL.badge(view) == Badge("10", "error")


def test_the_recorded_calls() -> None:
    view: HttpView = http.PANEL.view(recorded.load("clients"), Settings())
    assert (view.count, view.failed, view.sent) == (6, 2, 13)
    assert [call.status for call in sorted(view.calls, key=lambda call: call.position)] == [
        200, 200, 200, 503, None, 200,
    ]  # fmt: skip
    slowest = view.calls[0]
    assert slowest.duration == max(call.duration for call in view.calls)
    late = next(call for call in view.calls if call.status is None)
    assert "ReadTimeout" in late.error
    (again,) = view.repeats
    assert (again.url, again.count) == ("https://api.example/rates?api_key=***", 2)
    first = next(call for call in view.calls if call.position == 1)
    assert shlex.split(first.curl)[:3] == ["curl", "--url", "https://api.example/rates?api_key=***"]
    assert "authorization: Bearer ***" in shlex.split(first.curl)
    assert view.hosts[0].count == 6
    assert http.PANEL.badge(view) == Badge("6", "error")


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([asked(1), asked(2), asked(3)], [3]),
        ([asked(1), asked(2, line=8)], []),
        ([asked(1), asked(2, key="b")], []),
        ([asked(1), asked(2, "HGET")], []),
        ([asked(1), asked(2, "SET"), asked(3)], []),
        ([asked(1), asked(2), asked(3, "DEL"), asked(4), asked(5), asked(6)], [3, 2]),
        ([asked(1), asked(2, "TTL"), asked(3)], [2]),
        ([asked(1, "INCRBY"), asked(2, "INCRBY")], []),
        ([asked(1, key=""), asked(2, key="")], []),
        ([asked(1), asked(2, **{"cache.system": "memcached"})], []),
    ],
)
def test_what_counts_as_read_again(calls: list[Span], expected: list[int]) -> None:
    found = cache_view(*calls)
    assert [repeat.count for repeat in found.repeats] == expected
    assert sum(call.again for call in found.calls) == sum(expected) - len(expected)
    assert cache.PANEL.badge(found).level == ("warn" if expected else "ok")


def called(number: int, url: str = "https://a.example/x", method: str = "GET", **more: Any) -> Span:
    return client(number, {"http.request.method": method, "url.full": url} | more)


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([called(1), called(2), called(3)], [3]),
        ([called(1), called(2, "https://a.example/y")], []),
        ([called(1), called(2, method="HEAD")], []),
        ([called(1, method="POST"), called(2, method="POST")], []),
        ([called(1), called(2, **{"toolbar.http.url.fingerprint": "other"})], []),
    ],
)
def test_what_counts_as_asked_again(calls: list[Span], expected: list[int]) -> None:
    found = http_view(*calls)
    assert [repeat.count for repeat in found.repeats] == expected
    assert http.PANEL.badge(found).level == ("warn" if expected else "ok")


def test_a_call_made_of_others_counts_once() -> None:
    outer, service = asked(1), client(3, {}, f"{20:016x}", kind=Kind.SERVER)
    inner = client(2, {"db.system.name": "redis", "db.query.text": "GET ?"}, outer.span_id)
    call = called(4)
    # Another service in the same trace: what it calls is no part of the call to it.
    theirs = client(
        5, {"http.request.method": "GET", "url.full": "https://b.example/"}, service.span_id
    )
    found = trace(outer, inner, call, service, theirs)
    assert [span.span_id for span in repeats.cached(found)] == [outer.span_id]
    assert [span.span_id for span in repeats.calls(found)] == [call.span_id, theirs.span_id]


def test_other_sdks_and_no_hooks() -> None:
    view = cache_view(
        client(1, {"db.system": "redis", "db.statement": "GET ?"}),
        client(2, {"db.system.name": "memcached", "db.operation.name": "set"}),
        client(3, {"cache.system": "valkey"}, name="PING"),
    )
    assert [(call.system, call.operation, call.hits) for call in view.calls] == [
        ("redis", "GET", None),
        ("memcached", "SET", None),
        ("valkey", "PING", None),
    ]
    assert view.ratio is None
    old = {
        "http.method": "GET",
        "http.url": "http://joe@a.example:81/x?y=1",
        "http.status_code": 404,
    }
    parts = {"http.request.method": "GET", "server.address": "b.example", "server.port": 8080, "url.path": "/x",
             "url.query": "y=1", "url.scheme": "https"}  # fmt: skip
    found = http_view(client(1, old), client(2, parts), client(3, {"http.request.method": "GET"}))
    assert [(call.url, call.host, call.status, call.failed) for call in found.calls] == [
        ("http://joe@a.example:81/x?y=1", "a.example:81", 404, True),
        ("https://b.example:8080/x?y=1", "b.example:8080", None, False),
        ("", "", None, False),
    ]


def test_servers_rpc_and_websockets_are_no_outgoing_calls() -> None:
    assert not http_view(
        client(1, {"http.request.method": "GET", "url.full": "http://a/"}, kind=Kind.SERVER),
        client(2, {"rpc.system": "grpc"}),
        client(3, {"http.request.method": "GET", "network.protocol.name": "websocket"}),
        client(4, {"http.request.method": "POST", "db.system.name": "elasticsearch"}),
    ).calls


def test_a_failed_call_without_an_answer() -> None:
    call = http_view(
        client(1, {"http.request.method": "GET"}, status=Status.ERROR, status_message="refused")
    )
    assert (call.calls[0].error, call.failed) == ("refused", 1)


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("GET", "http://a/'; rm -rf / #", {"x": ("$(id)",)}),
        ("PUT", "http://a/`id`", {"a b": ("'", '"')}),
        ("HEAD", "-o/etc/passwd", {}),
        ("$(id)", "", {}),
    ],
)
def test_a_copied_command_runs_nothing_else(method: str, url: str, headers: dict[str, Any]) -> None:
    words = shlex.split(curl(method, url, headers))
    assert words[0] == "curl"
    assert words[words.index("--url") + 1] == url
    given = [f"{name}: {value}" for name, values in headers.items() for value in values]
    assert [word for before, word in pairwise(words) if before == "-H"] == given
    if method not in ("GET", "HEAD"):
        assert words[words.index("-X") + 1] == method


def test_what_it_ran_in() -> None:
    task = client(1, {"asyncio.task.name": "Task-1"}, name="task fetch", kind=Kind.INTERNAL)
    inner = client(2, {"cache.system": "redis", "cache.key": "a"}, task.span_id)
    (call,) = cache_view(task, inner).calls
    assert [around.name for around in call.around] == ["task fetch"]


def test_empty() -> None:
    assert cache.PANEL.badge(cache_view()) == Badge(None, "ok")
    assert http.PANEL.badge(http_view()) == Badge(None, "ok")
    assert reading.host(SERVER) == ""
