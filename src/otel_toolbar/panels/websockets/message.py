"""One message, and what was done because of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from otel_toolbar import semconv
from otel_toolbar.insights import connection, reading
from otel_toolbar.insights.connection import Direction
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.shared import exception, seconds

_PREVIEW = 200


@dataclass(frozen=True)
class Message:
    """A message that has a span. Times in s, sizes in bytes."""

    id: str
    """Its span."""
    number: int | None
    """Its place among all of its direction, from 1."""
    direction: Direction
    """`receive` from the client, `transmit` to it."""
    type: str
    """text, binary, ping, pong or close."""
    size: int
    time: float
    """Unix time."""
    at: float
    """From the start of the connection."""
    gap: float | None
    """Since the message before it; None for the first one kept."""
    duration: float | None
    """Of a received one, until the handler asked for the next; of a sent one, until the server
    had taken it. None while that lasts."""
    text: str
    hex: str
    truncated: bool
    """Not all of the content is here."""
    recorded: bool
    """Some content is here."""
    answers: str
    """The received message during which this was sent; empty for one sent on its own."""
    answer: float | None
    """Of a received one, from it to the first message sent because of it."""
    queries: int
    tasks: int
    sends: int
    """What the handler did because of it: spans below it."""
    spans: int
    error: str

    @property
    def preview(self) -> str:
        """The beginning, in one line."""
        text = self.text or self.hex
        return " ".join(text[:_PREVIEW].split()) + (" …" if len(text) > _PREVIEW else "")

    @property
    def pretty(self) -> str:
        """The text, JSON indented."""
        if self.text.lstrip()[:1] not in ("{", "["):
            return self.text
        try:
            return json.dumps(json.loads(self.text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return self.text


@dataclass(frozen=True)
class Work:
    """The spans below a message."""

    spans: list[Span]

    @property
    def sends(self) -> list[Span]:
        return [span for span in self.spans if connection.is_message(span)]

    @property
    def queries(self) -> int:
        return sum(map(reading.is_query, self.spans))

    @property
    def error(self) -> str:
        """The first one, empty when there is none."""
        return next((found for span in self.spans if (found := exception(span))), "")

    @property
    def tasks(self) -> int:
        return sum(semconv.ASYNCIO_TASK_NAME in span.attributes for span in self.spans)


def messages(trace: Trace, exchange: Exchange, begin: int) -> tuple[Message, ...]:
    """All messages of a connection that starts at `begin` (ns)."""
    before: list[Span | None] = [None, *exchange.messages]
    return tuple(
        _message(trace, exchange, span, begin, last)
        for span, last in zip(exchange.messages, before, strict=False)
    )


def _message(
    trace: Trace, exchange: Exchange, span: Span, begin: int, before: Span | None
) -> Message:
    cause, work = exchange.causes.get(span.span_id), exchange.works[span.span_id]
    text = reading.text(span, semconv.WEBSOCKET_MESSAGE_TEXT)
    digits = reading.text(span, semconv.WEBSOCKET_MESSAGE_HEX)
    sends = work.sends
    return Message(
        id=span.span_id,
        number=reading.integer(span, semconv.WEBSOCKET_MESSAGE_NUMBER),
        direction=connection.direction(span),
        type=reading.text(span, semconv.WEBSOCKET_MESSAGE_TYPE) or ("text" if text else "binary"),
        size=connection.size(span),
        time=seconds(span.start),
        at=seconds(span.start - begin),
        gap=None if before is None else seconds(span.start - before.start),
        duration=None if span.running else seconds(span.duration_at(trace.now)),
        text=text,
        hex=digits,
        truncated=span.flag(semconv.WEBSOCKET_MESSAGE_TRUNCATED),
        recorded=any(
            key in span.attributes
            for key in (semconv.WEBSOCKET_MESSAGE_TEXT, semconv.WEBSOCKET_MESSAGE_HEX)
        ),
        answers=cause.span_id if cause is not None else "",
        answer=seconds(max(0, sends[0].start - span.start)) if sends else None,
        queries=work.queries,
        tasks=work.tasks,
        sends=len(sends),
        spans=len(work.spans),
        error=exception(span) or work.error,
    )


@dataclass(frozen=True)
class Exchange:
    """What belongs to one connection: its messages in order, by their ids what they were sent for
    and what they caused."""

    messages: list[Span] = field(default_factory=list[Span])
    causes: dict[str, Span] = field(default_factory=dict[str, Span])
    works: dict[str, Work] = field(default_factory=dict[str, Work])

    def add(self, span: Span, cause: Span | None) -> None:
        self.messages.append(span)
        self.works[span.span_id] = Work([])
        if cause is not None:
            self.causes[span.span_id] = cause


def by_connection(trace: Trace) -> dict[str, Exchange]:
    """The exchanges by their connections' ids.

    Under the empty id is what has no connection here (yet): other processes send a span when it has
    ended.
    """
    found: dict[str, Exchange] = {}
    owner: dict[str, str] = {}
    cause: dict[str, Span | None] = {}
    for span, _ in trace.walk():
        above = span.parent_id or ""
        if connection.is_connection(span):
            owner[span.span_id] = span.span_id
            found[span.span_id] = Exchange()
            continue
        own = owner[span.span_id] = owner.get(above, "")
        because = cause.get(above)
        if because is not None:
            found[own].works[because.span_id].spans.append(span)
        if connection.is_message(span):
            found.setdefault(own, Exchange()).add(span, because)
        cause[span.span_id] = because or _cause(span)
    for exchange in found.values():
        exchange.messages.sort(key=_when)
        for work in exchange.works.values():
            work.spans.sort(key=_when)
    return found


def _cause(span: Span) -> Span | None:
    """The span itself when what is below it is done because of it."""
    return span if connection.is_message(span) and connection.direction(span) == "receive" else None


def _when(span: Span) -> int:
    return span.start
