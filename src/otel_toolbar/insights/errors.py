"""What went wrong in a trace: exceptions on spans and in log records, and spans that failed without one.

An exception that passes through several spans, or that is logged as well, is one error. Like ones from
one place stand together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.model import Log, Span, Trace, Value

from . import reading, traceback
from .traceback import Frame, Raised


@dataclass
class Error:
    """Like errors from one place, told by the first of them."""

    type: str
    message: str
    time: int
    """Unix time in ns."""
    span: Span | None
    """Where it happened: the innermost span that saw it."""
    chain: tuple[Raised, ...]
    """The exceptions, the one raised last first; empty when there is no traceback."""
    handled: bool
    """The app or its framework made a response of it."""
    logged: bool
    """It stands in a log record, too."""
    count: int = 1

    @property
    def place(self) -> Frame | None:
        """The app's own frame nearest to where it was raised, else the innermost of all."""
        frames = self.chain[0].frames if self.chain else []
        return next(
            (frame for frame in reversed(frames) if frame.own), frames[-1] if frames else None
        )


def find(trace: Trace) -> tuple[Error, ...]:
    """The errors of a trace in order of time. Kept with it: a panel and the alerts ask."""
    if find not in trace.memo:
        trace.memo[find] = _find(trace)
    return trace.memo[find]


def _find(trace: Trace) -> tuple[Error, ...]:
    groups: dict[tuple[str, str, Frame | None], Error] = {}
    for error in sorted(_all(trace), key=lambda error: error.time):
        key = error.type, error.message, error.place
        known = groups.setdefault(key, error)
        if known is not error:
            _join(trace, known, error)
    return tuple(groups.values())


def before(trace: Trace, error: Error, most: int = 10) -> tuple[Span, ...]:
    """What the request had done by then: the last spans that began before, in order of start."""
    around = {error.span.span_id} if error.span else set[str]()
    around |= {span.span_id for span in (trace.ancestors(error.span) if error.span else ())}
    earlier = [s for s in trace.spans if s.start <= error.time and s.span_id not in around]
    return tuple(earlier[-most:])


def _all(trace: Trace) -> Iterator[Error]:
    for span in trace.spans:
        events = [event for event in span.events if event.name == semconv.EXCEPTION_EVENT]
        for event in events:
            handled = event.attributes.get(semconv.EXCEPTION_HANDLED) is True
            where = span if handled else _innermost(trace, span)
            yield _of_exception(event.attributes, event.time, where, handled=handled)
        if not events and _is_alone(trace, span):
            kind = reading.text(span, semconv.ERROR_TYPE) or "error"
            said = span.status_message or span.name
            yield Error(kind, said, span.end or span.start, span, (), handled=False, logged=False)
    for log in trace.logs:
        if semconv.EXCEPTION_TYPE in log.attributes:
            yield _of_log(trace, log)


def _of_exception(
    given: Mapping[str, Value], time: int, span: Span | None, *, handled: bool
) -> Error:
    chain = traceback.read(reading.as_text(given.get(semconv.EXCEPTION_STACKTRACE)))
    kind = reading.as_text(given.get(semconv.EXCEPTION_TYPE))
    said = reading.as_text(given.get(semconv.EXCEPTION_MESSAGE))
    return Error(kind or "exception", said, time, span, chain, handled=handled, logged=False)


def _of_log(trace: Trace, log: Log) -> Error:
    span = trace.by_id.get(log.span_id or "")
    error = _of_exception(log.attributes, log.time, span, handled=True)
    error.logged = True
    return error


def _is_alone(trace: Trace, span: Span) -> bool:
    """True for a failed span whose failure no other span tells better."""
    return (
        reading.failed(span)
        and not any(reading.failed(child) for child in trace.children.get(span.span_id, ()))
        and not any(_has_exception(above) for above in trace.ancestors(span))
        and not _is_told_below(trace, span)
    )


def _is_told_below(trace: Trace, span: Span) -> bool:
    """True when a span somewhere below failed by the same kind of error, as a resolver in a task."""
    kind = reading.text(span, semconv.ERROR_TYPE)
    pending = list(trace.children.get(span.span_id, ())) if kind else []
    while pending:
        below = pending.pop()
        if reading.failed(below) and reading.text(below, semconv.ERROR_TYPE) == kind:
            return True
        pending += trace.children.get(below.span_id, ())
    return False


def _innermost(trace: Trace, span: Span) -> Span:
    """Where an exception came from: spans that it left say only that they failed."""
    while inner := next(
        (
            child
            for child in reversed(trace.children.get(span.span_id, ()))
            if reading.failed(child) and not _has_exception(child)
        ),
        None,
    ):
        span = inner
    return span


def _has_exception(span: Span) -> bool:
    return any(event.name == semconv.EXCEPTION_EVENT for event in span.events)


def _join(trace: Trace, known: Error, other: Error) -> None:
    """Take another one of the group in: the same error seen again, or one more."""
    passed = (
        known.span is not None
        and other.span is not None
        and (_is_within(trace, known.span, other.span) or _is_within(trace, other.span, known.span))
    )
    if not passed and not other.logged:
        known.count += 1
    if (
        known.span is not None
        and other.span is not None
        and _is_within(trace, other.span, known.span)
    ):
        known.span = other.span
    known.logged = known.logged or other.logged
    known.handled = known.handled and other.handled


def _is_within(trace: Trace, inner: Span, outer: Span) -> bool:
    return any(span is outer for span in trace.ancestors(inner))
