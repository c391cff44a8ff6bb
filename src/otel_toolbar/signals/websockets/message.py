"""The span of one message: as little as can be while the app runs, all of it when somebody reads it."""

from __future__ import annotations

import time
from typing import Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from otel_toolbar import semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import lazy
from otel_toolbar.signals.core.long_record import LongRecord
from otel_toolbar.version import VERSION

from . import content

SCOPE = InstrumentationScope("otel_toolbar.signals.websockets", VERSION)
RECEIVE, SEND = "websocket receive", "websocket send"


class MessageSpan(lazy.LazySpan):
    """The span of a message under `above`. `held` is its text or first bytes, None when not to be shown."""

    __slots__ = (
        "_held", "_number", "_options", "_size", "_type", "instrumentation_scope", "kind", "name",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        type_: str,
        size: int,
        number: int,
        held: str | bytes | None,
        above: Span,
        record: LongRecord,
        options: Settings,
    ) -> None:
        super().__init__(above, record, time.time_ns())
        self.name = name
        self.kind = kind
        self.instrumentation_scope = SCOPE
        self._type = type_
        self._size = size
        self._number = number
        self._held = held
        self._options = options

    @property
    def size(self) -> int:
        return self._size

    @property
    def number(self) -> int:
        """Its place in its direction; 0 for what is not counted."""
        return self._number

    def was_not_sent(self) -> None:
        self._number = 0

    @property
    def otel_toolbar_unit(self) -> int:
        return self.span_id if self.kind is SpanKind.CONSUMER else super().otel_toolbar_unit

    def _new_facts(self) -> dict[str, Any]:
        received = self.kind is SpanKind.CONSUMER
        facts: dict[str, Any] = {
            semconv.NETWORK_IO_DIRECTION: "receive" if received else "transmit",
            semconv.WEBSOCKET_MESSAGE_TYPE: self._type,
            semconv.WEBSOCKET_MESSAGE_SIZE: self._size,
        }
        if self._number:
            facts[semconv.WEBSOCKET_MESSAGE_NUMBER] = self._number
        held, self._held = self._held, None
        if held is not None:
            limit = self._put_content(facts, held)
            if self._size > limit:
                facts[semconv.WEBSOCKET_MESSAGE_TRUNCATED] = True
        return facts

    def _put_content(self, facts: dict[str, Any], held: str | bytes) -> int:
        """Write the content down; returns how many bytes of it are shown at most."""
        if isinstance(held, bytes):
            facts[semconv.WEBSOCKET_MESSAGE_HEX] = held.hex()
            return self._options.websocket_binary_size
        limit = min(self._options.websocket_message_size, content.MAX_SIZE)
        facts[semconv.WEBSOCKET_MESSAGE_TEXT] = content.shown(held, limit)
        return limit

    def update_name(self, name: str) -> None:
        if self.end_time is None:
            self.name = name

    def caused_by(self, other: SpanContext) -> None:
        """Link to the span that made the message, of another request."""
        self._links = [Link(other)]
