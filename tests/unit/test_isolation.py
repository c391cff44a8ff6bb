"""Promise 2 where contexts are not what one thinks: left over from another request, or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from otel_toolbar.distro import providers
from otel_toolbar.distro.asgi import ToolbarApp
from otel_toolbar.distro.runtime import Runtime
from otel_toolbar.insights import reading
from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from otel_toolbar.store.base import Query
from tests.telemetry import exchange, hook_frameworks, http_scope, made_global

hook_frameworks()


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    found = Runtime(Settings(exclude=("/excluded",)))
    provider = providers.TracerProvider()
    providers._stand_first(provider, found.processor)
    queries.install(found.options)
    with made_global(provider):
        yield found


@pytest.fixture
async def engine(tmp_path: Any) -> AsyncIterator[AsyncEngine]:
    found = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/isolation.db")
    yield found
    await found.dispose()


async def ask(engine: AsyncEngine, times: int) -> None:
    async with engine.connect() as connection:
        for _ in range(times):
            await connection.execute(text("SELECT 1"))


def starlette(engine: AsyncEngine) -> Any:
    async def page(request: Request) -> PlainTextResponse:
        await ask(engine, request.path_params["count"])
        return PlainTextResponse("page")

    paths = ("/page/{count:int}", "/excluded/{count:int}")
    return Starlette(routes=[Route(path, page) for path in paths])


def fastapi(engine: AsyncEngine) -> Any:
    app = FastAPI()

    async def page(count: int) -> None:
        await ask(engine, count)

    app.get("/page/{count}")(page)
    app.get("/excluded/{count}")(page)
    return app


def counts(runtime: Runtime) -> dict[str, int]:
    """Queries by name of the trace; every request is to have a trace of its own."""
    traces = runtime.store.list(Query(limit=500, kind="http")).traces
    found = {trace.name: trace.counts.queries for trace in traces}
    assert len(found) == len(traces)
    return found


def once_answered(app: Any, then: Any) -> Any:
    """An app whose server starts the next request while it still runs, as uvicorn does."""
    started: list[asyncio.Task[Any]] = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        async def send_and_start(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not started:
                started.append(asyncio.create_task(then()))
                await asyncio.sleep(0.05)  # the next request runs before this one has ended

        await app(scope, receive, send_and_start)
        await asyncio.gather(*started)

    return outer


@pytest.mark.parametrize("make", [starlette, fastapi])
async def test_a_request_that_was_started_in_the_context_of_another(
    runtime: Runtime, engine: AsyncEngine, make: Any
) -> None:
    app = ToolbarApp(make(engine), runtime)

    async def next_one() -> None:
        other = ToolbarApp(make(engine), runtime)
        assert (await exchange(other, http_scope("/page/3"))).status == 200
        assert (await exchange(other, http_scope("/excluded/7"))).status == 200

    assert (await exchange(once_answered(app, next_one), http_scope("/page/2"))).status == 200
    traces = runtime.store.list(Query(kind="http")).traces
    assert sorted(trace.counts.queries for trace in traces if trace.name.endswith("}")) in (
        [2, 3],
        [2, 3, 7],  # FastAPI makes a span of its own, in a trace of its own
    )


async def test_an_app_that_calls_itself(runtime: Runtime, engine: AsyncEngine) -> None:
    app = FastAPI()

    async def call(target: Any) -> None:
        transport = httpx.ASGITransport(app=target)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/inner")).status_code == 200

    @app.get("/inner")
    async def inner() -> None:
        await ask(engine, 5)

    @app.get("/bare")
    async def bare() -> None:
        await ask(engine, 1)
        await call(app)

    @app.get("/wrapped")
    async def wrapped() -> None:
        await ask(engine, 2)
        await call(outermost)

    outermost = ToolbarApp(app, runtime)
    await exchange(outermost, http_scope("/bare"))
    assert counts(runtime) == {"GET /bare": 6}
    runtime.store.clear()
    await exchange(outermost, http_scope("/wrapped"))
    assert counts(runtime) == {"GET /wrapped": 2, "GET /inner": 5}


async def test_two_requests_of_one_callers_trace(runtime: Runtime, engine: AsyncEngine) -> None:
    app = ToolbarApp(starlette(engine), runtime)
    parent = (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    scopes = [
        http_scope(f"/page/{count}", headers=[(b"host", b"localhost"), parent]) for count in (1, 4)
    ]
    await asyncio.gather(*(exchange(app, scope) for scope in scopes))
    trace_ = runtime.store.get("a" * 32)
    assert trace_ is not None
    servers = [span for span in trace_.spans if span.kind.value == "server"]
    below = {
        span.span_id: sum(
            reading.is_query(child) for child in trace_.children.get(span.span_id, ())
        )
        for span in servers
    }
    assert {below[span.span_id] for span in servers} == {1, 4}
    assert all(span.attributes["toolbar.queries.count"] == below[span.span_id] for span in servers)


async def test_work_that_outlives_its_request_while_others_run(
    runtime: Runtime, engine: AsyncEngine
) -> None:
    go_on = asyncio.Event()
    left: list[asyncio.Task[None]] = []

    async def later() -> None:
        await go_on.wait()
        await ask(engine, 9)
        with trace.get_tracer("app").start_as_current_span("later"):
            pass

    async def leaves(request: Request) -> PlainTextResponse:
        left.append(asyncio.create_task(later()))
        return PlainTextResponse("left")

    async def waits(request: Request) -> PlainTextResponse:
        go_on.set()
        await asyncio.gather(*left)
        await ask(engine, 1)
        return PlainTextResponse("waited")

    app = ToolbarApp(Starlette(routes=[Route("/leaves", leaves), Route("/waits", waits)]), runtime)
    await exchange(app, http_scope("/leaves"))
    await exchange(app, http_scope("/waits"))
    traces = {trace.name: trace for trace in runtime.store.list(Query()).traces}
    assert traces["GET /waits"].counts.spans == 2
    assert traces["GET /leaves"].counts.queries == 0, "detached work is not counted"
    assert traces["GET /leaves"].counts.spans == 12, "with the connect of a second connection"


async def test_queries_in_threads(runtime: Runtime, tmp_path: Any) -> None:
    import contextvars

    from sqlalchemy import create_engine
    from starlette.concurrency import run_in_threadpool

    engine = create_engine(f"sqlite:///{tmp_path}/threads.db")

    def ask_once() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    async def page(request: Request) -> PlainTextResponse:
        loop = asyncio.get_running_loop()
        for _ in range(request.path_params["count"]):
            await asyncio.to_thread(ask_once)
            await run_in_threadpool(ask_once)
            await loop.run_in_executor(None, contextvars.copy_context().run, ask_once)
            await loop.run_in_executor(None, ask_once)  # nobody's: it has no context
        return PlainTextResponse("page")

    app = ToolbarApp(Starlette(routes=[Route("/{count:int}", page)]), runtime)
    await asyncio.gather(*(exchange(app, http_scope(f"/{count}")) for count in (1, 2, 3)))
    traces = runtime.store.list(Query(kind="http")).traces
    assert sorted(trace.counts.queries for trace in traces) == [3, 6, 9]
    engine.dispose()
