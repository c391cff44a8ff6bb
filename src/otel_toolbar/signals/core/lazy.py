"""Light spans of what comes in thousands: ids, parent and attributes are made when somebody asks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Span, SpanContext

from . import light, record
from .light import LightSpan

making = threading.RLock()
"""Held while a span makes what it has not been asked for before."""


class LazySpan(LightSpan):
    """A light span under `above`. Only for requests that have their SERVER span and go on.

    Who sees it, sees a span as any other: as long as nobody does it is a few slots.
    """

    __slots__ = ("_above", "_facts", "_server")

    def __init__(self, above: Span, holder: record.Record, start_time: int) -> None:
        self._above = above
        self._server: Any = holder.server
        self._facts: dict[str, Any] | None = None
        self.begin(holder, start_time)

    def _new_facts(self) -> dict[str, Any]:
        """The attributes; asked for once, by any thread."""
        raise NotImplementedError

    @property
    def above(self) -> Span:
        return self._above

    @property
    def otel_toolbar_unit(self) -> int:
        return light.unit_of(self._above)

    @property
    def parent(self) -> SpanContext:
        return self._rooted(self._above)

    @property
    def context(self) -> SpanContext:
        return self.get_span_context()

    @property
    def trace_id(self) -> int:
        above = self._above
        return (above.get_span_context() if above is self._server else self._root())[0]

    def get_span_context(self) -> SpanContext:
        known = self._context
        if known is None:  # two threads at once make equal ones
            root = self._root()
            known = self._context = SpanContext(
                root.trace_id, self.span_id, False, root.trace_flags, root.trace_state
            )
        return known

    def facts(self) -> dict[str, Any]:
        known = self._facts
        if known is None:
            with making:
                known = self._facts = self._facts or self._new_facts()
        return known

    def parts(self) -> tuple[Mapping[str, Any], ...]:
        return (self.facts(),)

    def ids(self) -> tuple[int, int, int, bool]:
        above = self._above
        if above is self._server:
            root = above.get_span_context()
        elif isinstance(above, LazySpan):
            return self._root()[0], self.span_id, above.span_id, False
        else:
            root = self._rooted(above)
        return root[0], self.span_id, root[1], root[2]  # by its names it takes three times as long

    def _root(self) -> SpanContext:
        """Of the nearest span above that has one already: of the same trace."""
        above = self._above
        # Not by way of the parents' contexts: a thousand tasks in each other are too deep for that.
        while isinstance(above, LazySpan) and above._context is None:  # noqa: SLF001
            above = above.above
        return self._rooted(above)

    def _rooted(self, span: Span) -> SpanContext:
        context = span.get_span_context()
        if context.is_valid or self._server is None:
            return context
        return self._server.get_span_context()
