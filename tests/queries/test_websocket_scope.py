"""N+1 within one received message, and none between messages."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from otel_toolbar import semconv
from otel_toolbar.insights.n_plus_one import find
from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from otel_toolbar.signals.server import WebsocketExchange, detect
from otel_toolbar.signals.websockets import Connection, Connections
from otel_toolbar.store.base import Query
from tests.telemetry import made_global, telemetry


async def run(counts: list[int]) -> Any:
    """A connection that makes so many queries for each message."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with engine.connect() as connection:
            while (message := await receive())["type"] == "websocket.receive":
                for number in range(int(message["text"])):
                    connection.execute(sa.text("SELECT :n"), {"n": number}).scalar()
                await send({"type": "websocket.send", "text": "done"})

    incoming: list[dict[str, Any]] = [{"type": "websocket.connect"}]
    incoming += [{"type": "websocket.receive", "text": str(count)} for count in counts]
    incoming += [{"type": "websocket.disconnect", "code": 1000}]

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(_: Any) -> None:
        pass

    scope = {"type": "websocket", "path": "/feed", "headers": [], "query_string": b""}
    signals, options = telemetry(), Settings()
    queries.install(options)
    try:
        with made_global(signals.provider):
            exchange = WebsocketExchange(
                scope, detect(app), Connection(scope, Connections(options), options.max_spans)
            )
            await exchange.run(app, receive, send)
    finally:
        queries.uninstall()
        engine.dispose()
    signals.processor.force_flush()
    (summary,) = signals.store.list(Query(kind="websocket")).traces
    trace = signals.store.get(summary.trace_id)
    assert trace is not None
    return trace


async def test_within_a_message() -> None:
    trace = await run([6])
    assert trace.main.attributes[semconv.N_PLUS_ONE_COUNT] == 1
    (group,) = [g for g in find(trace, 5, 50_000_000).n_plus_one if g.warning]
    assert len(group.spans) == 6


async def test_not_between_messages() -> None:
    trace = await run([1] * 12)
    assert trace.main.attributes[semconv.N_PLUS_ONE_COUNT] == 0
    assert not [group for group in find(trace, 5, 50_000_000).n_plus_one if group.warning]
