"""The JSON under /_toolbar/api, as a client of the whole layer gets it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from otel_toolbar import panels
from otel_toolbar.distro.asgi import ToolbarApp
from otel_toolbar.distro.runtime import Runtime
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.settings import Settings
from otel_toolbar.store.base import Spans
from otel_toolbar.wire.otlp import encode
from tests import sockets
from tests.telemetry import Exchanged, exchange, http_scope

S = 1_000_000_000
TRACE = "ab" * 16
Call = Callable[..., Any]


def span(number: int, parent: int | None = None, **more: Any) -> Span:
    return Span(
        trace_id=more.pop("trace_id", TRACE),
        span_id=f"{number:016x}",
        parent_id=None if parent is None else f"{parent:016x}",
        name=more.pop("name", "GET /orders"),
        kind=more.pop("kind", Kind.SERVER),
        start=1_700_000_000 * S + number,
        end=1_700_000_000 * S + number + 5000,
        attributes={"http.request.method": "GET", "http.response.status_code": 200}
        | more.pop("attributes", {}),
        resource={"service.name": "shop"},
        **more,
    )


@pytest.fixture
def runtime() -> Runtime:
    found = Runtime(Settings())
    found.store.add(TRACE, Spans((span(1), span(2, 1, kind=Kind.INTERNAL, name="work"))))
    return found


@pytest.fixture
def call(runtime: Runtime) -> Call:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"the app's own"})

    toolbar = ToolbarApp(app, runtime)

    async def ask(
        path: str,
        method: str = "GET",
        query: str = "",
        body: bytes = b"",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Exchanged:
        scope = http_scope(
            "/_toolbar/api/" + path,
            method=method,
            query_string=query.encode(),
            headers=[(b"host", b"localhost:8000"), *headers],
        )
        return await exchange(toolbar, scope, [body])

    return ask


def own_page(runtime: Runtime, toolbar: Any = None) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that our own page's script sends with a change."""
    from otel_toolbar.web.security import Access

    csrf = Access(None, (), True).csrf
    return (
        (b"origin", b"http://localhost:8000"),
        (b"x-toolbar-csrf", csrf.encode()),
        (b"content-type", b"application/json"),
    )


async def test_the_list(call: Call) -> None:
    done = await call("traces")
    assert json.loads(done.body) == {
        "traces": [
            {
                "trace_id": TRACE,
                "name": "GET /orders",
                "kind": "http",
                "start": pytest.approx(1_700_000_000),
                "duration": pytest.approx(5e-6),
                "status": 200,
                "service": "shop",
                "counts": {
                    "spans": 2,
                    "queries": 0,
                    "n_plus_one": 0,
                    "tasks": 0,
                    "blocking": 0,
                    "errors": 0,
                    "logs": 0,
                    "alerts": 0,
                },
                "websocket": None,
                "level": "ok",
                "slow": False,
                "links": [],
            }
        ],
        "next": None,
    }
    assert json.loads((await call("traces", query="kind=job")).body)["traces"] == []


async def test_one_trace_with_its_panels(call: Call) -> None:
    found = json.loads((await call(f"traces/{TRACE}")).body)
    assert found["trace_id"] == TRACE
    assert (found["level"], found["alerts"]) == ("ok", [])
    assert [panel["id"] for panel in found["panels"]] == [*panels.BUILTIN]
    for panel in found["panels"]:
        assert set(panel) == {"id", "title", "badge", "level"}
        assert panel["level"] in ("ok", "info", "warn", "error")
        view = await call(f"traces/{TRACE}/panels/{panel['id']}")
        assert view.status == 200
        assert json.loads(view.body)


@pytest.mark.parametrize(
    ("path", "query", "method", "status", "code"),
    [
        ("traces/" + "0" * 32, "", "GET", 404, "unknown_trace"),
        ("traces/../../etc/passwd", "", "GET", 404, "unknown_path"),
        (f"traces/{TRACE}/panels/nope", "", "GET", 404, "unknown_panel"),
        (f"traces/{TRACE}/panels/nope/timeline", "", "GET", 404, "unknown_panel"),
        (f"traces/{TRACE}/panels/tasks/nope", "", "GET", 404, "unknown_part"),
        (f"traces/{TRACE}/panels/trace/timeline", "", "GET", 404, "unknown_part"),
        ("traces", "limit=0", "GET", 400, "bad_limit"),
        ("traces", "limit=501", "GET", 400, "bad_limit"),
        ("traces", "limit=-1", "GET", 400, "bad_limit"),
        ("traces", "limit=²", "GET", 400, "bad_limit"),
        ("traces", "running=maybe", "GET", 400, "bad_running"),
        (f"traces/{TRACE}/export", "format=pdf", "GET", 400, "unknown_format"),
        ("traces", "", "DELETE", 403, "forbidden"),
        (f"traces/{TRACE}/pin", "", "POST", 403, "forbidden"),
        ("import", "", "POST", 403, "forbidden"),
        ("nothing", "", "GET", 404, "unknown_path"),
    ],
)
async def test_errors_have_a_code_and_say_what_to_do(
    call: Call, path: str, query: str, method: str, status: int, code: str
) -> None:
    done = await call(path, method, query)
    error = json.loads(done.body)["error"]
    assert (done.status, error["code"]) == (status, code)
    assert error["message"].endswith(".")


async def test_changes_need_the_pages_own_headers(call: Call, runtime: Runtime) -> None:
    ours = own_page(runtime)
    foreign = ((b"origin", b"http://evil.example"), *ours[1:])
    null = ((b"origin", b"null"), *ours[1:])
    for headers in ((), foreign, null, ours[:1], ours[1:]):
        assert (await call("traces", "DELETE", headers=headers)).status in (403, 404)
    assert runtime.store.get(TRACE) is not None

    assert (await call(f"traces/{TRACE}/pin", "POST", headers=ours)).status == 200
    assert (await call("traces", "DELETE", headers=ours)).status == 204
    assert runtime.store.get(TRACE) is not None
    assert (await call(f"traces/{TRACE}/pin", "DELETE", headers=ours)).status == 200
    assert (await call("traces", "DELETE", headers=ours)).status == 204
    assert runtime.store.get(TRACE) is None
    assert (await call(f"traces/{TRACE}/pin", "POST", headers=ours)).status == 404


async def test_what_is_exported_can_be_imported(call: Call, runtime: Runtime) -> None:
    exported = await call(f"traces/{TRACE}/export", query="format=otlp")
    assert b"attachment" in dict(exported.headers)[b"content-disposition"]
    before = runtime.store.get(TRACE)
    runtime.store.clear()
    done = await call("import", "POST", body=exported.body, headers=own_page(runtime))
    assert json.loads(done.body) == {"traces": [TRACE]}
    after = runtime.store.get(TRACE)
    assert before is not None
    assert after is not None
    assert after.spans == before.spans


async def test_a_file_that_is_none_is_refused_with_the_reason(call: Call, runtime: Runtime) -> None:
    done = await call("import", "POST", body=b"PK\x03\x04", headers=own_page(runtime))
    assert done.status == 400
    assert "line 1 is not JSON" in json.loads(done.body)["error"]["message"]


async def test_a_file_that_is_too_large_is_refused(
    call: Call, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_toolbar.web.api.MAX_IMPORT", 1000)
    done = await call("import", "POST", body=b"x" * 1001, headers=own_page(runtime))
    assert done.status == 413


async def test_the_stream_tells_what_is_new_and_ends(
    call: Call, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_toolbar.web.api.POLL_SECONDS", 0.01)
    asking = asyncio.create_task(call("stream"))
    await asyncio.sleep(0.2)
    runtime.store.add("cd" * 16, Spans((span(3, trace_id="cd" * 16),)))
    await asyncio.sleep(0.2)
    runtime.store.add("cd" * 16, Spans((span(4, 3, trace_id="cd" * 16, kind=Kind.INTERNAL),)))
    await asyncio.sleep(0.2)
    runtime.closing = True
    done = await asyncio.wait_for(asking, 5)
    events = [line for line in done.body.decode().splitlines() if line.startswith("event:")]
    assert events == ["event: trace.started", "event: trace.ended", "event: trace.updated"]
    assert dict(done.headers)[b"content-type"].startswith(b"text/event-stream")


def living(runtime: Runtime, *traces: Trace) -> None:
    """Make the spans of these traces those that run at this moment."""
    runtime.store._live = lambda: {trace.trace_id: Spans(trace.spans) for trace in traces}  # type: ignore[attr-defined]


async def test_open_connections_are_found_however_old(call: Call, runtime: Runtime) -> None:
    old = sockets.connection(4, total=900, live=True)
    closed = sockets.connection(2, trace_id="cd" * 16)
    runtime.store.add(closed.trace_id, Spans(closed.spans))
    living(runtime, old)
    found = json.loads((await call("traces", query="kind=websocket&running=true")).body)["traces"]
    assert [each["trace_id"] for each in found] == [old.trace_id]
    assert found[0]["websocket"]["received"] == 450
    assert found[0]["websocket"]["live"] is True
    found = json.loads((await call("traces", query="kind=websocket&running=false")).body)["traces"]
    assert [each["trace_id"] for each in found] == [closed.trace_id]
    found = json.loads((await call("traces", query="kind=websocket")).body)["traces"]
    assert {each["trace_id"] for each in found} == {old.trace_id, closed.trace_id}


async def test_the_stream_tells_of_a_connection_older_than_all_that_is_newest(
    call: Call, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_toolbar.web.api.POLL_SECONDS", 0.01)
    monkeypatch.setattr("otel_toolbar.web.api._REST", 0)  # a slow look makes no longer pause
    monkeypatch.setattr("otel_toolbar.web.api._WATCHED", 1)
    old = sockets.connection(2, live=True)
    runtime.store.add(old.trace_id, Spans(old.spans[1:]))
    runtime.store.add("cd" * 16, Spans((span(3, trace_id="cd" * 16),)))
    living(runtime, old)
    asking = asyncio.create_task(call("stream"))
    await asyncio.sleep(0.5)
    living(runtime, sockets.connection(4, live=True))
    await asyncio.sleep(0.5)
    living(runtime, sockets.ended(old, 1001))
    await asyncio.sleep(0.5)
    runtime.closing = True
    done = await asyncio.wait_for(asking, 5)
    lines = done.body.decode().splitlines()
    assert "event: trace.updated" in lines
    told = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert {each["trace_id"] for each in told} == {old.trace_id}
    assert told[0]["websocket"]["sent"] == 2


async def test_a_connections_panel_and_script(call: Call, runtime: Runtime) -> None:
    trace = sockets.connection(4)
    runtime.store.add(trace.trace_id, Spans(trace.spans))
    view = json.loads((await call(f"traces/{trace.trace_id}/panels/websockets")).body)
    (connection,) = view["connections"]
    assert connection["close"]["code"] == 1000
    assert [message["direction"] for message in connection["messages"]] == [
        "receive", "transmit", "receive", "transmit",
    ]  # fmt: skip
    done = await call(f"traces/{trace.trace_id}/export", query="format=websockets-client")
    assert (done.status, b"connect(URL" in done.body) == (200, True)


async def test_a_panel_that_fails_takes_no_other_with_it(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_toolbar import panels

    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    first, *others = panels.load()
    monkeypatch.setattr(panels, "load", lambda _=(): (replace(first, view=fail), *others))

    async def badges() -> list[str | None]:
        found = json.loads((await call(f"traces/{TRACE}")).body)
        return [panel["badge"] for panel in found["panels"]]

    assert "failed" not in await badges()  # made at a glance, without the view
    done = await call(f"traces/{TRACE}/panels/trace")
    assert (done.status, json.loads(done.body)["error"]["code"]) == (500, "panel_failed")
    assert [badge == "failed" for badge in await badges()] == [
        True,
        *[False] * len(others),
    ]


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 200_000 + b"1"])
async def test_a_file_nested_too_deep_is_refused(
    call: Call, runtime: Runtime, content: bytes
) -> None:
    done = await call("import", "POST", body=content, headers=own_page(runtime))
    assert (done.status, json.loads(done.body)["error"]["code"]) == (400, "not_otlp")


async def test_an_import_counts_what_it_takes(call: Call, runtime: Runtime) -> None:
    large = span(1, attributes={"a": "x" * 100_000, "b": ("y" * 50_000, b"z" * 50_000)})
    content = json.dumps(encode([large])).encode()
    done = await call("import", "POST", body=content, headers=own_page(runtime))
    assert done.status == 200
    assert runtime.store.health().bytes > 200_000


@pytest.mark.parametrize("query", ["limit=" + "9" * 5000, "after=" + "9" * 5000, "limit=\u0663"])
async def test_odd_numbers_are_no_failure_of_ours(call: Call, query: str) -> None:
    assert (await call("traces", query=query)).status in (200, 400)
