"""The app's start-up as one trace: what it queries there is not a thousand traces of one query each."""

from __future__ import annotations

from typing import Any, cast

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from otel_toolbar import guard
from otel_toolbar.signals.core import processor, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.version import VERSION

SPAN_NAME = "lifespan startup"


class Startup:
    """The time between `lifespan.startup` and its answer.

    The span is not made current: what start-up leaves running (workers, pollers) would have it as a
    parent for ever.
    """

    def __init__(self, max_spans: int) -> None:
        self._max_spans = max_spans
        self._span: Span | None = None

    def received(self, message: Any) -> None:
        """To be told of every message that the app gets, in the app's context."""
        try:
            steps.here()  # the loop is watched before its first request
            if message["type"] == "lifespan.startup" and self._span is None:
                record = records.Record(self._max_spans, ends_for_all=True)
                tracer = trace.get_tracer(__name__, VERSION)
                span = tracer.start_span(SPAN_NAME, kind=SpanKind.INTERNAL)
                if span.is_recording():
                    processor.adopt(record, cast(Any, span))
                    records.enter(record)
                    self._span = span
        except Exception:
            guard.failed("start of the app")

    def sends(self, message: Any) -> None:
        """To be told of every message that the app sends."""
        try:
            if self._span is not None and str(message["type"]).startswith("lifespan.startup"):
                self._span.end()
        except Exception:
            guard.failed("start of the app")
