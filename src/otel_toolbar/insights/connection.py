"""Websocket connections: which spans are one and its messages, its totals, its state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from otel_toolbar import semconv
from otel_toolbar.model import Kind, Span, Trace

from . import close_codes, reading

State = Literal["connecting", "open", "closing", "closed", "denied"]
"""Of a connection; `denied` for one that the app answered with an HTTP response, or closed, before
it was open."""

Direction = Literal["receive", "transmit"]
"""As the server sees it."""

RECENT = 10
"""Seconds over which the rate of an open connection is taken."""

_OF_MESSAGES = (
    semconv.WEBSOCKET_MESSAGE_TYPE,
    semconv.WEBSOCKET_MESSAGE_SIZE,
    semconv.NETWORK_IO_DIRECTION,
)


@dataclass(frozen=True)
class Traffic:
    """A connection in a line; totals count messages without a span, too."""

    state: State
    close_code: int | None
    received: int
    sent: int
    bytes_received: int
    bytes_sent: int
    rate: float
    """Messages/s both ways: of the last `RECENT` seconds while it is open, then over all its time."""


def is_connection(span: Span) -> bool:
    return span.kind is Kind.SERVER and reading.is_websocket(span)


def is_message(span: Span) -> bool:
    return (
        span.kind is not Kind.SERVER
        and reading.is_websocket(span)
        and any(key in span.attributes for key in _OF_MESSAGES)
    )


def direction(span: Span) -> Direction:
    """Which way a message went."""
    known = reading.text(span, semconv.NETWORK_IO_DIRECTION)
    sent = known == "transmit" or (known != "receive" and span.kind is Kind.PRODUCER)
    return "transmit" if sent else "receive"


def size(span: Span) -> int:
    """Bytes of a message."""
    return max(0, reading.integer(span, semconv.WEBSOCKET_MESSAGE_SIZE) or 0)


def state(span: Span) -> State:
    """How far a connection is."""
    known = reading.text(span, semconv.WEBSOCKET_STATE)
    if known in ("connecting", "denied") and not span.running:
        return "denied"
    if not span.running:
        return "denied" if (reading.status_code(span) or 0) >= 300 else "closed"
    return known if known in ("open", "closing", "closed", "connecting") else "connecting"


def client(span: Span) -> str:
    """Address and port of who connected."""
    address = reading.text(span, semconv.CLIENT_ADDRESS, semconv.OLD_HTTP_CLIENT_IP)
    port = reading.integer(span, semconv.CLIENT_PORT)
    return f"{address}:{port}" if address and port is not None else address


def offered(span: Span) -> tuple[str, ...]:
    """The subprotocols that the client offered."""
    told = reading.strings(span.attributes.get(semconv.WEBSOCKET_SUBPROTOCOLS_OFFERED))
    header = ",".join(reading.request_headers(span).get("sec-websocket-protocol", ()))
    return told or tuple(part.strip() for part in header.split(",") if part.strip())


def close_code(span: Span) -> int | None:
    return reading.integer(span, semconv.WEBSOCKET_CLOSE_CODE)


def abnormal(span: Span) -> bool:
    """True when it was denied, or its end says that something went wrong."""
    code = close_code(span)
    if code is not None:
        return close_codes.meaning(code).abnormal
    initiator = reading.text(span, semconv.WEBSOCKET_CLOSE_INITIATOR)
    return state(span) == "denied" or close_codes.without_code(initiator).abnormal


def traffic(trace: Trace, span: Span, messages: Sequence[Span] | None = None) -> Traffic:
    """The line of a connection; `messages` are its spans where they are known already."""
    if messages is None:
        messages = [each for each in trace.spans if is_message(each)]
    received = [each for each in messages if direction(each) == "receive"]
    sent = [each for each in messages if direction(each) == "transmit"]

    def told(key: str, counted: int) -> int:
        return max(reading.integer(span, key) or 0, counted)

    counts = (
        told(semconv.WEBSOCKET_MESSAGES_RECEIVED, len(received)),
        told(semconv.WEBSOCKET_MESSAGES_SENT, len(sent)),
    )
    return Traffic(
        state=state(span),
        close_code=close_code(span),
        received=counts[0],
        sent=counts[1],
        bytes_received=told(semconv.WEBSOCKET_BYTES_RECEIVED, sum(map(size, received))),
        bytes_sent=told(semconv.WEBSOCKET_BYTES_SENT, sum(map(size, sent))),
        rate=_rate(span, messages, sum(counts), trace.now),
    )


def _rate(span: Span, messages: Sequence[Span], total: int, now: int) -> float:
    """Messages/s, to a tenth: a list that is looked at live should not change with every breath."""
    if not span.running:
        lasted = span.duration_at(now) / 1e9
        return round(total / lasted, 1) if lasted > 0 else 0.0
    since = max(now - RECENT * 1_000_000_000, span.start)
    recent = [each.start for each in messages if since <= each.start <= now]
    lasted = max(now - since, 1_000_000_000)
    if len(recent) == len(messages) < total:
        # All that is kept is recent, and there was more: what is kept is what can be measured.
        lasted = max(now - min(recent, default=now), 1_000_000)
    return round(len(recent) / (lasted / 1e9), 1)
