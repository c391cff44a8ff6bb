"""Light spans of what comes in thousands: ids, parent and attributes are made when somebody asks."""

from __future__ import annotations

import threading
from typing import Any

from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from . import light, record

making = threading.RLock()
"""Held while a span makes what it has not been asked for before."""
_nothing = light.NO_LIMITS, light.UNSET


class LazySpan(light.LightSpan):
    """A light span under `above`. Only for requests that have their SERVER span and go on.

    Who sees it, sees a span as any other: as long as nobody does it is a few slots.
    """

    __slots__ = ("_above", "_context", "_facts", "_server")

    def __init__(self, kind: SpanKind, above: Span, holder: record.Record, start_time: int) -> None:
        self.kind = kind
        self._above = above
        self._server = holder.server
        self._context: SpanContext | None = None
        self._facts: dict[str, Any] | None = None
        self.record = holder
        self.resource = holder.resource
        self.limits, self._status = _nothing
        self._links: list[Link] | None = None
        self._events = None
        self.start_time = start_time
        self.end_time = None

    def _new_facts(self) -> dict[str, Any]:
        """The attributes; asked for once, by any thread."""
        raise NotImplementedError

    @property
    def above(self) -> Span:
        return self._above

    @property
    def otel_toolbar_unit(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return light.unit_of(self._above)

    @property
    def parent(self) -> SpanContext:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._rooted(self._above)

    @property
    def context(self) -> SpanContext:  # pyright: ignore[reportIncompatibleVariableOverride]
        known = self._context
        if known is None:
            with making:
                known = self._context = self._context or self._new_context()
        return known

    @property
    def attributes(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        known = self._facts
        if known is None:
            with making:
                known = self._facts = self._facts or self._new_facts()
        return known

    def get_span_context(self) -> SpanContext:
        return self.context

    def _new_context(self) -> SpanContext:
        above = self._above
        # Not by way of the parents' contexts: a thousand tasks in each other are too deep for that.
        while isinstance(above, LazySpan) and above._context is None:
            above = above._above
        root = self._rooted(above)
        return SpanContext(
            root.trace_id, light.new_span_id(), False, root.trace_flags, root.trace_state
        )

    def _rooted(self, span: Span) -> SpanContext:
        context = span.get_span_context()
        if context.is_valid or self._server is None:
            return context
        return self._server.get_span_context()
