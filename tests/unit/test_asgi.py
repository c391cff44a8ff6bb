"""The outermost layer as a server runs it: transparent, isolated, and never in the app's way."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import logging
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from otel_toolbar import guard
from otel_toolbar.distro import providers
from otel_toolbar.distro.asgi import ToolbarApp, ToolbarMiddleware, wrap
from otel_toolbar.distro.runtime import Runtime
from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from otel_toolbar.signals.server import attributes
from otel_toolbar.store.base import Query
from tests.telemetry import Exchanged, exchange, http_scope, made_global

EXAMPLES = int(os.environ.get("TOOLBAR_TEST_EXAMPLES", "3000"))
TAG = re.compile(rb"<script[^>]*/_toolbar/.*?</noscript>", re.DOTALL)
OURS = (b"server-timing", b"x-trace-id")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A runtime of its own, with the query instrumentation on."""
    found = Runtime(Settings())
    provider = providers.TracerProvider()
    providers._stand_first(provider, found.processor)
    providers._record_everything(provider)
    queries.install(found.options)
    with made_global(provider):
        yield found


@pytest.fixture
async def engine() -> AsyncIterator[AsyncEngine]:
    found = create_async_engine("sqlite+aiosqlite://")
    async with found.begin() as connection:
        await connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)"))
        for number in range(1, 60):
            await connection.execute(
                text("INSERT INTO item VALUES (:id, :name)"), {"id": number, "name": f"n{number}"}
            )
    yield found
    await found.dispose()


def shop(engine: AsyncEngine) -> Starlette:
    async def page(request: Request) -> HTMLResponse:
        count = request.path_params["count"]
        names = []
        with trace.get_tracer("app").start_as_current_span("work of the app"):
            pass
        async with engine.connect() as connection:
            for number in range(1, count + 1):
                await asyncio.sleep(0)
                found = await connection.execute(
                    text("SELECT name FROM item WHERE id = :id"), {"id": number}
                )
                names.append(found.scalar_one())
        return HTMLResponse(f"<!doctype html><html><head></head><body>{names}</body></html>")

    return Starlette(routes=[Route("/page/{count:int}", page)])


def without_ours(done: Exchanged) -> list[dict[str, Any]]:
    """The messages as they would be without us, Content-Length apart."""
    plain = []
    for message in done.messages:
        message = dict(message)
        if "headers" in message:
            message["headers"] = [
                (name, value)
                for name, value in message["headers"]
                if name not in (*OURS, b"content-length")
            ]
        if "body" in message:
            message["body"] = TAG.sub(b"", message["body"])
        plain.append(message)
    return plain


async def test_a_page_gets_the_tag_and_names_its_trace(
    runtime: Runtime, engine: AsyncEngine
) -> None:
    app = ToolbarApp(shop(engine), runtime)
    bare = await exchange(shop(engine), http_scope("/page/3"))
    done = await exchange(app, http_scope("/page/3"))
    headers = dict(done.headers)
    assert int(headers[b"content-length"]) == len(done.body)
    trace_id = headers[b"x-trace-id"].decode()
    assert f'data-trace="{trace_id}"'.encode() in done.body
    assert headers[b"server-timing"].startswith(f'traceparent;desc="00-{trace_id}-'.encode())
    assert without_ours(done) == without_ours(bare)
    (summary,) = runtime.store.list(Query(kind="http")).traces
    assert (summary.trace_id, summary.counts.queries) == (trace_id, 3)


REFUSED = [
    {"client": ("10.0.0.7", 1)},
    {"headers": [(b"host", b"evil.example")]},
    {"headers": [(b"host", b"localhost"), (b"x-forwarded-for", b"127.0.0.1")]},
    {"headers": []},
    {"client": None},
]


@pytest.mark.parametrize("more", REFUSED)
@pytest.mark.parametrize("path", ["/page/1", "/_toolbar", "/_toolbar/api/traces", "/_toolbar/x"])
async def test_those_who_may_not_see_it_get_the_apps_own_answer(
    runtime: Runtime, engine: AsyncEngine, path: str, more: dict[str, Any]
) -> None:
    bare = await exchange(shop(engine), http_scope(path, **more))
    done = await exchange(ToolbarApp(shop(engine), runtime), http_scope(path, **more))
    assert done.messages == bare.messages


async def test_the_toolbars_own_pages_are_not_traced(runtime: Runtime, engine: AsyncEngine) -> None:
    app = ToolbarApp(shop(engine), runtime)
    for path in ("/_toolbar", "/_toolbar/", "/_toolbar/api/traces", "/_toolbar/nothing"):
        assert b"server-timing" not in dict((await exchange(app, http_scope(path))).headers)
    assert runtime.store.list(Query(kind="http")).traces == []


async def test_excluded_paths_are_not_watched(engine: AsyncEngine, runtime: Runtime) -> None:
    excluding = Runtime(Settings(exclude=("^/page/1$", "/health")))
    app = ToolbarApp(shop(engine), excluding)
    bare = await exchange(shop(engine), http_scope("/page/1"))
    assert (await exchange(app, http_scope("/page/1"))).messages == bare.messages
    opted_out = http_scope("/page/2", otel_toolbar=False)
    assert b"x-trace-id" not in dict((await exchange(app, opted_out)).headers)
    assert runtime.store.list(Query(q="page")).traces == []
    assert b"x-trace-id" in dict((await exchange(app, http_scope("/page/2"))).headers)


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_no_facts_of_one_request_stand_on_another(name: str, tmp_path: Path) -> None:
    """500 requests at once, each with its own number of queries and its own words."""
    module = pytest.importorskip(name, reason=f"{name} is missing: pip install {name}")
    loop = module.new_event_loop()
    try:
        loop.run_until_complete(_isolated(f"sqlite+aiosqlite:///{tmp_path}/items.sqlite"))
    finally:
        loop.close()


async def _isolated(url: str) -> None:
    options = Settings(store_max_traces=1000)
    runtime = Runtime(options)
    provider = providers.TracerProvider()
    providers._stand_first(provider, runtime.processor)
    queries.install(options)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS item (id INTEGER, name TEXT)"))
        for number in range(1, 10):
            await connection.execute(
                text("INSERT INTO item VALUES (:i, :n)"), {"i": number, "n": str(number)}
            )
    app = ToolbarApp(shop(engine), runtime)
    counts = [random.Random(n).randint(0, 9) for n in range(500)]
    with made_global(provider):
        scopes = [
            http_scope(f"/page/{count}", query_string=f"me={n}".encode())
            for n, count in enumerate(counts)
        ]
        done = await asyncio.gather(*(exchange(app, scope) for scope in scopes))
    await engine.dispose()
    for n, (count, each) in enumerate(zip(counts, done, strict=True)):
        found = runtime.store.get(dict(each.headers)[b"x-trace-id"].decode())
        assert found is not None
        (server,) = [span for span in found.spans if span.name == "GET /page/{count}"]
        assert server.attributes["url.query"] == f"me={n}"
        assert server.attributes["toolbar.queries.count"] == count
        selects = [span for span in found.spans if span.name == "SELECT item"]
        values = [span.attributes["db.query.parameter.id"] for span in selects]
        assert values == [str(number) for number in range(1, count + 1)]
        others = {"connect", "wait for a connection", "ROLLBACK"}
        assert sum(span.name not in others for span in found.spans) == 2 + count


HOOKS = [
    "otel_toolbar.signals.server.exchange:Exchange.__init__",
    "otel_toolbar.signals.server.exchange:Exchange.summary",
    "otel_toolbar.signals.server.exchange:Exchange.traceparent",
    "otel_toolbar.signals.server.exchange:Exchange._start_own_span",
    "otel_toolbar.signals.server.exchange:Exchange._make_current",
    "otel_toolbar.signals.server.exchange:_extract",
    "otel_toolbar.signals.server.attributes:of_request",
    "otel_toolbar.signals.server.attributes:of_headers",
    "otel_toolbar.signals.server.attributes:of_parameters",
    "otel_toolbar.signals.server.route:of",
    "otel_toolbar.signals.core.masking:header",
    "otel_toolbar.signals.core.masking:value",
    "otel_toolbar.signals.core.callsite:stack",
    "otel_toolbar.signals.core.light:start",
    "otel_toolbar.signals.core.light:late",
    "otel_toolbar.signals.core.light:LightSpan.end",
    "otel_toolbar.signals.core.light:StoredSpan.__init__",
    "otel_toolbar.signals.core.processor:adopt",
    "otel_toolbar.signals.core.processor:set_clean",
    "otel_toolbar.signals.core.processor:ToolbarProcessor._remember",
    "otel_toolbar.signals.core.processor:ToolbarProcessor._drain",
    "otel_toolbar.signals.core.record:Record.keep_back",
    "otel_toolbar.signals.queries.query:Query.__init__",
    "otel_toolbar.signals.queries.query:Query.end",
    "otel_toolbar.signals.queries.query:Query.fetched",
    "otel_toolbar.signals.queries.query:Queries.summary",
    "otel_toolbar.signals.queries.database:Database.statement",
    "otel_toolbar.insights.n_plus_one:Detector.judge",
    "otel_toolbar.store.memory:MemoryStore.add",
    "otel_toolbar.distro.asgi:Injector",
    "otel_toolbar.web.inject:Injector._prepare",
    "otel_toolbar.web.security:_peer_is_loopback",
]


@contextlib.contextmanager
def broken(hook: str) -> Iterator[list[int]]:
    """Make a hook raise; yields a list of its calls."""
    module_name, _, path = hook.partition(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real, calls = getattr(owner, name), list[int]()

    def fail(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise RuntimeError(f"{hook} is broken")

    setattr(owner, name, fail)
    try:
        yield calls
    finally:
        setattr(owner, name, real)


@pytest.mark.replaces
@pytest.mark.parametrize("hook", HOOKS)
async def test_a_hook_that_fails_costs_a_fact_and_nothing_else(
    hook: str, runtime: Runtime, engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    bare = await exchange(shop(engine), http_scope("/page/6"))
    app = ToolbarApp(shop(engine), runtime)
    for seen in attributes._seen.values():
        seen.clear()
    with broken(hook) as calls, caplog.at_level(logging.WARNING, "otel_toolbar"):
        done = [await exchange(app, http_scope("/page/6")) for _ in range(3)]
    assert calls, "the hook is not on the way of a request"
    for each in done:
        assert each.error is None
        assert without_ours(each) == without_ours(bare)
    lines = [record for record in caplog.records if record.name == "otel_toolbar"]
    assert len(lines) >= 1
    assert len({record.getMessage() for record in lines}) == len(lines), "reported more than once"
    # And it works again when the fault is gone.
    guard.forget()
    await exchange(app, http_scope("/page/6"))
    assert runtime.store.list(Query(kind="http")).traces[0].counts.queries == 6


@pytest.mark.replaces
@pytest.mark.parametrize("hook", HOOKS)
async def test_an_app_that_raises_raises_the_same_with_a_failing_hook(
    hook: str, runtime: Runtime, engine: AsyncEngine
) -> None:
    class OwnError(Exception):
        pass

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await shop(engine)(http_scope("/page/1"), receive, _swallow)
        raise OwnError

    with broken(hook):
        done = await exchange(ToolbarApp(app, runtime), http_scope("/"))
    assert isinstance(done.error, OwnError)


async def _swallow(message: Any) -> None: ...


header_bytes = st.binary(min_size=1, max_size=8)
headers = st.lists(st.tuples(header_bytes, header_bytes), max_size=4)
bodies = st.lists(
    st.binary(max_size=20)
    | st.sampled_from([b"<html><head>", b"<!doctype html>", b"<body>", b"</head></body>"]),
    min_size=1,
    max_size=5,
)


@st.composite
def responses(draw: Callable[..., Any]) -> tuple[list[dict[str, Any]], str]:
    """What an app might send, sensible or not, and how it ends."""
    kind = draw(st.sampled_from([b"text/html", b"text/html; charset=utf-8", b"image/png", None]))
    given = draw(headers) + ([(b"content-type", kind)] if kind else [])
    parts = draw(bodies)
    if draw(st.booleans()):
        length = sum(map(len, parts))
        given.append((b"content-length", str(length).encode()))
    start = {
        "type": "http.response.start",
        "status": draw(st.sampled_from([200, 201, 204, 206, 301, 304, 404, 500])),
        "headers": given,
    }
    messages = [start] + [
        {"type": "http.response.body", "body": part, "more_body": place < len(parts) - 1}
        for place, part in enumerate(parts)
    ]
    ending = draw(st.sampled_from(["return", "raise", "early"]))
    return (messages[: len(messages) // 2] if ending == "early" else messages), ending


@settings(max_examples=EXAMPLES // 2)
@given(
    responses(),
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.binary(max_size=20),
    headers,
    st.booleans(),
)
def test_the_app_is_the_same_with_us_and_without_us(
    response: tuple[list[dict[str, Any]], str],
    method: str,
    query: bytes,
    sent: list[tuple[bytes, bytes]],
    local: bool,
) -> None:
    messages, ending = response
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append({key: value for key, value in scope.items() if key != "state"})
        seen.append(await receive())
        for message in messages:
            await send(message)
        if ending == "raise":
            raise ZeroDivisionError

    scope = http_scope(
        "/x",
        method=method,
        query_string=query,
        headers=[(b"host", b"localhost" if local else b"elsewhere.test"), *sent],
    )
    runtime = Runtime(Settings(signals=("-process",)))  # its thread would come 3,000 times
    provider = providers.TracerProvider(shutdown_on_exit=False)
    providers._stand_first(provider, runtime.processor)
    with made_global(provider):
        done = asyncio.run(exchange(ToolbarApp(app, runtime), dict(scope), [b"body"]))
    bare = asyncio.run(exchange(app, dict(scope), [b"body"]))
    assert type(done.error) is type(bare.error)
    assert seen[:2] == seen[2:]
    assert without_ours(done) == without_ours(bare)
    if not local:
        assert done.messages == bare.messages


async def test_a_middleware_inside_the_outer_layer_steps_aside(
    runtime: Runtime, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_toolbar.distro.runtime.install", lambda **_: runtime)
    app = ToolbarApp(ToolbarMiddleware(shop(engine)), runtime)
    done = await exchange(app, http_scope("/page/1"))
    assert len(TAG.findall(done.body)) == 1
    assert len(runtime.store.list(Query(kind="http")).traces) == 1


async def test_a_middleware_by_hand_asks_everybody_for_the_token(
    engine: AsyncEngine, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_token = Runtime(Settings(token="s3cret"))
    monkeypatch.setattr("otel_toolbar.distro.runtime.install", lambda **_: with_token)
    app = ToolbarMiddleware(shop(engine))
    bare = await exchange(shop(engine), http_scope("/page/1"))
    assert (await exchange(app, http_scope("/page/1"))).messages == bare.messages
    allowed = http_scope(
        "/page/1", headers=[(b"host", b"localhost"), (b"x-toolbar-token", b"s3cret")]
    )
    assert TAG.search((await exchange(app, allowed)).body)


async def test_the_token_logs_in_and_the_cookie_stays(
    runtime: Runtime, engine: AsyncEngine
) -> None:
    app = ToolbarApp(shop(engine), Runtime(Settings(token="s3cret")))
    far = {"client": ("10.0.0.7", 1), "headers": [(b"host", b"dev.test")]}
    wrong = http_scope("/_toolbar/", query_string=b"token=guess", **far)
    assert (await exchange(app, wrong)).status == 404
    right = http_scope("/_toolbar/", query_string=b"token=s3cret", **far)
    login = await exchange(app, right)
    assert login.status == 303
    cookie = dict(login.headers)[b"set-cookie"].split(b";")[0]
    assert b"s3cret" not in cookie
    far["headers"] = [*far["headers"], (b"cookie", cookie)]
    assert (await exchange(app, http_scope("/_toolbar/", **far))).status == 200
    assert TAG.search((await exchange(app, http_scope("/page/1", **far))).body)


async def test_attributes_of_the_app_are_reached_through_the_wrapper(
    runtime: Runtime, engine: AsyncEngine
) -> None:
    app = shop(engine)
    assert ToolbarApp(app, runtime).routes == app.routes
    with pytest.raises(AttributeError):
        _ = ToolbarApp(app, runtime).nothing_of_the_kind


async def test_the_wrapper_can_be_copied(runtime: Runtime, engine: AsyncEngine) -> None:
    app = shop(engine)
    assert copy.copy(ToolbarApp(app, runtime)).app is app


async def test_switched_off_nothing_stands_in_between(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Runtime(Settings(enabled="false"))
    monkeypatch.setattr("otel_toolbar.distro.runtime.install", lambda **_: off)
    app = shop(engine)
    assert wrap(app) is app
    bare = await exchange(app, http_scope("/_toolbar"))
    assert (
        await exchange(ToolbarMiddleware(app), http_scope("/_toolbar"))
    ).messages == bare.messages


async def test_with_the_sdk_disabled_the_page_says_why_it_is_empty(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with made_global(trace.NoOpTracerProvider()):  # pyright: ignore[reportArgumentType]
        app = ToolbarApp(shop(engine), Runtime(Settings()))
        bare = await exchange(shop(engine), http_scope("/page/1"))
        assert (await exchange(app, http_scope("/page/1"))).messages == bare.messages
        page = await exchange(app, http_scope("/_toolbar"))
    assert page.status == 200
    assert b"OTEL_SDK_DISABLED" in page.body


async def test_what_an_app_queries_at_its_start_is_one_trace(
    runtime: Runtime, engine: AsyncEngine
) -> None:
    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await ask()
        await ask()
        await send({"type": "lifespan.startup.complete"})
        await ask()  # a worker that start-up has left running

    incoming = [{"type": "lifespan.startup"}]

    async def receive() -> dict[str, Any]:
        return incoming.pop()

    await engine.dispose()
    runtime.store.clear()
    await ToolbarApp(app, runtime)({"type": "lifespan"}, receive, _swallow)
    later, start = runtime.store.list(Query()).traces
    assert (start.name, start.counts.queries) == ("lifespan startup", 2)
    assert (later.name, later.counts.queries) == ("SELECT", 1)


async def test_lifespan_and_websockets_pass_through(runtime: Runtime) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})

    for kind in ("lifespan", "websocket", "something.new"):
        done = await exchange(ToolbarApp(app, runtime), {"type": kind})
        assert done.error is None
    assert seen == ["lifespan", "websocket", "something.new"]
    assert runtime.closing
