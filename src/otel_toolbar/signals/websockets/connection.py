"""One websocket connection as it passes: its states, its totals, and a span for each message.

It only watches: every message goes on as it came. Nothing is computed here that can be computed when
somebody looks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import exceptions, handover, masking
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.long_record import LongRecord

from . import content
from .connections import Connections
from .message import RECEIVE, SEND, MessageSpan

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SUBJECT = "websocket"
"""Under this name it stands in its record: frameworks' hooks find it there."""

HAND_ON = 256
"""Spans that wait for others' processors until their thread is woken."""

_BY_THE_SERVER = frozenset({1002, 1007, 1009, 1012})
"""Codes of a disconnect that the app did not ask for: a protocol error that the server met, its shutdown."""

_NOBODY_SAYS = 1005
_LOST = 1006
_FORBIDDEN = 403


class Connection:
    """See the module. `record` is the connection's own; `scope` its ASGI scope."""

    def __init__(
        self, scope: MutableMapping[str, Any], connections: Connections, max_spans: int
    ) -> None:
        options = connections.options
        self._scope = scope
        self._connections = connections
        self._options = options
        self._holds_place = connections.enter()
        self._detailed = self._holds_place
        self.record = LongRecord(max_spans if self._detailed else 0, options.websocket_max_messages)
        self.record.subjects[SUBJECT] = self
        self._answers: Callable[[], None] = lambda: None
        self._waiting: deque[MessageSpan] | None = None
        """Messages that have been received, and that the handler has not taken yet."""
        self._handling: MessageSpan | None = None
        """The received message whose handling goes on."""
        self._content = options.websocket_content
        self._limit = min(options.websocket_message_size, content.MAX_SIZE)
        self._sample = options.websocket_sample
        self.started = time.time_ns()
        self.opened = self.closing = self.closed = 0
        self.received = self.sent = self.bytes_received = self.bytes_sent = 0
        self._begun = 0
        """Messages that the handler has begun to send."""
        self.denied = False
        self.status = 0
        """HTTP status of a denial."""
        self.response_headers: tuple[Any, ...] = ()
        self.subprotocol: str | None = None
        self._server = ""
        """The package whose `send` it is."""
        self._code: int | None = None
        self._reason: str | None = None
        self._initiator = ""

    # What passes.

    def watched(
        self, receive: Receive, send: Send, answers: Callable[[], None]
    ) -> tuple[Receive, Send]:
        """`receive` and `send` for the app; `answers` is called before it accepts or denies."""
        self._answers = answers
        self._server = str(getattr(send, "__module__", "")).partition(".")[0]

        async def watched_receive() -> Message:
            self._asks()
            message = await receive()
            self._receives(message)
            return message

        async def watched_send(message: Message) -> None:
            span = self._sends(message)
            try:
                await send(message)
            except BaseException as error:
                self._not_sent(span, error)
                raise
            self._has_sent(span, message)

        return watched_receive, watched_send

    def failed(self, error: BaseException) -> bool:
        """The handler has raised. Returns whether that is an error of the app's."""
        if isinstance(error, asyncio.CancelledError):
            self._close("server")
            return False
        if self.closing and self._initiator != "server" and _says_disconnected(error):
            return False
        self._close("error")
        return True

    def finish(self) -> None:
        """The handler has ended, and with it the connection."""
        try:
            self._end_handling()
            for span in self._waiting or ():
                span.end()
            self._close("server")
            self._closed()
        except Exception:
            guard.failed("end of a websocket connection")
        if self._holds_place:
            self._holds_place = False
            self._connections.leave()

    def facts(self) -> dict[str, AttributeValue]:
        """What the SERVER span says of the connection by now. From any thread."""
        # A message is kept while it is sent, and counted when it has been.
        kept = sum(map(_is_counted, self.record.shown_messages()))
        facts: dict[str, AttributeValue] = {
            semconv.WEBSOCKET_STATE: self.state,
            semconv.WEBSOCKET_MESSAGES_RECEIVED: self.received,
            semconv.WEBSOCKET_MESSAGES_SENT: self.sent,
            semconv.WEBSOCKET_BYTES_RECEIVED: self.bytes_received,
            semconv.WEBSOCKET_BYTES_SENT: self.bytes_sent,
            semconv.WEBSOCKET_MESSAGES_DROPPED: max(0, self.received + self.sent - kept),
        }
        for key, moment in (
            (semconv.WEBSOCKET_TIME_OPEN, self.opened),
            (semconv.WEBSOCKET_TIME_CLOSING, self.closing),
            (semconv.WEBSOCKET_TIME_CLOSED, self.closed),
        ):
            if moment:
                facts[key] = max(0, moment - self.started) / 1e9
        if self.subprotocol:
            facts[semconv.WEBSOCKET_SUBPROTOCOL] = self.subprotocol
        offered = self._scope.get("subprotocols")
        if offered:
            facts[semconv.WEBSOCKET_SUBPROTOCOLS_OFFERED] = [
                masking.clean(each) for each in list(offered)[:32]
            ]
        if not self._detailed:
            facts[semconv.WEBSOCKET_TOTALS_ONLY] = True
        return facts | self._facts_of_close()

    @property
    def state(self) -> str:
        if self.closed:
            return "closed"
        if self.closing:
            return "closing"
        return "open" if self.opened else "connecting"

    def _facts_of_close(self) -> dict[str, AttributeValue]:
        facts: dict[str, AttributeValue] = {}
        if self._initiator:
            facts[semconv.WEBSOCKET_CLOSE_INITIATOR] = self._initiator
        if self._code is not None and not self.denied:
            facts[semconv.WEBSOCKET_CLOSE_CODE] = self._code
        if self._reason:
            facts[semconv.WEBSOCKET_CLOSE_REASON] = masking.text(self._reason)
        return facts

    # Where a framework receives in a task of its own, and the handler takes from a queue.

    def summary(self) -> dict[str, AttributeValue]:
        """As a subject of its record; the SERVER span's facts are asked for by `facts`."""
        return {}

    def queues(self) -> None:
        """From now on messages are received into a queue of the framework's."""
        self._waiting = deque()

    def asks(self) -> None:
        """The handler asks the queue for the next message."""
        if self._waiting is not None:
            self._end_handling()

    def takes(self) -> None:
        """The handler has got the next message of the queue; called in its own context."""
        if self._waiting:
            span: Any = self._waiting.popleft()
            self._handling = span
            otel_context.attach(trace.set_span_in_context(span))

    # The handler asks for the next message, and gets it.

    def _asks(self) -> None:
        try:
            if self._waiting is None:
                self._end_handling()
        except Exception:
            guard.failed("end of a websocket message")

    def _receives(self, message: Message) -> None:
        try:
            kind = message["type"]
            if kind == "websocket.receive":
                self.received += 1
                text = message.get("text")
                if text is not None:
                    size = content.size(text)
                    self.bytes_received += size
                    if self._records(self.received):
                        held = content.held(text, self._limit) if self._content else None
                        self._begin_handling("text", size, self.received, held)
                        return
                else:
                    data = message.get("bytes")
                    size = 0 if data is None else len(data)
                    self.bytes_received += size
                    if self._records(self.received):
                        self._begin_handling("binary", size, self.received, self._bytes(data))
                        return
                self._leave_message()
            elif kind == "websocket.disconnect":
                self._disconnected(message)
        except Exception:
            guard.failed("receive of a websocket message")

    def _begin_handling(self, type_: str, size: int, number: int, held: str | bytes | None) -> None:
        record = self.record
        server = record.server
        if server is None:
            return
        context = otel_context.get_current()
        current: Any = trace.get_current_span(context)
        if type(current) is MessageSpan:
            current = current.above
        elif current is not server and current.get_span_context().trace_id != record.trace_id:
            current = server
        span: Any = MessageSpan(
            RECEIVE, SpanKind.CONSUMER, type_, size, number, held, current, record, self._options
        )
        self._keep(span)
        if self._waiting is not None:
            self._waiting.append(span)
            return
        self._handling = span
        otel_context.attach(trace.set_span_in_context(span, context))

    def _end_handling(self) -> None:
        span, self._handling = self._handling, None
        if span is not None:
            span.end()

    def _leave_message(self) -> None:
        """What is done now belongs to no message that has a span."""
        current: Any = trace.get_current_span()
        if type(current) is MessageSpan:
            otel_context.attach(trace.set_span_in_context(current.above))

    def _disconnected(self, message: Message) -> None:
        if self.closing:
            self._closed()  # what the app has closed, told to it
            return
        code, reason = message.get("code"), message.get("reason")
        self._code = code if isinstance(code, int) else None
        self._reason = reason if isinstance(reason, str) else None
        self._close(_initiator(self._code, "reason" in message, self._server))
        if self._initiator in ("client", "") and self._may_record():
            size = content.size(self._reason or "")
            self._begin_handling("close", size, 0, None)
        else:
            self._leave_message()
        self._closed()

    # The handler sends.

    def _sends(self, message: Message) -> MessageSpan | None:
        try:
            kind = message["type"]
            if kind == "websocket.send":
                number = self._begun = self._begun + 1
                if not self._records(number):
                    return None
                text = message.get("text")
                if text is not None:
                    held = content.held(text, self._limit) if self._content else None
                    return self._begin_send("text", content.size(text), number, held)
                data = message.get("bytes")
                size = 0 if data is None else len(data)
                return self._begin_send("binary", size, number, self._bytes(data))
            if kind == "websocket.close" and self.opened:
                return self._begin_close(message)
            self._answering(kind, message)
        except Exception:
            guard.failed("send of a websocket message")
        return None

    def _answering(self, kind: str, message: Message) -> None:
        """The app accepts or denies."""
        if kind in ("websocket.accept", "websocket.close", "websocket.http.response.start"):
            self._answers()
        if kind == "websocket.close":
            self._deny(_FORBIDDEN, message)
        elif kind == "websocket.http.response.start":
            self._deny(message.get("status") or 0, message)

    def _begin_send(
        self, type_: str, size: int, number: int, held: str | bytes | None
    ) -> MessageSpan | None:
        record = self.record
        above: Any = record.server
        if above is None:
            return None
        current: Any = trace.get_current_span()
        other = None
        if type(current) is MessageSpan and current.record is record:
            above = current
        elif current is not above:
            there = current.get_span_context()
            if there.trace_id == record.trace_id:
                above = current
            elif there.is_valid:
                other = there
        span = MessageSpan(
            SEND, SpanKind.PRODUCER, type_, size, number, held, above, record, self._options
        )
        if other is not None:
            span.caused_by(other)
        self._keep(span)
        return span

    def _begin_close(self, message: Message) -> MessageSpan | None:
        if self.closing:
            return None
        code, reason = message.get("code", 1000), message.get("reason")
        self._code = code if isinstance(code, int) else None
        self._reason = reason if isinstance(reason, str) else None
        self._close("server")
        if not self._may_record():
            return None
        return self._begin_send("close", content.size(self._reason or ""), 0, None)

    def _deny(self, status: int, message: Message) -> None:
        self.denied = True
        self.status = status
        if message["type"] == "websocket.http.response.start":
            self.response_headers = tuple(message.get("headers") or ())
        elif isinstance(message.get("reason"), str):
            self._reason = message["reason"]
        self._close("server")

    def _has_sent(self, span: MessageSpan | None, message: Message) -> None:
        try:
            if span is not None:
                span.end()
            kind = message["type"]
            if kind == "websocket.send":
                self._count_sent(span, message)
            elif kind == "websocket.accept":
                self.opened = time.time_ns()
                self.subprotocol = message.get("subprotocol")
                self.response_headers = tuple(message.get("headers") or ())
            elif kind == "websocket.close" or (
                kind == "websocket.http.response.body" and not message.get("more_body")
            ):
                self._closed()
        except Exception:
            guard.failed("send of a websocket message")

    def _count_sent(self, span: MessageSpan | None, message: Message) -> None:
        self.sent += 1
        if span is not None:
            self.bytes_sent += span.size
            return
        text = message.get("text")
        self.bytes_sent += len(message.get("bytes") or b"") if text is None else content.size(text)

    def _not_sent(self, span: MessageSpan | None, error: BaseException) -> None:
        try:
            if not self.closing and isinstance(error, OSError):
                self._close("network")
            if span is not None:
                span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
                span.set_status(StatusCode.ERROR)
                span.was_not_sent()
                span.end()
        except Exception:
            guard.failed("send of a websocket message")

    # Its states.

    def _close(self, initiator: str) -> None:
        """The first sign of the end; later ones change nothing."""
        if not self.closing:
            self.closing = time.time_ns()
            self._initiator = initiator

    def _closed(self) -> None:
        self.closed = self.closed or time.time_ns()

    # What gets a span.

    def _records(self, number: int) -> bool:
        """True when the message of this number is to have a span."""
        if self._sample > 1 and (number - 1) % self._sample:
            return False
        return self._may_record()

    def _may_record(self) -> bool:
        if self._scope.get("otel_toolbar") is False:
            self._detailed = False  # the app opted out in the meantime
        return self._detailed and not self.record.closed_at

    def _bytes(self, data: Any) -> bytes | None:
        if data is None or not self._content or not self._options.websocket_binary:
            return None
        return content.binary(data, self._options.websocket_binary_size)

    def _keep(self, span: MessageSpan) -> None:
        record = self.record
        record.keep_message(span)
        if record.told_of_starts:
            _tell_of_start(record, span)
        if record.untold is not None and len(record.untold) >= HAND_ON:
            handover.hurry(record)


def _is_counted(span: Any) -> bool:
    return span.number > 0 and (span.kind is SpanKind.CONSUMER or span.end_time is not None)


def _tell_of_start(record: records.Record, span: Any) -> None:
    for processor in record.told_of_starts:
        processor.on_start(span, parent_context=otel_context.get_current())


def _initiator(code: int | None, with_reason: bool, server: str) -> str:
    """Who closed a connection whose end the app has not asked for; empty where nobody can know.

    Hypercorn tells every such end as 1006. A close without a code is 1005; uvicorn tells a lost
    connection so too, without a word on a reason then, and granian the one like the other.
    """
    if code in _BY_THE_SERVER:
        return "server"
    if code is None or code == _LOST:
        return "" if server == "hypercorn" else "network"
    if code == _NOBODY_SAYS and not with_reason:
        return "network" if server == "uvicorn" else ""
    return "client"


def _says_disconnected(error: BaseException) -> bool:
    """True for the exceptions by which frameworks tell a handler that the client has gone."""
    return isinstance(error, OSError) or any(
        "Disconnect" in cls.__name__ for cls in type(error).__mro__
    )
