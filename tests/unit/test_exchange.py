"""The request's SERVER span: whole telemetry of real frameworks, driven in process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from inline_snapshot import snapshot
from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from otel_toolbar.settings import Settings
from otel_toolbar.store.base import Query
from tests.telemetry import (
    Telemetry,
    exchange,
    hook_frameworks,
    http_scope,
    made_global,
    telemetry,
    watched,
)

hook_frameworks()

W3C_PARTS = TraceContextTextMapPropagator(), W3CBaggagePropagator()
W3C = CompositePropagator(W3C_PARTS)


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    found = telemetry()
    with made_global(found.provider):
        yield found


def server_span(signals: Telemetry) -> Any:
    (span,) = [span for span in signals.exported() if span.kind is trace.SpanKind.SERVER]
    return span


async def item(request: Any) -> JSONResponse:
    return JSONResponse({"id": request.path_params["id"]})


async def boom(request: Any) -> None:
    raise RuntimeError("no such luck")


STARLETTE = Starlette(
    routes=[
        Route("/items/{id:int}", item),
        Route("/boom", boom),
        Mount("/sub", routes=[Route("/items/{id}", item), Route("/other/{id}", item)]),
    ]
)


async def test_starlette(signals: Telemetry) -> None:
    scope = http_scope(
        "/items/7",
        query_string=b"q=1&token=s3cret",
        headers=[
            (b"host", b"shop.test:8000"),
            (b"user-agent", b"browser"),
            (b"x-twice", b"a"),
            (b"x-twice", b"b"),
        ],
    )
    assert (await exchange(watched(STARLETTE), scope)).status == 200
    assert signals.snapshot() == snapshot(
        [
            {
                "name": "GET /items/{id}",
                "kind": "SERVER",
                "parent": None,
                "attributes": {
                    "client.address": "127.0.0.1",
                    "client.port": 5000,
                    "code.file.path": "/tests/unit/test_exchange.py",
                    "code.function.name": "tests.unit.test_exchange.item",
                    "code.line.number": "...",
                    "http.request.body.size": 0,
                    "http.request.header.host": ["shop.test:8000"],
                    "http.request.header.user-agent": ["browser"],
                    "http.request.header.x-twice": ["a", "b"],
                    "http.request.method": "GET",
                    "http.response.body.size": 8,
                    "http.response.header.content-length": ["8"],
                    "http.response.header.content-type": ["application/json"],
                    "http.response.status_code": 200,
                    "http.route": "/items/{id}",
                    "network.protocol.version": "1.1",
                    "server.address": "shop.test",
                    "server.port": 8000,
                    "toolbar.cpu.time": "...",
                    "toolbar.framework": "starlette",
                    "toolbar.jobs.count": 0,
                    "toolbar.jobs.n_plus_one.count": 0,
                    "toolbar.n_plus_one.count": 0,
                    "toolbar.queries.count": 0,
                    "toolbar.queries.duration": "...",
                    "toolbar.request.path.id": "7",
                    "toolbar.response.chunks": 1,
                    "toolbar.response.first_byte": "...",
                    "url.path": "/items/7",
                    "url.query": "q=1&token=***",
                    "url.scheme": "http",
                    "user_agent.original": "browser",
                },
            }
        ]
    )


async def test_fastapi_keeps_its_own_span_and_gets_the_summary(signals: Telemetry) -> None:
    app = FastAPI()

    @app.get("/items/{number}")
    async def read(number: int, q: str = "") -> dict[str, int]:
        return {"id": number}

    done = await exchange(watched(app), http_scope("/items/7", query_string=b"q=x&password=y"))
    assert done.status == 200
    assert signals.snapshot() == snapshot(
        [
            {
                "name": "GET /items/{number}",
                "kind": "SERVER",
                "parent": None,
                "attributes": {
                    "client.address": "127.0.0.1",
                    "client.port": 5000,
                    "code.file.path": "/tests/unit/test_exchange.py",
                    "code.function.name": "tests.unit.test_exchange.read",
                    "code.line.number": "...",
                    "http.request.body.size": 0,
                    "http.request.header.host": ["localhost:8000"],
                    "http.request.method": "GET",
                    "http.response.body.size": 8,
                    "http.response.header.content-length": ["8"],
                    "http.response.header.content-type": ["application/json"],
                    "http.response.status_code": 200,
                    "http.route": "/items/{number}",
                    "network.protocol.version": "1.1",
                    "server.address": "localhost",
                    "server.port": 8000,
                    "toolbar.cpu.time": "...",
                    "toolbar.framework": "fastapi",
                    "toolbar.jobs.count": 0,
                    "toolbar.jobs.n_plus_one.count": 0,
                    "toolbar.n_plus_one.count": 0,
                    "toolbar.queries.count": 0,
                    "toolbar.queries.duration": "...",
                    "toolbar.request.path.number": "7",
                    "toolbar.response.chunks": 1,
                    "toolbar.response.first_byte": "...",
                    "url.path": "/items/7",
                    "url.query": "q=x&password=***",
                    "url.scheme": "http",
                },
            },
            {
                "name": "fastapi.dependencies",
                "kind": "INTERNAL",
                "parent": "GET /items/{number}",
                "attributes": {
                    "code.function.name": "tests.unit.test_exchange.test_fastapi_keeps_its_own_span_and_gets_the_summary.<locals>.read"
                },
            },
            {
                "name": "fastapi.endpoint",
                "kind": "INTERNAL",
                "parent": "GET /items/{number}",
                "attributes": {
                    "code.function.name": "tests.unit.test_exchange.test_fastapi_keeps_its_own_span_and_gets_the_summary.<locals>.read"
                },
            },
            {
                "name": "fastapi.serialization",
                "kind": "INTERNAL",
                "parent": "GET /items/{number}",
                "attributes": {
                    "code.function.name": "tests.unit.test_exchange.test_fastapi_keeps_its_own_span_and_gets_the_summary.<locals>.read"
                },
            },
        ]
    )


async def test_a_plain_app_has_no_route(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await exchange(watched(app), http_scope("/some/where", method="BREW"))
    span = server_span(signals)
    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"
    assert span.attributes["url.path"] == "/some/where"
    assert span.attributes["toolbar.framework"] == "asgi"
    assert "http.route" not in span.attributes


@pytest.mark.parametrize(
    ("path", "route"), [("/sub/items/3", "/sub/items/{id}"), ("/sub/other/3", "/sub/other/{id}")]
)
async def test_the_route_of_a_mounted_endpoint(signals: Telemetry, path: str, route: str) -> None:
    await exchange(watched(STARLETTE), http_scope(path))
    assert server_span(signals).attributes["http.route"] == route


async def test_what_the_app_raises_is_on_the_span_and_goes_on(signals: Telemetry) -> None:
    done = await exchange(watched(STARLETTE), http_scope("/boom"))
    assert isinstance(done.error, RuntimeError)
    span = server_span(signals)
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes["error.type"] == "RuntimeError"
    (event,) = span.events
    assert event.attributes["exception.message"] == "no such luck"
    assert "in boom" in event.attributes["exception.stacktrace"]


async def test_what_a_fastapi_app_raises_is_on_its_span(signals: Telemetry) -> None:
    app = FastAPI()

    @app.get("/boom")
    async def fail() -> None:
        raise ValueError("inside")

    done = await exchange(watched(app), http_scope("/boom"))
    assert isinstance(done.error, ValueError)
    (event,) = server_span(signals).events
    assert event.attributes["exception.message"] == "inside"


async def test_an_error_before_any_response_is_seen(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("early")

    done = await exchange(watched(app), http_scope("/"))
    assert isinstance(done.error, KeyError)
    assert server_span(signals).attributes["error.type"] == "KeyError"


async def test_a_cancelled_request_ends_its_span(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(watched(app)(http_scope("/slow"), None, None))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server_span(signals).attributes["error.type"] == "asyncio.exceptions.CancelledError"


async def test_a_streamed_response(signals: Telemetry) -> None:
    async def chunks() -> Any:
        for n in range(3):
            yield f"chunk {n}\n"

    async def page(request: Any) -> StreamingResponse:
        return StreamingResponse(chunks())

    app = Starlette(routes=[Route("/stream", page)])
    await exchange(watched(app), http_scope("/stream"))
    span = server_span(signals)
    assert span.attributes["http.response.body.size"] == 24
    assert span.attributes["toolbar.response.chunks"] == 4
    assert span.attributes["toolbar.response.first_byte"] >= 0


async def test_a_body_that_is_read_is_measured(signals: Telemetry) -> None:
    async def echo(request: Any) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    app = Starlette(routes=[Route("/echo", echo, methods=["POST"])])
    done = await exchange(
        watched(app), http_scope("/echo", method="POST"), body=[b"one", b"two", b"three"]
    )
    assert done.body == b"onetwothree"
    attributes = server_span(signals).attributes
    assert attributes["http.request.body.size"] == 11
    assert attributes["http.response.body.size"] == 11


async def test_many_headers_do_not_push_out_other_facts(signals: Telemetry) -> None:
    headers = [(b"host", b"h")] + [(f"x-{n}".encode(), b"v") for n in range(200)]

    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("", headers={f"y-{n}": "v" for n in range(200)})

    app = Starlette(routes=[Route("/", page)])
    await exchange(watched(app), http_scope("/", headers=headers))
    attributes = server_span(signals).attributes
    assert attributes["http.request.method"] == "GET"
    assert attributes["toolbar.queries.count"] == 0
    assert len([key for key in attributes if key.startswith("http.request.header.")]) == 32
    assert len(attributes["toolbar.request.headers.more"]) == 169
    assert len(attributes["toolbar.response.headers.more"]) == 170


async def test_the_callers_trace_is_continued(signals: Telemetry) -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    headers = [(b"host", b"h"), (b"traceparent", parent.encode())]
    await exchange(watched(STARLETTE), http_scope("/items/1", headers=headers))
    span = server_span(signals)
    assert f"{span.context.trace_id:032x}" == "a" * 32
    assert f"{span.parent.span_id:016x}" == "b" * 16
    assert span.parent.is_remote


@pytest.mark.parametrize(
    "headers",
    [
        [(b"traceparent", b"00-zz-zz-zz")],
        [(b"traceparent", b"\xff\xfe")],
        [(b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")],
        [(b"tracestate", b"=,=,=,\xff")],
        [(b"baggage", b",".join(b"k%d=v" % n for n in range(8000)))],
    ],
)
async def test_malformed_propagation_means_a_fresh_trace(
    signals: Telemetry, headers: list[tuple[bytes, bytes]]
) -> None:
    done = await exchange(watched(STARLETTE), http_scope("/items/1", headers=headers))
    assert done.status == 200
    assert server_span(signals).parent is None


async def test_scopes_with_missing_and_odd_parts(signals: Telemetry) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    bare = {"type": "http"}
    odd = http_scope(
        "/\udcff",
        query_string=b"\xff\xfe=\x00",
        headers=[(b"\xff", b"\xfe"), (b"Cookie", b"a=b; c"), (b"host", b"[::1]:99999999")],
        client=None,
        server=("/run/app.sock", None),
        path_params={"x": object()},
    )
    for scope in (bare, odd):
        done = await exchange(watched(app), dict(scope))
        assert done.error is None
        assert [message["type"] for message in done.messages] == [
            "http.response.start",
            "http.response.body",
        ]
    assert len(signals.exported()) == 2


async def test_a_request_is_visible_while_it_runs(signals: Telemetry) -> None:
    held = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await held.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    task = asyncio.create_task(exchange(watched(app), http_scope("/held")))
    await asyncio.sleep(0.01)
    ((running,), _) = signals.processor.live()
    assert running.name == "GET"
    assert running.end_time is None
    held.set()
    await task
    assert signals.processor.live() == ([], [])
    assert signals.store.list(Query()).traces[0].status == 200


async def test_work_after_the_response_is_marked(signals: Telemetry) -> None:
    tracer = trace.get_tracer("app")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        with tracer.start_as_current_span("cleanup"):
            pass

    await exchange(watched(app), http_scope("/"))
    spans = {span.name: span for span in signals.exported()}
    assert spans["cleanup"].attributes["toolbar.detached"] is True
    assert spans["cleanup"].parent.span_id == spans["GET"].context.span_id


async def test_what_is_not_sampled_is_seen_here_and_exported_nowhere() -> None:
    signals = telemetry(sampler=ALWAYS_OFF)
    with made_global(signals.provider):
        await exchange(watched(STARLETTE), http_scope("/items/1"))
    assert signals.exported() == []
    assert [each.name for each in signals.store.list(Query()).traces] == ["GET /items/{id}"]


async def test_without_a_provider_the_app_just_runs() -> None:
    with made_global(trace.NoOpTracerProvider()):  # pyright: ignore[reportArgumentType]
        done = await exchange(watched(STARLETTE), http_scope("/items/1"))
    assert done.status == 200


async def test_a_server_span_made_outside_of_us_is_taken(signals: Telemetry) -> None:
    tracer = trace.get_tracer("outer")
    with tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER):
        await exchange(watched(STARLETTE), http_scope("/items/1"))
    span = server_span(signals)
    assert span.attributes["http.route"] == "/items/{id}"
    assert span.attributes["toolbar.framework"] == "starlette"


async def test_a_mounted_fastapi_app_makes_no_second_server_span(signals: Telemetry) -> None:
    inner = FastAPI()

    @inner.get("/x")
    async def x() -> str:
        return "x"

    outer = Starlette(routes=[Mount("/api", app=inner)])
    assert (await exchange(watched(outer), http_scope("/api/x"))).status == 200
    assert server_span(signals).attributes["toolbar.framework"] == "starlette"
    spans = {(span.name, span.kind.name): span for span in signals.exported()}
    mounted = spans["GET /x", "INTERNAL"]
    assert mounted.parent.span_id == server_span(signals).context.span_id
    assert spans["fastapi.endpoint", "INTERNAL"].parent.span_id == mounted.context.span_id


async def test_fastapi_with_its_tracing_off_is_seen_by_a_span_of_ours(signals: Telemetry) -> None:
    app = FastAPI(telemetry={"tracing": False})

    @app.get("/x")
    async def x() -> str:
        return "x"

    assert (await exchange(watched(app), http_scope("/x"))).status == 200
    assert server_span(signals).attributes["http.route"] == "/x"


async def test_options_bound_the_spans_of_a_request() -> None:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from otel_toolbar.signals.core import light

    signals = telemetry()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for n in range(10):
            light.start(f"s{n}", trace.SpanKind.INTERNAL, {}, InstrumentationScope("t")).end()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    with made_global(signals.provider):
        await exchange(watched(app, Settings(max_spans=4)), http_scope("/"))
    names = [span.name for span in signals.exported()]
    assert names == ["s0", "s1", "s2", "s3", "GET"]
    assert server_span(signals).attributes["toolbar.dropped"] == 6


async def test_headers_are_bounded(signals: Telemetry) -> None:
    headers = [(b"x-%d" % number, b"v" * 60_000) for number in range(300)]
    await exchange(watched(STARLETTE), http_scope("/items/1", headers=headers))
    attributes = server_span(signals).attributes
    assert len(attributes["http.request.header.x-0"][0]) == 8193
    more = attributes["toolbar.request.headers.more"]
    assert (len(more), more[-1]) == (201, "… 68 more")


class Named(TextMapPropagator):
    """A propagator of others: it reads a header of its own."""

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        (given,) = getter.get(carrier, "x-flow")
        return baggage.set_baggage("flow", given, context)

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None: ...

    @property
    def fields(self) -> set[str]:
        return {"x-flow"}


@pytest.mark.parametrize(
    ("propagator", "headers", "told"),
    [
        (W3C, [(b"baggage", b"flow=given")], "given"),
        (W3C, [], None),
        (Named(), [(b"x-flow", b"named")], "named"),
        (CompositePropagator([*W3C_PARTS, Named()]), [(b"x-flow", b"named")], "named"),
    ],
    ids=["the default", "the default, without its headers", "another", "the default and another"],
)
async def test_whatever_propagator_is_set_is_asked(
    signals: Telemetry, propagator: Any, headers: list[tuple[bytes, bytes]], told: str | None
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(baggage.get_baggage("flow"))
        await PlainTextResponse("ok")(scope, receive, send)

    seen: list[Any] = []
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(propagator)
    try:
        await exchange(watched(app), http_scope("/", headers=headers))
    finally:
        propagate.set_global_textmap(before)
    assert seen == [told]
    assert server_span(signals).parent is None


async def test_headers_of_whatever_bytes_they_are(signals: Telemetry) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = [
        [b"traceparent", parent.encode()],
        [b"x-list", b"1"],
        (b"x-array", bytearray(b"2")),
        (bytearray(b"x-name"), memoryview(b"3")),
        (b"x-list", b"4"),
    ]
    for _ in range(2):
        await exchange(watched(PlainTextResponse("ok")), http_scope("/", headers=headers))
    for span in (each for each in signals.exported() if each.kind is trace.SpanKind.SERVER):
        told = span.attributes or {}
        assert told["http.request.header.x-list"] == ("1", "4")
        assert told["http.request.header.x-array"] == ("2",)
        assert told["http.request.header.x-name"] == ("3",)
        assert span.parent is not None
        assert f"{span.parent.trace_id:032x}" in parent
