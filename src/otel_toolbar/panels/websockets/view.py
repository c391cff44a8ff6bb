"""Websocket connections: state, totals, every message that was kept and what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from otel_toolbar import semconv
from otel_toolbar.insights import close_codes, connection, reading
from otel_toolbar.insights.connection import State
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.contract import Badge, Level
from otel_toolbar.panels.shared import Field, exception, seconds, title
from otel_toolbar.settings import Settings

from . import message
from .message import Exchange, Message, by_connection

_BUCKETS = 60
_TIMES: dict[State, str] = {
    "open": semconv.WEBSOCKET_TIME_OPEN,
    "closing": semconv.WEBSOCKET_TIME_CLOSING,
    "closed": semconv.WEBSOCKET_TIME_CLOSED,
}


@dataclass(frozen=True)
class Step:
    """A state that the connection came to."""

    state: State
    at: float
    """From the start, in s."""
    time: float
    """Unix time."""
    duration: float | None
    """How long it was in it; None for the last one."""


@dataclass(frozen=True)
class Close:
    """How the connection ended."""

    code: int | None
    """None where nobody told one."""
    name: str
    meaning: str
    reason: str
    initiator: str
    """client, server, error (the app raised) or network (lost); empty when not recorded."""
    abnormal: bool


@dataclass(frozen=True)
class Way:
    """Messages of one direction. Totals are of all, the rest of those that are kept."""

    messages: int
    bytes: int
    rate: float
    """Messages/s over the connection's time."""
    mean_size: float
    largest: int
    mean_gap: float | None
    longest_gap: float | None
    """s between two of them."""


@dataclass(frozen=True)
class Answers:
    """From a received message to the first one sent because of it, in s."""

    count: int
    median: float
    longest: float


@dataclass(frozen=True)
class Bucket:
    """Messages/s during a piece of the time that the kept messages span."""

    at: float
    """From the start of the connection, in s."""
    duration: float
    received: float
    sent: float

    @property
    def both(self) -> float:
        return self.received + self.sent


@dataclass(frozen=True)
class Connection:
    """One connection. Times in s, sizes in bytes."""

    id: str
    """Its SERVER span; empty when that is not here (yet), and then little is known."""
    name: str
    path: str
    query: str
    scheme: str
    client: str
    state: State
    running: bool
    start: float
    """Unix time."""
    duration: float
    """So far, while it runs."""
    timeline: tuple[Step, ...]
    subprotocol: str
    offered: str
    """The subprotocols that the client offered."""
    close: Close | None
    denial: int | None
    """HTTP status with which it was denied."""
    error: str
    headers: tuple[Field, ...]
    response_headers: tuple[Field, ...]
    received: Way
    sent: Way
    rate: float
    """Messages/s both ways: of the last 10 s while it is open, else over all its time."""
    kept: int
    """Messages that are here, of `received` and `sent` together."""
    total: int
    totals_only: bool
    """Its messages have no spans: there were too many connections, or it opted out."""
    answers: Answers | None
    rates: tuple[Bucket, ...]
    messages: tuple[Message, ...]
    """In order, oldest first."""


@dataclass(frozen=True)
class WebsocketsView:
    """All connections of the trace, live ones first. A trace has one, as a rule."""

    found: bool
    running: bool
    now: float
    """Unix time until which it is told."""
    connections: tuple[Connection, ...]


def view(trace: Trace, settings: Settings) -> WebsocketsView:  # noqa: ARG001 - the panels' signature
    all_of_them = [
        _connection(trace, trace.by_id.get(span_id), exchange)
        for span_id, exchange in by_connection(trace).items()
    ]
    all_of_them.sort(key=lambda each: (not each.running, each.start))
    return WebsocketsView(
        found=bool(all_of_them),
        running=any(each.running for each in all_of_them),
        now=seconds(trace.now),
        connections=tuple(all_of_them),
    )


def badge(view: WebsocketsView) -> Badge:
    if not view.found:
        return Badge()
    total = sum(each.total for each in view.connections)
    return Badge(f"{total:,} live" if view.running else f"{total:,}", _level(view))


def _level(view: WebsocketsView) -> Level:
    if any(each.error for each in view.connections):
        return "error"
    closes = (each.close for each in view.connections)
    denied = any(each.state == "denied" for each in view.connections)
    return "warn" if denied or any(close and close.abnormal for close in closes) else "ok"


def _connection(trace: Trace, span: Span | None, exchange: Exchange) -> Connection:
    # Messages whose connection is not here stand in for it.
    known = span is not None
    main = span or exchange.messages[0]
    messages = exchange.messages
    traffic = connection.traffic(trace, main, messages)
    lasted = seconds(main.duration_at(trace.now) if known else trace.end - main.start)
    ways = _ways(messages, traffic, lasted)
    shown = message.messages(trace, exchange, main.start)
    headers, answered = reading.request_headers(main), reading.response_headers(main)
    return Connection(
        id=main.span_id if known else "",
        name=title(main) if known else "connection not here yet",
        path=reading.path(main),
        query=reading.query_string(main),
        scheme=reading.scheme(main),
        client=connection.client(main),
        state=traffic.state if known else "open",
        running=main.running if known else False,
        start=seconds(main.start),
        duration=lasted,
        timeline=_timeline(main) if known else (),
        subprotocol=reading.text(main, semconv.WEBSOCKET_SUBPROTOCOL),
        offered=", ".join(connection.offered(main)),
        close=_close(main),
        denial=_denial(main),
        error=exception(main) if known else "",
        headers=_fields(headers),
        response_headers=_fields(answered),
        received=ways[0],
        sent=ways[1],
        rate=traffic.rate,
        kept=len(shown),
        totals_only=main.flag(semconv.WEBSOCKET_TOTALS_ONLY),
        total=max(traffic.received + traffic.sent, len(shown)),
        answers=_answers(shown),
        rates=_rates(main.start, messages),
        messages=shown,
    )


def _timeline(span: Span) -> tuple[Step, ...]:
    """The states with the times that are known, in order."""
    times: dict[State, float] = {"connecting": 0.0}
    for state, key in _TIMES.items():
        time = reading.number(span, key)
        if time is not None and time >= 0:
            times[state] = time
    if span.end is not None:
        times.pop("closed", None)
        times[connection.state(span)] = max(seconds(span.end - span.start), *times.values(), 0.0)
    ordered = sorted(times.items(), key=lambda item: item[1])
    ends = [time for _, time in ordered[1:]]
    return tuple(
        Step(
            state=state,
            at=time,
            time=seconds(span.start) + time,
            duration=ends[place] - time if place < len(ends) else None,
        )
        for place, (state, time) in enumerate(ordered)
    )


def _close(span: Span) -> Close | None:
    code = connection.close_code(span)
    initiator = reading.text(span, semconv.WEBSOCKET_CLOSE_INITIATOR)
    if code is None and (not initiator or connection.state(span) == "denied"):
        return None
    meaning = close_codes.meaning(code) if code is not None else close_codes.without_code(initiator)
    return Close(
        code=code,
        name=meaning.name,
        meaning=meaning.text,
        reason=reading.text(span, semconv.WEBSOCKET_CLOSE_REASON),
        initiator=initiator,
        abnormal=meaning.abnormal,
    )


def _denial(span: Span) -> int | None:
    status = reading.status_code(span)
    return status if status is not None and status >= 300 else None


def _fields(headers: dict[str, tuple[str, ...]]) -> tuple[Field, ...]:
    return tuple(Field(name, value) for name, values in headers.items() for value in values)


def _ways(messages: Sequence[Span], traffic: connection.Traffic, lasted: float) -> tuple[Way, Way]:
    received = [each for each in messages if connection.direction(each) == "receive"]
    sent = [each for each in messages if connection.direction(each) == "transmit"]
    return (
        _way(received, traffic.received, traffic.bytes_received, lasted),
        _way(sent, traffic.sent, traffic.bytes_sent, lasted),
    )


def _way(messages: Sequence[Span], total: int, size: int, lasted: float) -> Way:
    gaps = [seconds(after.start - before.start) for before, after in pairwise(messages)]
    return Way(
        messages=total,
        bytes=size,
        rate=total / lasted if lasted > 0 else 0.0,
        mean_size=size / total if total else 0.0,
        largest=max(map(connection.size, messages), default=0),
        mean_gap=math.fsum(gaps) / len(gaps) if gaps else None,
        longest_gap=max(gaps, default=None),
    )


def _answers(messages: Sequence[Message]) -> Answers | None:
    times = [each.answer for each in messages if each.answer is not None]
    return Answers(len(times), median(times), max(times)) if times else None


def _rates(begin: int, messages: Sequence[Span]) -> tuple[Bucket, ...]:
    """How many there were when, in equal pieces; nothing for less than three messages."""
    if len(messages) < 3 or messages[-1].start <= messages[0].start:
        return ()
    first, last = messages[0].start, messages[-1].start
    width = max(1, -(-(last - first + 1) // _BUCKETS))
    counts: list[dict[connection.Direction, int]] = [
        {"receive": 0, "transmit": 0} for _ in range((last - first) // width + 1)
    ]
    for each in messages:
        counts[(each.start - first) // width][connection.direction(each)] += 1
    return tuple(
        Bucket(
            at=seconds(first - begin + place * width),
            duration=seconds(width),
            received=count["receive"] / seconds(width),
            sent=count["transmit"] / seconds(width),
        )
        for place, count in enumerate(counts)
    )
