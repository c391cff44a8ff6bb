"""The span of one message: as little as can be while the app runs, all of it when somebody reads it."""

from __future__ import annotations

import threading
import time
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from otel_toolbar import semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import light
from otel_toolbar.signals.core.long_record import LongRecord
from otel_toolbar.version import VERSION

from . import content

SCOPE = InstrumentationScope("otel_toolbar.signals.websockets", VERSION)
RECEIVE, SEND = "websocket receive", "websocket send"

_nothing = light.NO_LIMITS, light.UNSET
_making = threading.RLock()


class MessageSpan(light.LightSpan):
    """A light span whose ids, parent and attributes are made when they are first asked for.

    `above` is the span that it is a child of; `held` the message's text or first bytes, None when it is
    not to be shown.
    """

    __slots__ = ("_above", "_facts", "_held", "_number", "_options", "_size", "_type")

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
        self.name = name
        self.kind = kind
        self._type = type_
        self._size = size
        self._number = number
        self._held = held
        self._above = above
        self._options = options
        self._context: SpanContext | None = None
        self._facts: dict[str, Any] | None = None
        self.shared = ()
        self.instrumentation_scope = SCOPE
        self.record = record
        self.resource = record.resource or Resource.get_empty()
        self.limits, self._status = _nothing
        self._links: list[Link] | None = None
        self._events = None
        self.end_time = None
        self.start_time = time.time_ns()

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
    def above(self) -> Span:
        return self._above

    @property
    def otel_toolbar_unit(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        received = self.kind is SpanKind.CONSUMER
        return self.context.span_id if received else light.unit_of(self._above)

    @property
    def parent(self) -> SpanContext:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._above.get_span_context()

    @property
    def span_id(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.context.span_id

    @property
    def context(self) -> SpanContext:
        known = self._context
        if known is None:
            with _making:
                known = self._context = self._context or self._new_context()
        return known

    @property
    def own(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        known = self._facts
        if known is None:
            with _making:
                known = self._facts = self._facts or self._new_facts()
        return known

    def _new_context(self) -> SpanContext:
        parent = self.parent
        return SpanContext(
            parent.trace_id, light.new_span_id(), False, parent.trace_flags, parent.trace_state
        )

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

    def caused_by(self, other: SpanContext) -> None:
        """Link to the span that made the message, of another request."""
        self._links = [Link(other)]
