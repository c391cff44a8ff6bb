"""Where a span's time went: every instant of it is given to one kind of work."""

from __future__ import annotations

from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.model import Span, Trace

from . import event_loop, reading
from .sweep import REST, Interval, sweep

KINDS: tuple[str, ...] = ("db", "cache", "http", "job", "template", "websocket", "internal", REST)
"""Of two kinds at work at one instant the earlier one is given it: whoever waits for a query is
helped by a quicker query, whatever else runs. `rest` is time with no other span at work."""


@dataclass(frozen=True)
class Part:
    """One kind of work within a span."""

    kind: str
    duration: int
    """ns of the span that are given to this kind; all parts add up to the span."""
    sum: int
    """ns of all its spans, together: more than `duration` when they ran at once."""
    count: int


def breakdown(trace: Trace, main: Span) -> tuple[Part, ...]:
    """Split the time of `main`; parts in the order of `KINDS`, empty ones left out."""
    spans = _within(trace, main)
    intervals = [Interval(kind, span.start, trace.end_of(span)) for kind, span in spans]
    shares = sweep(intervals, KINDS, main.start, trace.end_of(main))
    sums = dict.fromkeys(KINDS, 0)
    counts = dict.fromkeys(KINDS, 0)
    for kind, span in spans:
        sums[kind] += span.duration_at(trace.now)
        counts[kind] += 1
    sums["rest"] = shares["rest"]
    return tuple(
        Part(kind, shares[kind], sums[kind], counts[kind])
        for kind in KINDS
        if shares[kind] or counts[kind]
    )


def _within(trace: Trace, main: Span) -> list[tuple[str, Span]]:
    begin, end = main.start, trace.end_of(main)
    # What the callers of the main span do is not its work.
    callers = {span.span_id for span in trace.ancestors(main)}
    return [
        (_kind(span), span)
        for span in trace.spans
        if span is not main
        and span.start < end
        and trace.end_of(span) > begin
        and not span.flag(semconv.DETACHED)
        # A task and an await say where time went by, not what was done in it.
        and not event_loop.is_task(span)
        and not event_loop.is_await(span)
        and span.span_id not in callers
    ]


def _kind(span: Span) -> str:
    category = reading.category(span)
    return "internal" if category == "server" else category
