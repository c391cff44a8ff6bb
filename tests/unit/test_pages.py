"""The HTML pages as the whole layer serves them, without a browser."""

from __future__ import annotations

import os
from typing import Any

import pytest

from otel_toolbar.distro.asgi import ToolbarApp
from otel_toolbar.distro.runtime import Runtime
from otel_toolbar.model import Kind, Span
from otel_toolbar.settings import Settings
from otel_toolbar.store.base import Spans
from tests import sockets
from tests.telemetry import Exchanged, exchange, http_scope

TRACE = "ab" * 16


@pytest.fixture
def runtime() -> Runtime:
    found = Runtime(Settings(store_max_traces=7))
    server = Span(TRACE, "1" * 16, None, "GET /<b>orders", Kind.SERVER, 10**18, 10**18 + 5000)
    found.store.add(TRACE, Spans((server,)))
    return found


async def get(runtime: Runtime, path: str, query: bytes = b"", **more: Any) -> Exchanged:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"the app's own"})

    scope = http_scope(path, query_string=query, **more)
    return await exchange(ToolbarApp(app, runtime), scope)


async def test_the_history(runtime: Runtime) -> None:
    for path in ("/_toolbar", "/_toolbar/"):
        done = await get(runtime, path)
        assert done.status == 200
        assert f"/_toolbar/t/{TRACE}".encode() in done.body
        assert b"<b>orders" not in done.body
        assert f"pid {os.getpid()}".encode() in done.body
    assert TRACE.encode() not in (await get(runtime, "/_toolbar/", b"q=nothing")).body
    assert (await get(runtime, "/_toolbar/", b"limit=x")).status == 400


async def test_connections_that_are_open_come_first(runtime: Runtime) -> None:
    old, closed = sockets.connection(2, live=True), sockets.connection(2, trace_id="cd" * 16)
    runtime.store.add(old.trace_id, Spans(old.spans[1:]))
    runtime.store.add(closed.trace_id, Spans(closed.spans))
    runtime.store._live = lambda: {old.trace_id: Spans(old.spans)}  # type: ignore[attr-defined]
    page = (await get(runtime, "/_toolbar/", b"kind=websocket")).body.decode()
    assert TRACE not in page
    assert 0 < page.index(f"/t/{old.trace_id}?panel=websockets") < page.index(closed.trace_id)
    assert page.count(f"/t/{old.trace_id}") == 1
    assert "Websocket connections" in page
    only = (await get(runtime, "/_toolbar/", b"kind=websocket&running=false")).body.decode()
    assert old.trace_id not in only
    runtime.store.clear()
    runtime.store._live = dict  # type: ignore[attr-defined]
    empty = (await get(runtime, "/_toolbar/", b"kind=websocket")).body
    assert b"No websocket connections yet" in empty


async def test_a_trace_with_each_panel(runtime: Runtime) -> None:
    for panel in (
        "trace",
        "request",
        "response",
        "headers",
        "timing",
        "queries",
        "tasks",
        "websockets",
        "logs",
        "errors",
        "dependencies",
        "openapi",
        "routes",
        "settings",
        "versions",
        "alerts",
        "unknown",
    ):
        done = await get(runtime, f"/_toolbar/t/{TRACE}", f"panel={panel}".encode())
        assert done.status == 200
        assert b"&lt;b&gt;orders" in done.body
    assert (await get(runtime, f"/_toolbar/t/{TRACE}", b"embed=1")).status == 200


async def test_what_is_not_there_says_why(runtime: Runtime) -> None:
    gone = await get(runtime, "/_toolbar/t/" + "cd" * 16)
    assert gone.status == 404
    assert b"OTEL_TOOLBAR_STORE_MAX_TRACES" in gone.body
    assert b"The newest 7 traces" in gone.body
    assert (await get(runtime, "/_toolbar/nothing/here")).status == 404


async def test_static_files(runtime: Runtime) -> None:
    found = await get(runtime, "/_toolbar/static/toolbar.js", b"v=1")
    assert found.status == 200
    assert b"immutable" in dict(found.headers)[b"cache-control"]
    assert b"javascript" in dict(found.headers)[b"content-type"]
    for path in ("../pages.py", "%2e%2e/pages.py", "nothing.js", "../../../../etc/passwd"):
        assert (await get(runtime, "/_toolbar/static/" + path)).status == 404


async def test_every_answer_has_our_own_policy(runtime: Runtime) -> None:
    for path in ("/_toolbar/", "/_toolbar/api/traces", "/_toolbar/static/ui.css", "/_toolbar/x"):
        headers = dict((await get(runtime, path)).headers)
        assert b"default-src 'none'" in headers[b"content-security-policy"]
        assert headers[b"x-content-type-options"] == b"nosniff"


async def test_a_page_of_ours_that_fails_is_answered_by_us(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(runtime.store, "list", fail)
    done = await get(runtime, "/_toolbar/")
    assert (done.status, done.error) == (500, None)


async def test_behind_a_root_path_the_addresses_have_it(runtime: Runtime) -> None:
    done = await get(runtime, "/shop/_toolbar/", root_path="/shop")
    assert done.status == 200
    assert f'"/shop/_toolbar/t/{TRACE}'.encode() in done.body
