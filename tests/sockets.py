"""Traces of websocket connections, as the names in `semconv` have them, to the length that is asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from otel_toolbar.model import Event, Kind, Span, Status, Trace, Value

TRACE = "c0ffee00" * 4
BEGIN = 1_790_000_000_000_000_000
MS = 1_000_000


def connection(
    messages: int = 40,
    *,
    trace_id: str = TRACE,
    live: bool = False,
    total: int | None = None,
    begin: int = BEGIN,
    step: int = 250,
    content: dict[int, dict[str, Value]] | None = None,
    **attributes: Value,
) -> Trace:
    """A connection on which each received message makes a query and is answered.

    `messages` have a span, of `total`; `step` ms lie between two. `content` replaces the attributes
    of messages by their number, counted from 0. `attributes` are added to the connection's, `_` in
    their names standing for a dot.
    """
    total = messages if total is None else total
    end = begin + (messages * step + 500) * MS
    facts: dict[str, Value] = {
        "network.protocol.name": "websocket",
        "http.route": "/chat/{room}",
        "url.path": "/chat/blue",
        "url.query": "since=12",
        "url.scheme": "ws",
        "client.address": "127.0.0.1",
        "client.port": 50123,
        "http.request.header.host": ("localhost:8000",),
        "http.request.header.sec-websocket-protocol": ("chat.v2, chat.v1",),
        "http.request.header.cookie": ("session=***",),
        "http.response.header.x-room": ("blue",),
        "websocket.subprotocol": "chat.v2",
        "websocket.subprotocols.offered": ("chat.v2", "chat.v1"),
        "websocket.time.open": 0.012,
        "websocket.state": "open" if live else "closed",
        "websocket.messages.received": total // 2,
        "websocket.messages.sent": total - total // 2,
        "websocket.bytes.received": total // 2 * 60,
        "websocket.bytes.sent": (total - total // 2) * 90,
        "websocket.messages.dropped": total - messages,
    }
    if not live:
        facts |= {
            "websocket.close.code": 1000,
            "websocket.close.initiator": "client",
            "websocket.time.closing": (end - begin) / 1e9 - 0.03,
            "websocket.time.closed": (end - begin) / 1e9,
        }
    facts |= {name.replace("_", "."): value for name, value in attributes.items()}
    main = Span(
        trace_id, _id(0), None, "/chat/{room}", Kind.SERVER, begin, None if live else end, facts,
        resource={"service.name": "chat", "toolbar.process.id": "p-1"},
    )  # fmt: skip
    spans = [main]
    for number in range(messages):
        spans += _message(number, main, begin + (100 + number * step) * MS, (content or {}))
    return Trace.of(trace_id, spans, end)


def ended(trace: Trace, code: int = 1000, **attributes: Value) -> Trace:
    """A live connection, closed meanwhile."""
    main = trace.spans[0]
    facts = {
        **main.attributes,
        "websocket.state": "closed",
        "websocket.close.code": code,
        **{name.replace("_", "."): value for name, value in attributes.items()},
    }
    return Trace.of(
        trace.trace_id,
        [replace(main, end=trace.now, attributes=facts), *trace.spans[1:]],
        trace.now,
    )


def failed(trace: Trace) -> Trace:
    """A connection whose handler raised."""
    done = ended(trace, 1011, websocket_close_initiator="server")
    error = Event(
        "exception", trace.now, {"exception.type": "KeyError", "exception.message": "'room'"}
    )
    main = replace(done.spans[0], status=Status.ERROR, events=(*done.spans[0].events, error))
    return Trace.of(trace.trace_id, [main, *done.spans[1:]], trace.now)


def _message(
    number: int, main: Span, start: int, content: dict[int, dict[str, Value]]
) -> list[Span]:
    """A received message with a query, or the sent one that answers the one before."""
    sent = number % 2 == 1
    body: dict[str, Any] = {"id": number, "text": f"message {number}", "tags": ["a", {"b": None}]}
    text = json.dumps(body)
    facts: dict[str, Value] = {
        "network.io.direction": "transmit" if sent else "receive",
        "websocket.message.type": "text",
        "websocket.message.size": len(text),
        "websocket.message.text": text,
    }
    facts = content.get(number, facts) | {
        "network.io.direction": "transmit" if sent else "receive",
        "websocket.message.number": number // 2 + 1,
    }
    span = Span(
        main.trace_id, _id(number * 2 + 1), _id(number * 2 - 1) if sent else main.span_id,
        "websocket send" if sent else "websocket receive", Kind.PRODUCER if sent else Kind.CONSUMER,
        start, start + (1 if sent else 300) * MS, facts, resource=main.resource,
    )  # fmt: skip
    if sent:
        return [span]
    query = Span(
        main.trace_id, _id(number * 2 + 2), span.span_id, "SELECT rooms", Kind.CLIENT,
        start + 2 * MS, start + 9 * MS,
        {"db.system.name": "sqlite", "db.query.text": "SELECT * FROM rooms WHERE id = ?"},
        resource=main.resource,
    )  # fmt: skip
    return [span, query]


def _id(number: int) -> str:
    return f"{number + 0xB0000:016x}"
