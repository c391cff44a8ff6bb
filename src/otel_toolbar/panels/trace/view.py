"""The waterfall: every span with its depth, its offset and what it did itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import event_loop, reading
from otel_toolbar.insights.n_plus_one import find
from otel_toolbar.model import Event, Link, Span, Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import (
    Field,
    Place,
    exception,
    fields,
    offset,
    place,
    seconds,
    stack,
    title,
)
from otel_toolbar.settings import Settings

_EVENTS = 20
"""Events drawn on one bar; the details have them all."""

_TEXT = 160
"""Characters of the statement or URL beside a span's name."""


@dataclass(frozen=True)
class Mark:
    """An event, as a mark on its span's bar."""

    name: str
    at: float
    """In s since the start of the trace."""


@dataclass(frozen=True)
class Row:
    """A span in the waterfall. Times in s since the start of the trace."""

    id: str
    parent: str | None
    """None for a span at the top, also when its parent is not in the trace."""
    depth: int
    name: str
    text: str
    """What tells it from its like: the statement, the URL, the path."""
    kind: str
    category: str
    service: str
    start: float
    duration: float
    self_time: float
    running: bool
    error: str
    """The error in one line; empty when there is none."""
    critical: bool
    detached: bool
    """Work after the response."""
    n_plus_one: str
    """The N+1 group that the span belongs to, else empty."""
    events: tuple[Mark, ...]


@dataclass(frozen=True)
class Share:
    """The spans of one category."""

    category: str
    count: int
    self_time: float
    """Time in s in them and in none of their children, together."""


@dataclass(frozen=True)
class Stripe:
    """A stretch in which the event loop was blocked, in s since the start of the trace."""

    id: str
    start: float
    duration: float


@dataclass(frozen=True)
class TraceView:
    """All rows, parents before children."""

    trace_id: str
    start: float
    """Unix time in s."""
    duration: float
    """From the first start to the last end, in s."""
    running: bool
    dropped: int
    """Spans that were not kept."""
    services: tuple[str, ...]
    shares: tuple[Share, ...]
    blocked: tuple[Stripe, ...]
    """When nothing could run on the event loop."""
    spans: tuple[Row, ...]


@dataclass(frozen=True)
class Happening:
    """An event with all it says."""

    name: str
    at: float
    attributes: tuple[Field, ...]


@dataclass(frozen=True)
class SpanView:
    """Everything about one span."""

    id: str
    parent: str | None
    name: str
    kind: str
    category: str
    start: float
    """In s since the start of the trace."""
    duration: float
    self_time: float
    running: bool
    error: str
    status: str
    status_message: str
    service: str
    scope: str
    place: Place | None
    stack: tuple[Place, ...]
    attributes: tuple[Field, ...]
    events: tuple[Happening, ...]
    links: tuple[tuple[str, str], ...]
    """Trace and span ids."""
    resource: tuple[Field, ...]
    dropped: int
    """Attributes, events and links that were not kept."""


def view(trace: Trace, settings: Settings) -> TraceView:
    repeated = find(trace, settings.n_plus_one, settings.n_plus_one_duration * 1_000_000).n_plus_one
    groups = {span.span_id: found.group for found in repeated for span in found.spans}
    rows = tuple(_row(trace, span, depth, groups) for span, depth in trace.walk())
    return TraceView(
        trace_id=trace.trace_id,
        start=seconds(trace.start),
        duration=seconds(trace.end - trace.start),
        running=trace.running,
        dropped=trace.dropped + sum(_dropped(span) for span in trace.spans),
        services=tuple(sorted({row.service for row in rows if row.service})),
        shares=_shares(rows),
        blocked=tuple(
            Stripe(span.span_id, offset(trace, span), seconds(span.duration_at(trace.now)))
            for span in trace.spans
            if event_loop.is_blocking(span)
        ),
        spans=rows,
    )


def badge(view: TraceView) -> Badge:
    return _badge(len(view.spans), any(row.error for row in view.spans))


def glance(trace: Trace, _: Settings) -> Badge:
    return _badge(len(trace.spans), any(map(reading.failed, trace.spans)))


def _badge(spans: int, failed: bool) -> Badge:
    return Badge(f"{spans:,}", "error" if failed else "ok")


def span_view(trace: Trace, span_id: str, settings: Settings) -> SpanView | None:
    """The details of one span; None when it is not in the trace."""
    span = trace.by_id.get(span_id)
    if span is None:
        return None
    return SpanView(
        id=span.span_id,
        parent=span.parent_id,
        name=title(span),
        kind=span.kind.value,
        category=reading.category(span),
        start=offset(trace, span),
        duration=seconds(span.duration_at(trace.now)),
        self_time=seconds(trace.self_time(span)),
        running=span.running,
        error=exception(span),
        status=span.status.value,
        status_message=span.status_message,
        service=reading.service(span),
        scope=f"{span.scope.name} {span.scope.version}".strip(),
        place=place(span, settings),
        stack=stack(span, settings),
        attributes=fields(dict(span.attributes)),
        events=tuple(_happening(trace, event) for event in span.events),
        links=tuple(_link(link) for link in span.links),
        resource=fields(dict(span.resource)),
        dropped=span.dropped,
    )


def _row(trace: Trace, span: Span, depth: int, groups: Mapping[str, str]) -> Row:
    return Row(
        id=span.span_id,
        parent=span.parent_id if depth else None,
        depth=depth,
        name=title(span),
        text=_text(span),
        kind=span.kind.value,
        category=reading.category(span),
        service=reading.service(span),
        start=offset(trace, span),
        duration=seconds(span.duration_at(trace.now)),
        self_time=seconds(trace.self_time(span)),
        running=span.running,
        error=exception(span),
        critical=span.span_id in trace.critical_path,
        detached=span.flag(semconv.DETACHED),
        n_plus_one=groups.get(span.span_id, ""),
        events=tuple(_mark(trace, event) for event in span.events[:_EVENTS]),
    )


def _text(span: Span) -> str:
    told = (
        reading.statement(span)
        or reading.text(span, semconv.URL_FULL, semconv.OLD_HTTP_URL, semconv.TEMPLATE_NAME)
        or reading.path(span)
    )
    text = " ".join(told[: 2 * _TEXT].split())[:_TEXT]
    return "" if text in span.name else text


def _mark(trace: Trace, event: Event) -> Mark:
    return Mark(event.name, max(0.0, seconds(event.time - trace.start)))


def _happening(trace: Trace, event: Event) -> Happening:
    at = seconds(event.time - trace.start)
    return Happening(event.name, at, fields(dict(event.attributes)))


def _link(link: Link) -> tuple[str, str]:
    return link.trace_id, link.span_id


def _dropped(span: Span) -> int:
    return max(0, span.integer(semconv.DROPPED) or 0)


def _shares(rows: tuple[Row, ...]) -> tuple[Share, ...]:
    counts: dict[str, int] = {}
    times: dict[str, float] = {}
    for row in rows:
        counts[row.category] = counts.get(row.category, 0) + 1
        times[row.category] = times.get(row.category, 0.0) + row.self_time
    ordered = sorted(times, key=lambda category: -times[category])
    return tuple(Share(category, counts[category], times[category]) for category in ordered)
