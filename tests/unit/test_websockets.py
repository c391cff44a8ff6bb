"""Websocket connections: whole telemetry, bounds, whose is what, and an app that never notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot
from litestar import Litestar
from litestar import WebSocket as LitestarSocket
from litestar import websocket as litestar_websocket
from opentelemetry import context as otel_context
from opentelemetry import trace
from quart import Quart
from quart import websocket as quart_socket
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from otel_toolbar import guard
from otel_toolbar.settings import Settings
from otel_toolbar.signals import frameworks
from otel_toolbar.signals.core import handover, light, logs
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.websockets import Connection, content
from otel_toolbar.store.base import Query
from otel_toolbar.wire import packed
from tests.telemetry import (
    CONNECT,
    Telemetry,
    converse,
    made_global,
    said,
    telemetry,
    watched,
    websocket_scope,
)

frameworks.install()


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    found = telemetry()
    found.store._live = lambda: packed.by_trace(*found.processor.live())
    with made_global(found.provider):
        yield found
    handover.settle()


def exported(signals: Telemetry) -> list[Any]:
    return list(signals.exported())


def server_span(signals: Telemetry) -> Any:
    (span,) = [span for span in exported(signals) if span.kind is trace.SpanKind.SERVER]
    return span


def messages(signals: Telemetry) -> list[Any]:
    return [span for span in exported(signals) if span.name.startswith("websocket ")]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def room(socket: Any) -> None:
    await socket.accept(subprotocol="chat")
    while True:
        text = await socket.receive_text()
        with trace.get_tracer("app").start_as_current_span("look up"):
            pass
        await socket.send_text(text)


STARLETTE = Starlette(routes=[WebSocketRoute("/rooms/{room}", room)])


async def test_whole_telemetry(signals: Telemetry) -> None:
    scope = websocket_scope(
        "/rooms/garden",
        query_string=b"token=s3cret",
        subprotocols=["chat"],
        headers=[(b"host", b"chat.test"), (b"authorization", b"Bearer abcdefghijklmnop")],
    )
    done = await converse(watched(STARLETTE), scope, said('{"password": "hunter2", "a": 1}'))
    assert isinstance(done.error, WebSocketDisconnect)
    found = signals.snapshot()
    for span in found:
        for key in list(span["attributes"]):
            if key.startswith("websocket.time."):
                span["attributes"][key] = "..."
    assert found == snapshot(
        [
            {
                "name": "/rooms/{room}",
                "kind": "SERVER",
                "parent": None,
                "attributes": {
                    "client.address": "127.0.0.1",
                    "client.port": 5000,
                    "code.file.path": "/tests/unit/test_websockets.py",
                    "code.function.name": "tests.unit.test_websockets.room",
                    "code.line.number": "...",
                    "http.request.header.authorization": ["Bearer ***"],
                    "http.request.header.host": ["chat.test"],
                    "http.route": "/rooms/{room}",
                    "network.protocol.name": "websocket",
                    "network.protocol.version": "1.1",
                    "server.address": "chat.test",
                    "server.port": 80,
                    "toolbar.framework": "starlette",
                    "toolbar.jobs.count": 0,
                    "toolbar.jobs.n_plus_one.count": 0,
                    "toolbar.n_plus_one.count": 0,
                    "toolbar.queries.count": 0,
                    "toolbar.queries.duration": "...",
                    "toolbar.request.path.room": "garden",
                    "url.path": "/rooms/garden",
                    "url.query": "token=***",
                    "url.scheme": "ws",
                    "websocket.bytes.received": 31,
                    "websocket.bytes.sent": 31,
                    "websocket.close.code": 1000,
                    "websocket.close.initiator": "client",
                    "websocket.messages.dropped": 0,
                    "websocket.messages.received": 1,
                    "websocket.messages.sent": 1,
                    "websocket.state": "closed",
                    "websocket.subprotocol": "chat",
                    "websocket.subprotocols.offered": ["chat"],
                    "websocket.time.closed": "...",
                    "websocket.time.closing": "...",
                    "websocket.time.open": "...",
                },
            },
            {
                "name": "websocket receive",
                "kind": "CONSUMER",
                "parent": "/rooms/{room}",
                "attributes": {
                    "network.io.direction": "receive",
                    "websocket.message.number": 1,
                    "websocket.message.size": 31,
                    "websocket.message.text": '{"password": "***", "a": 1}',
                    "websocket.message.type": "text",
                },
            },
            {
                "name": "look up",
                "kind": "INTERNAL",
                "parent": "websocket receive",
                "attributes": {},
            },
            {
                "name": "websocket send",
                "kind": "PRODUCER",
                "parent": "websocket receive",
                "attributes": {
                    "network.io.direction": "transmit",
                    "websocket.message.number": 1,
                    "websocket.message.size": 31,
                    "websocket.message.text": '{"password": "***", "a": 1}',
                    "websocket.message.type": "text",
                },
            },
            {
                "name": "websocket receive",
                "kind": "CONSUMER",
                "parent": "/rooms/{room}",
                "attributes": {
                    "network.io.direction": "receive",
                    "websocket.message.size": 0,
                    "websocket.message.type": "close",
                },
            },
        ]
    )


def fastapi_app() -> Any:
    app = FastAPI()

    @app.websocket("/rooms/{name}")
    async def handler(websocket: WebSocket, name: str) -> None:
        await room(websocket)

    return app


def litestar_app() -> Any:
    @litestar_websocket("/rooms/{name:str}")
    async def handler(socket: LitestarSocket[Any, Any, Any]) -> None:
        await socket.accept()
        while True:
            await socket.send_text(await socket.receive_text())

    return Litestar([handler])


def quart_app() -> Any:
    app = Quart(__name__)

    @app.websocket("/rooms/<name>")
    async def handler(name: str) -> None:
        while True:
            await quart_socket.send(await quart_socket.receive())

    return app


@pytest.mark.parametrize(
    ("app", "route"),
    [
        (STARLETTE, "/rooms/{room}"),
        (fastapi_app(), "/rooms/{name}"),
        (litestar_app(), "/rooms/{name}"),
        (quart_app(), "/rooms/<name>"),
        (echo, "websocket"),
    ],
    ids=["starlette", "fastapi", "litestar", "quart", "asgi"],
)
async def test_one_server_span_in_every_framework(app: Any, route: str, signals: Telemetry) -> None:
    incoming = said("one", "two")
    closing = incoming.pop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    for message in incoming:
        queue.put_nowait(message)
    answered = asyncio.Semaphore(0)

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            answered.release()

    running = asyncio.ensure_future(watched(app)(websocket_scope("/rooms/garden"), queue.get, send))
    for _ in range(2):
        await asyncio.wait_for(answered.acquire(), 5)
    queue.put_nowait(closing)
    await asyncio.gather(running, return_exceptions=True)
    span = server_span(signals)
    assert span.name == route
    facts = span.attributes
    assert facts["network.protocol.name"] == "websocket"
    assert facts["url.path"] == "/rooms/garden"
    assert facts["websocket.state"] == "closed"
    assert (facts["websocket.messages.received"], facts["websocket.messages.sent"]) == (2, 2)
    assert (facts["websocket.bytes.received"], facts["websocket.bytes.sent"]) == (6, 6)
    assert (facts["websocket.close.code"], facts["websocket.close.initiator"]) == (1000, "client")
    texts = [each.attributes.get("websocket.message.text") for each in messages(signals)]
    assert sorted(text for text in texts if text) == ["one", "one", "two", "two"]
    assert {each.context.trace_id for each in messages(signals)} == {span.context.trace_id}


async def test_what_a_quart_handler_does_is_its_messages_child(signals: Telemetry) -> None:
    app = Quart(__name__)

    @app.websocket("/")
    async def handler() -> None:
        while True:
            text = await quart_socket.receive()
            with trace.get_tracer("app").start_as_current_span("work on " + str(text)):
                await asyncio.sleep(0.001)
            await quart_socket.send(text)

    queue: asyncio.Queue[Any] = asyncio.Queue()
    *incoming, closing = said("one", "two", "three")
    for message in incoming:
        queue.put_nowait(message)
    answered = asyncio.Semaphore(0)

    async def send(message: Any) -> None:
        answered.release()

    running = asyncio.ensure_future(watched(app)(websocket_scope(), queue.get, send))
    for _ in range(4):
        await asyncio.wait_for(answered.acquire(), 5)
    queue.put_nowait(closing)
    await asyncio.gather(running, return_exceptions=True)
    by_id = {span.context.span_id: span for span in exported(signals)}
    for span in by_id.values():
        if span.name.startswith("work on "):
            parent = by_id[span.parent.span_id]
            assert span.name == "work on " + parent.attributes["websocket.message.text"]
            assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time
    assert sum(span.name.startswith("work on ") for span in by_id.values()) == 3


async def test_of_a_long_connection_the_last_messages_are_kept_and_all_are_exported(
    signals: Telemetry,
) -> None:
    texts = [str(number) for number in range(1000)]
    await converse(watched(echo), websocket_scope(), said(*texts))
    facts = server_span(signals).attributes
    assert facts["websocket.messages.received"] == facts["websocket.messages.sent"] == 1000
    (line,) = signals.store.list(Query()).traces
    stored = signals.store.get(line.trace_id)
    assert stored is not None
    kept = [span for span in stored.spans if span.text("websocket.message.type") == "text"]
    assert 98 <= len(kept) <= 100
    assert facts["websocket.messages.dropped"] == 2000 - len(kept)
    assert kept[-1].text("websocket.message.text") == "999"
    ids = {span.span_id for span in stored.spans}
    assert all(span.parent_id in ids for span in stored.spans if span.parent_id)
    exported = [
        span.attributes["websocket.message.text"]
        for span in messages(signals)
        if span.kind is trace.SpanKind.CONSUMER and "websocket.message.text" in span.attributes
    ]
    assert exported == texts
    assert line.kind == "websocket"


async def test_children_go_with_their_messages(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            light.start("inner", trace.SpanKind.CLIENT, {}, light_scope()).end()
            with trace.get_tracer("app").start_as_current_span("sdk"):
                pass

    options = Settings(websocket_max_messages=10)
    await converse(watched(app, options), websocket_scope(), said(*map(str, range(700))))
    (line,) = signals.store.list(Query()).traces
    stored = signals.store.get(line.trace_id)
    assert stored is not None
    names = [span.name for span in stored.spans]
    assert names.count("inner") == names.count("websocket receive") - 1  # the close has none
    assert names.count("sdk") < 250
    assert [span.name for span in exported(signals)].count("inner") == 700


async def test_what_is_logged_is_kept_as_long_as_the_messages(signals: Telemetry) -> None:
    kept: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        record = records.current()
        assert record is not None
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            logs.emit(logs.LightLog(9, "INFO", "said", {}, light_scope()))
            kept.append(len(record.logs))

    options = Settings(websocket_max_messages=10)
    await converse(watched(app, options), websocket_scope(), said(*["x"] * 1000))
    assert max(kept) <= 201
    assert kept[-1] > 0


async def test_work_without_messages_is_bounded_too(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for number in range(1000):
            light.start(str(number), trace.SpanKind.CLIENT, {}, light_scope()).end()
            with trace.get_tracer("app").start_as_current_span(f"sdk {number}"):
                pass

    options = Settings(max_spans=300)
    await converse(watched(app, options), websocket_scope(), said())
    (line,) = signals.store.list(Query()).traces
    stored = signals.store.get(line.trace_id)
    assert stored is not None
    names = {span.name for span in stored.spans}
    assert {"999", "sdk 999"} & names, "the newer ones are kept"
    assert stored.main is not None
    assert (stored.main.integer("toolbar.dropped") or 0) > 1000
    assert len(exported(signals)) == 2001


def light_scope() -> Any:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return InstrumentationScope("test")


async def test_an_open_connection_is_seen_with_its_messages(signals: Telemetry) -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    sent = asyncio.Semaphore(0)

    async def send(message: Any) -> None:
        sent.release()

    running = asyncio.ensure_future(watched(echo)(websocket_scope("/live"), queue.get, send))
    for message in said("hello", "again")[:-1]:
        queue.put_nowait(message)
    for _ in range(3):
        await sent.acquire()
    await asyncio.sleep(0.01)
    (line,) = signals.store.list(Query()).traces
    assert (line.kind, line.duration, line.name) == ("websocket", None, "/live")
    seen = signals.store.get(line.trace_id)
    assert seen is not None
    assert seen.main is not None
    assert seen.main.text("websocket.state") == "open"
    assert seen.main.integer("websocket.messages.received") == 2
    assert [span.text("websocket.message.text") for span in seen.spans[1:]] == [
        "hello", "hello", "again", "again",
    ]  # fmt: skip
    queue.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await running
    (line,) = signals.store.list(Query()).traces
    assert line.duration is not None


async def test_memory_does_not_grow_with_exporters_that_hang(signals: Telemetry) -> None:
    record_sizes: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        record_sizes.extend(len(r.untold or ()) for r in handover._state.records.values())

    handover._state.telling.acquire()  # as if an exporter took for ever
    try:
        await converse(
            watched(app), websocket_scope(), said(*["x"] * (handover.MAX_UNTOLD // 2 + 2000))
        )
    finally:
        handover._state.telling.release()
    assert max(record_sizes) <= handover.MAX_UNTOLD + 300
    signals.processor.force_flush()
    assert len(messages(signals)) >= handover.MAX_UNTOLD - 300


@pytest.mark.parametrize("initiated", [1000, 1001, 1008, 1009, 1011, 1012, 3000, 4999])
async def test_the_app_closes(initiated: int, signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": initiated, "reason": "password=hunter2"})
        await receive()

    await converse(watched(app), websocket_scope(), [CONNECT, said()[-1]])
    facts = server_span(signals).attributes
    assert facts["websocket.close.code"] == initiated
    assert facts["websocket.close.initiator"] == "server"
    assert facts["websocket.close.reason"] == "password=***"
    assert (
        facts["websocket.time.open"]
        <= facts["websocket.time.closing"]
        <= facts["websocket.time.closed"]
    )
    (close,) = messages(signals)
    assert close.attributes["websocket.message.type"] == "close"


@pytest.mark.parametrize(
    ("code", "more", "initiator"),
    [
        (1000, {"reason": "bye"}, "client"),
        (1001, {}, "client"),
        (1005, {"reason": ""}, "client"),
        (1005, {}, None),
        (1006, {}, "network"),
        (1009, {}, "server"),
        (1012, {}, "server"),
        (4000, {}, "client"),
    ],
)
async def test_the_server_tells_the_end(
    code: int, more: Any, initiator: str | None, signals: Telemetry
) -> None:
    end = {"type": "websocket.disconnect", "code": code} | more
    await converse(watched(echo), websocket_scope(), [CONNECT, end])
    facts = server_span(signals).attributes
    assert facts["websocket.close.code"] == code
    assert facts.get("websocket.close.initiator") == initiator
    assert "websocket.close.reason" not in facts or facts["websocket.close.reason"] == "bye"


async def test_denied(signals: Telemetry) -> None:
    async def closes(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "reason": "no"})

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "websocket.http.response.start", "status": 503, "headers": [(b"x-a", b"b")]}
        )
        await send({"type": "websocket.http.response.body", "body": b"later", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"!"})

    for app in (closes, answers):
        await converse(watched(app), websocket_scope(), [CONNECT])
    first, second = exported(signals)
    assert first.attributes["http.response.status_code"] == 403
    assert "websocket.close.code" not in first.attributes
    assert "websocket.time.open" not in first.attributes
    assert second.attributes["http.response.status_code"] == 503
    assert second.attributes["http.response.header.x-a"] == ("b",)
    assert second.status.status_code is trace.StatusCode.ERROR


async def test_errors(signals: Telemetry) -> None:
    async def raises(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        raise ValueError("password=hunter2")

    done = await converse(watched(raises), websocket_scope(), said("x"))
    assert isinstance(done.error, ValueError)
    span = server_span(signals)
    assert span.attributes["websocket.close.initiator"] == "error"
    assert span.attributes["error.type"] == "ValueError"
    assert span.events[0].attributes["exception.message"] == "password=***"


async def test_a_send_that_fails(signals: Telemetry) -> None:
    async def receive() -> Any:
        return CONNECT

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise OSError("gone")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "x"})

    with pytest.raises(OSError, match="gone"):
        await watched(app)(websocket_scope(), receive, send)
    facts = server_span(signals).attributes
    assert facts["websocket.messages.sent"] == facts["websocket.messages.dropped"] == 0
    assert facts["websocket.close.initiator"] == "network"
    assert server_span(signals).status.status_code is trace.StatusCode.UNSET
    (failed,) = messages(signals)
    assert failed.status.status_code is trace.StatusCode.ERROR


async def test_sampling_counts_all(signals: Telemetry) -> None:
    options = Settings(websocket_sample=3)
    await converse(watched(echo, options), websocket_scope(), said(*"abcdefg"))
    facts = server_span(signals).attributes
    assert facts["websocket.messages.received"] == facts["websocket.messages.sent"] == 7
    assert facts["websocket.bytes.sent"] == 7
    texts = [span.attributes.get("websocket.message.text") for span in messages(signals)]
    assert [text for text in texts if text] == ["a", "a", "d", "d", "g", "g"]
    assert facts["websocket.messages.dropped"] == 8


async def test_connections_beyond_the_most_have_totals_only(signals: Telemetry) -> None:
    options = Settings(websocket_max_connections=0)
    await converse(watched(echo, options), websocket_scope(), said("a", b"bc"))
    facts = server_span(signals).attributes
    assert facts["websocket.totals_only"] is True
    assert facts["websocket.bytes.received"] == facts["websocket.bytes.sent"] == 3
    assert facts["websocket.messages.dropped"] == 4
    assert not messages(signals)


async def test_places_are_given_back(signals: Telemetry) -> None:
    app = watched(echo, Settings(websocket_max_connections=1))
    for _ in range(3):
        await converse(app, websocket_scope(), said("a"))
    assert not any("websocket.totals_only" in (s.attributes or {}) for s in exported(signals))


async def test_the_app_opts_out_on_the_way(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        scope["otel_toolbar"] = False
        await receive()
        await send({"type": "websocket.send", "text": "b"})

    await converse(watched(app), websocket_scope(), said("a", "b"))
    assert [span.attributes["websocket.message.text"] for span in messages(signals)] == ["a"]
    assert server_span(signals).attributes["websocket.messages.received"] == 2


async def test_content_is_switched_off_and_on(signals: Telemetry) -> None:
    off = Settings(websocket_content=False, websocket_binary=True)
    await converse(watched(echo, off), websocket_scope(), said("a", b"b"))
    keys = {key for span in exported(signals) for key in span.attributes or ()}
    assert not {"websocket.message.text", "websocket.message.hex"} & keys
    signals.clear()
    on = Settings(websocket_binary=True, websocket_binary_size=2, websocket_message_size=5)
    await converse(watched(echo, on), websocket_scope(), said("ab€€", b"\x00\xff\x01"))
    first, _, third, _, _ = messages(signals)
    assert first.attributes["websocket.message.text"] == "ab€"
    assert first.attributes["websocket.message.size"] == 8
    assert first.attributes["websocket.message.truncated"] is True
    assert third.attributes["websocket.message.hex"] == "00ff"
    assert third.attributes["websocket.message.truncated"] is True


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "hunter2"}',
        '{"user": {"password": "hunter2", "a": [1, 2]}}',
        '{"tokens": ["hunter2", "hunter2"]}',
        '{"secret": {"a": {"b": ["hunter2 ]}", "x"]}, "c": "hunter2"}}',
        r'{"body": "{\"password\": \"hunter2\"}"}',
        r'{"body": "{\"credentials\": [\"hunter2\"]}"}',
        '{"password": "hunter2',
        '{"secrets": ["hunter2", "hunt',
        "login password=hunter2",
        '["auth", {"api_key": "hunter2"}]',
    ],
)
def test_secrets_of_messages_are_masked(text: str) -> None:
    for cut in (len(text), len(text) - 1, len(text) - 2):
        assert "hunter2" not in content.shown(text[:cut], 1000)
    assert "***" in content.shown(text, 1000)


@given(st.text(max_size=50), st.integers(0, 40))
def test_a_cut_text_is_a_beginning(text: str, limit: int) -> None:
    cut = content.shown(text, limit)
    assert len(cut.encode()) <= limit
    whole = content.shown(text, 10_000)
    assert whole.startswith(cut)


def test_a_secret_that_the_cut_goes_through_is_masked() -> None:
    text = "x" * 90 + " Bearer abcdefghijklmnopqrstuvwxyz0123456789"
    assert "abcdef" not in content.shown(content.held(text, 100), 110)


async def test_a_send_for_another_connection_stands_on_that_ones_trace(
    signals: Telemetry,
) -> None:
    sockets: dict[str, Any] = {}
    ready, over = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sockets[scope["path"]] = send
        if scope["path"] == "/listener":
            ready.set()
            await over.wait()
            return
        await receive()
        await sockets["/listener"]({"type": "websocket.send", "text": "from speaker"})

    outer = watched(app)
    listener = asyncio.ensure_future(converse(outer, websocket_scope("/listener"), said()))
    await ready.wait()
    await converse(outer, websocket_scope("/speaker"), said("hello"))
    over.set()
    await listener
    spans = exported(signals)
    (sent,) = [span for span in spans if span.kind is trace.SpanKind.PRODUCER]
    (heard,) = [span for span in spans if span.kind is trace.SpanKind.CONSUMER]
    servers = {
        span.attributes["url.path"]: span for span in spans if span.kind is trace.SpanKind.SERVER
    }
    assert sent.context.trace_id == servers["/listener"].context.trace_id
    assert sent.parent.span_id == servers["/listener"].context.span_id
    assert [link.context for link in sent.links] == [heard.context]
    assert servers["/listener"].attributes["websocket.messages.sent"] == 1
    assert servers["/speaker"].attributes["websocket.messages.sent"] == 0


async def test_a_reader_and_a_writer_task(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

        async def write() -> None:
            for number in range(50):
                await send({"type": "websocket.send", "text": str(number)})

        async def read() -> None:
            while (await receive())["type"] == "websocket.receive":
                await asyncio.sleep(0)

        await asyncio.gather(write(), write(), read())

    await converse(watched(app), websocket_scope(), said(*map(str, range(50))))
    facts = server_span(signals).attributes
    assert (facts["websocket.messages.sent"], facts["websocket.messages.received"]) == (100, 50)
    assert facts["websocket.messages.dropped"] == 150 - 100 + 1  # the close is kept as well
    numbers = [
        span.attributes["websocket.message.number"]
        for span in messages(signals)
        if span.kind is trace.SpanKind.PRODUCER
    ]
    assert sorted(numbers) == list(range(1, 101))


async def test_two_hundred_at_once_do_not_mix(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            with trace.get_tracer("app").start_as_current_span("work " + scope["path"]):
                await asyncio.sleep(0)
            await send({"type": "websocket.send", "text": message["text"]})

    outer = watched(app, Settings(websocket_max_connections=200))
    await asyncio.gather(
        *(converse(outer, websocket_scope(f"/{n}"), said(*[f"/{n}"] * (n % 7))) for n in range(200))
    )
    spans = exported(signals)
    paths = {
        span.context.trace_id: span.attributes["url.path"]
        for span in spans
        if span.kind is trace.SpanKind.SERVER
    }
    assert len(paths) == 200
    by_id = {span.context.span_id: span for span in spans}
    for span in spans:
        path = paths[span.context.trace_id]
        if "websocket.message.text" in span.attributes:
            assert span.attributes["websocket.message.text"] == path
        if span.name.startswith("work"):
            assert span.name == "work " + path
            assert by_id[span.parent.span_id].name == "websocket receive"
        if span.kind is trace.SpanKind.SERVER:
            assert span.attributes["websocket.messages.received"] == int(path[1:]) % 7


async def test_the_context_is_as_before(signals: Telemetry) -> None:
    before = otel_context.get_current()
    await watched(echo)(websocket_scope(), _from(said("a", "b")), _nowhere)
    assert otel_context.get_current() is before
    assert trace.get_current_span() is trace.INVALID_SPAN


def _from(incoming: list[Any]) -> Any:
    waiting = list(incoming)

    async def receive() -> Any:
        return waiting.pop(0)

    return receive


async def _nowhere(message: Any) -> None: ...


HOOKS = [
    "_begin_handling", "_end_handling", "_keep", "_begin_send", "_close", "_closed",
    "_records", "_disconnected", "_answering", "facts", "_begin_close", "_count_sent",
]  # fmt: skip


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_hook_that_fails_costs_a_fact_and_nothing_else(
    hook: str, signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        if scope["path"] == "/closes":
            await send({"type": "websocket.close"})
        assert (await receive())["type"] == "websocket.disconnect"

    for path in ("/", "/closes"):
        bare = await converse(app, websocket_scope(path), said("a"))
        calls: list[int] = []

        def fail(*args: Any, calls: list[int] = calls) -> None:
            calls.append(1)
            raise RuntimeError("broken")

        with monkeypatch.context() as patched:
            patched.setattr(Connection, hook, fail)
            done = await converse(watched(app), websocket_scope(path), said("a"))
        assert done == bare
        assert calls or path == "/"
    lines = [line for line in caplog.records if line.name == "otel_toolbar"]
    assert lines
    assert len({line.getMessage() for line in lines}) == len(lines)
    guard.forget()


events = st.one_of(
    st.builds(lambda text: {"type": "websocket.receive", "text": text}, st.text(max_size=20)),
    st.builds(lambda data: {"type": "websocket.receive", "bytes": data}, st.binary(max_size=20)),
    st.builds(
        lambda text: {"type": "websocket.receive", "text": text, "bytes": None},
        st.text(max_size=5),
    ),
    st.just({"type": "websocket.receive"}),
    st.just({"type": "something.else"}),
    st.just({}),
)
ends = st.one_of(
    st.builds(lambda code: {"type": "websocket.disconnect", "code": code}, st.integers(0, 5000)),
    st.just({"type": "websocket.disconnect"}),
    st.just({"type": "websocket.disconnect", "code": None, "reason": None}),
)
acts = st.lists(
    st.one_of(
        st.just("receive"),
        st.just({"type": "websocket.accept"}),
        st.just({"type": "websocket.accept", "subprotocol": "x", "headers": [(b"\xff", b"\xfe")]}),
        st.builds(lambda text: {"type": "websocket.send", "text": text}, st.text(max_size=20)),
        st.builds(lambda data: {"type": "websocket.send", "bytes": data}, st.binary(max_size=9)),
        st.just({"type": "websocket.send", "bytes": memoryview(b"abc")}),
        st.just({"type": "websocket.send", "text": "\ud800"}),
        st.just({"type": "websocket.send", "text": None}),
        st.just({"type": "websocket.send", "text": 5}),
        st.just({"type": "websocket.close", "code": 4000, "reason": None}),
        st.just({"type": "websocket.http.response.start", "status": 404}),
        st.just({"type": "websocket.http.response.body", "body": b"x"}),
        st.just({"type": "nonsense"}),
        st.just({}),
        st.just("raise"),
    ),
    max_size=12,
)


@given(st.lists(events, max_size=6), ends, acts)
@settings(deadline=None)
def test_the_app_and_the_server_see_no_difference(incoming: Any, end: Any, acts: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for act in acts:
            if act == "receive":
                scope["seen"].append(await receive())
            elif act == "raise":
                raise KeyError("own")
            else:
                await send(act)

    def run(outer: Any) -> Any:
        scope = websocket_scope() | {"seen": []}
        done = asyncio.run(converse(outer, scope, [CONNECT, *incoming, end]))
        return done.messages, repr(done.error), scope["seen"]

    found = telemetry()
    with made_global(found.provider):
        ours = run(watched(app, Settings(websocket_binary=True)))
        assert len([s for s in found.exported() if s.kind is trace.SpanKind.SERVER]) == 1
    assert ours == run(app)


async def test_messages_are_json_for_who_looks(signals: Telemetry) -> None:
    text = json.dumps({"a": "€" * 3})
    await converse(watched(echo), websocket_scope(), said(text))
    assert json.loads(messages(signals)[0].attributes["websocket.message.text"]) == {"a": "€€€"}


async def test_cancelled(signals: Telemetry) -> None:
    async def receive() -> Any:
        await asyncio.sleep(60)

    task = asyncio.ensure_future(watched(echo)(websocket_scope(), receive, _nowhere))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    span = server_span(signals)
    assert span.attributes["websocket.close.initiator"] == "server"
    assert span.status.status_code is trace.StatusCode.UNSET
