"""The span processor that stands first in every provider's chain and sees every span.

It takes the SERVER span of a request into the request's record, lets nothing end without the summary,
and hands ended spans to the toolbar's own exporter whatever the sampler said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    StaticSampler,
)
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from otel_toolbar import guard, semconv

from . import foreign, handover, light, logs
from . import record as records

MAX_LIVE = 2000
"""Running SDK spans remembered for the live view; some instrumentations never end theirs."""

MAX_OPEN = 10_000
"""Requests whose SERVER span has not ended; the oldest beyond that are given up."""

INLINE = 200
"""Light spans converted where the request ends; more of them are converted in a thread."""

Export = Callable[[Sequence[Any], Sequence[Any]], Any]
"""Takes ended spans and log records."""


_open: dict[int, records.Record] = {}
"""The records of running requests by the id of their SERVER span."""


def is_free_server_span(span: Any) -> bool:
    """True for a running SERVER span of an SDK that no request has taken yet."""
    return (
        span is not trace.INVALID_SPAN
        and isinstance(span, Span)
        and span.kind is SpanKind.SERVER
        and span.is_recording()
        and span.get_span_context().span_id not in _open
    )


def adopt(record: records.Record, span: Span) -> None:
    """Make `span` the request's SERVER span; its `end` first writes the summary.

    On this instance only: attributes cannot be added any more in `_on_ending` or `on_end`.
    """
    context: Any = span.context
    trace_id, span_id = context[0], context[1]  # by their names it takes longer, here and below
    record.server = span
    record.root = context
    record.trace_id = trace_id
    record.resource = span.resource
    record.told_of_starts = light.told_of_starts(record)
    handover.begin(record)
    _open[span_id] = record
    if len(_open) > MAX_OPEN:
        _open.pop(next(iter(_open)), None)
    real_end = span.end

    def end(end_time: int | None = None) -> None:
        ended = end_time or time.time_ns()
        if not record.closed:
            try:
                set_clean(span, record.summary())
            except Exception:
                guard.failed("summary of a request")
            record.close()
        # No reference cycle stays behind: large values would wait for the garbage collector.
        vars(span).pop("end", None)
        real_end(ended)

    span.end = end


def set_clean(span: Span, attributes: Mapping[str, AttributeValue]) -> None:
    """`span.set_attributes` for values that need no cleaning.

    The SDK's cleaning of two dozen values is a fifth of what watching a JSON request costs (measured).
    Where its insides are not as known, or a limit applies, the ordinary way is taken.
    """
    bounded: Any = getattr(span, "_attributes", None)
    known: Any = getattr(bounded, "_dict", None)
    if (
        known.__class__ is dict
        and bounded.max_value_len is None
        and (bounded.maxlen is None or len(known) + len(attributes) <= bounded.maxlen)
    ):
        with bounded._lock:  # noqa: SLF001
            known.update(attributes)
    else:
        span.set_attributes(attributes)


class ToolbarProcessor(SpanProcessor):
    """See the module. `export` must be quick and must not raise."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._live: dict[int, Span] = {}
        self._draining: set[threading.Thread] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            if records.is_excluded():
                return
            self._remember(span)
            foreign.started(span)
            _place(span, parent_context)
            record = records.current()
            if record is None:
                return
            if record.closed_at:
                span.set_attribute(semconv.DETACHED, True)
            elif record.server is None and span.kind is SpanKind.SERVER:
                adopt(record, span)
        except Exception:
            guard.failed("start of a span")

    def on_end(self, span: ReadableSpan) -> None:
        try:
            context: Any = span.context
            trace_id, span_id = context[0], context[1]
            if self._live.pop(span_id, None) is None and records.is_excluded():
                return
            foreign.ended(span)
            record = records.current()
            if record is not None and record.trace_id == trace_id and not record.closed_at:
                handed_on = record.keep_back(span)
                if handed_on:
                    self._export(handed_on, ())
                return
            record = _open.pop(span_id, None)
            if record is None:
                self._export((span,), ())
            else:
                logged = logs.placed(record) if record.logs else ()
                if logged and record.untold_logs is None:
                    logs.tell_others(logged)
                # Its own span first: of a trace that is too large the rest is dropped.
                self._export((span, *record.ended, *self._drain(record)), logged)
        except Exception:
            guard.failed("end of a span")

    def otel_toolbar_take_all(self, spans: Sequence[light.LightSpan]) -> None:
        """Take ended light spans, many at once; they are converted when somebody looks."""
        self._export(spans, ())

    def take_logs(self, taken: Sequence[Any]) -> None:
        """Take log records that no running request holds."""
        self._export((), taken)

    def start_afresh(self) -> None:
        """Forget what runs in the parent of this forked process."""
        self._live.clear()
        self._draining.clear()
        _open.clear()
        handover.start_afresh()

    def live(self) -> tuple[list[Any], list[Any]]:
        """The spans that run, and ended ones and log records of running requests, as they are.

        Their writers may go on writing them: read them through `wire.packed`.
        """
        live = self._live.copy()
        running: list[Any] = []
        logged: list[Any] = []
        for span_id, record in _open.copy().items():
            server = record.server
            if server is not None:
                live[span_id] = server  # it may have run for days, and been given up as live
                _refresh(record, server)
            running += record.ended
            running += record.shown()
            logged += [log for log in record.logs if logs.trace_id(log)]
        return [*live.values(), *running], logged

    def _remember(self, span: Span) -> None:
        live = self._live
        context: Any = span.context
        live[context[1]] = span
        if len(live) > MAX_LIVE:
            live.pop(next(iter(live)), None)

    def _drain(self, record: records.Record) -> list[light.LightSpan]:
        """The record's ended light spans, told to others before they hear of the SERVER span.

        The ones still running are emitted when they end.
        """
        shown = record.shown()
        if not shown and record.untold is None:
            return []
        ended = [span for span in shown if span.end_time is not None]
        record.spans = []
        if len(ended) > INLINE:
            thread = threading.Thread(
                target=self._drain_rest, args=(record, ended[INLINE:]), name="otel-toolbar-drain"
            )
            self._draining.add(thread)
            thread.start()
        taken = light.take(ended[:INLINE])
        if record.untold is None:
            light.tell_others(record, taken)
        else:
            handover.end(record, INLINE)
        return taken

    def _drain_rest(self, record: records.Record, rest: list[light.LightSpan]) -> None:
        if record.untold is None:
            light.emit(record, rest)
        else:
            self._export(light.take(rest), ())
        self._draining.discard(threading.current_thread())

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        deadline = time.monotonic() + timeout_millis / 1000
        for thread in list(self._draining):
            thread.join(max(0.0, deadline - time.monotonic()))
        return handover.flush(max(0.0, deadline - time.monotonic())) and not self._draining


def _refresh(record: records.Record, server: Span) -> None:
    """Let the SERVER span of a long request say what is known by now."""
    try:
        if record.now is not None and server.is_recording():
            set_clean(server, record.now())
    except Exception:
        guard.failed("a look at a running request")


def _place(span: Span, context: Context | None) -> None:
    """Remember which job or message a span is, or is in."""
    if span.kind is SpanKind.CONSUMER:
        setattr(span, light.UNIT, span.get_span_context().span_id)
    elif span.parent is not None and (unit := light.unit_of(trace.get_current_span(context))):
        setattr(span, light.UNIT, unit)


class RecordEverything(Sampler):
    """Makes spans that a sampler drops recorded, not sampled: seen here, exported nowhere."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.takes_all = _takes_all(sampler)
        """Every trace that begins here is sampled, whatever it is."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        result: Any = self._sampler.should_sample(*args, **kwargs)
        if result.decision is Decision.DROP:
            return SamplingResult(Decision.RECORD_ONLY, result.attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        return self._sampler.get_description()


def _takes_all(sampler: Sampler) -> bool:
    """True for OpenTelemetry's default: the parent's decision, and where there is none always."""
    root: Any = getattr(sampler, "_root", None) if type(sampler) is ParentBased else sampler
    decision = getattr(root, "_decision", None) if type(root) is StaticSampler else None
    return decision is Decision.RECORD_AND_SAMPLE
