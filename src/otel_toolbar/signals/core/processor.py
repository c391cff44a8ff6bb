"""The span processor that stands first in every provider's chain and sees every span.

It takes the SERVER span of a request into the request's record, lets nothing end without the summary,
and hands ended spans to the toolbar's own exporter whatever the sampler said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind

from otel_toolbar import guard, semconv

from . import light, masking
from . import record as records

MAX_LIVE = 10_000
"""Running SDK spans remembered for the live view; some instrumentations never end theirs."""

INLINE = 200
"""Light spans converted where the request ends; more of them are converted in a thread."""

Export = Callable[[Sequence[ReadableSpan]], Any]


_open: dict[int, records.Record] = {}
"""The records of running requests by the id of their SERVER span."""


def is_free_server_span(span: Any) -> bool:
    """True for a running SERVER span of an SDK that no request has taken yet."""
    return (
        isinstance(span, Span)
        and span.kind is SpanKind.SERVER
        and span.is_recording()
        and span.get_span_context().span_id not in _open
    )


def adopt(record: records.Record, span: Span) -> None:
    """Make `span` the request's SERVER span; its `end` first writes the summary.

    On this instance only: attributes cannot be added any more in `_on_ending` or `on_end`.
    """
    record.server = span
    _open[span.get_span_context().span_id] = record
    if len(_open) > MAX_LIVE:  # SERVER spans that nobody ends
        _open.pop(next(iter(_open)), None)
    real_end = span.end

    def end(end_time: int | None = None) -> None:
        ended = end_time or time.time_ns()
        if not record.closed:
            try:
                span.set_attributes(record.summary())
            except Exception:
                guard.failed("summary of a request")
            record.close()
        real_end(ended)

    span.end = end


class ToolbarProcessor(SpanProcessor):
    """See the module. `export` takes ended spans; it must be quick and must not raise."""

    otel_toolbar = True

    def __init__(self, export: Export) -> None:
        self._export = export
        self._live: dict[int, Span] = {}
        self._draining: set[threading.Thread] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        try:
            self._remember(span)
            _mask_urls(span)
            record = records.current()
            if record is None:
                return
            if record.closed:
                span.set_attribute(semconv.DETACHED, True)
            elif record.server is None and span.kind is SpanKind.SERVER:
                adopt(record, span)
        except Exception:
            guard.failed("start of a span")

    def on_end(self, span: ReadableSpan) -> None:
        try:
            span_id = span.context.span_id if span.context else 0
            self._live.pop(span_id, None)
            record = _open.pop(span_id, None)
            if record is not None:
                self._drain(record)
            self._export((span,))
        except Exception:
            guard.failed("end of a span")

    def live(self) -> list[ReadableSpan]:
        """Copies of the spans that run at this moment, light ones too."""
        copies = [_copy(span) for span in list(self._live.values())]
        for record in list(_open.values()):
            copies += [light.readable(span) for span in list(record.spans)]
        return copies

    def _remember(self, span: Span) -> None:
        self._live[span.get_span_context().span_id] = span
        if len(self._live) > MAX_LIVE:
            self._live.pop(next(iter(self._live)), None)

    def _drain(self, record: records.Record) -> None:
        """Emit the record's ended light spans before their SERVER span goes on.

        The ones still running are emitted when they end.
        """
        ended = [span for span in record.spans if span.end_time is not None]
        record.spans = []
        light.emit(record, ended[:INLINE])
        if len(ended) > INLINE:
            thread = threading.Thread(
                target=self._drain_rest, args=(record, ended[INLINE:]), name="otel-toolbar-drain"
            )
            self._draining.add(thread)
            thread.start()

    def _drain_rest(self, record: records.Record, rest: list[light.LightSpan]) -> None:
        light.emit(record, rest)
        self._draining.discard(threading.current_thread())

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        deadline = time.monotonic() + timeout_millis / 1000
        for thread in list(self._draining):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not self._draining


class RecordEverything(Sampler):
    """Makes spans that a sampler drops recorded, not sampled: seen here, exported nowhere."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        result = self._sampler.should_sample(*args, **kwargs)
        if result.decision is Decision.DROP:
            return SamplingResult(Decision.RECORD_ONLY, result.attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        return self._sampler.get_description()


_URLS = {
    semconv.URL_QUERY: masking.query_string,
    semconv.URL_FULL: masking.url,
    semconv.OLD_HTTP_URL: masking.url,
    semconv.OLD_HTTP_TARGET: masking.url,
}


def _mask_urls(span: Span) -> None:
    """Mask secrets in the URLs that frameworks and clients put on their spans."""
    if span.kind is not SpanKind.SERVER and span.kind is not SpanKind.CLIENT:
        return
    known = span.attributes or {}
    for key, clean in _URLS.items():
        given = known.get(key)
        if isinstance(given, str) and (cleaned := clean(given)) != given:
            span.set_attribute(key, cleaned)


def _copy(span: Span) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_snapshot(span.attributes or {}),
        events=tuple(span.events),
        links=tuple(span.links),
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _snapshot(attributes: Any) -> dict[str, Any]:
    """Copy a mapping that another thread may be writing."""
    for _ in range(3):
        try:
            return dict(attributes)
        except RuntimeError:
            continue
    return {}
