"""What Litestar called around a trace, in order, and what the app declares to be called."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import process, reading
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings

TRIED = "2.13"
"""The oldest version of Litestar that this was tried with."""

Place = tuple[str, str, int | None]


@dataclass(frozen=True)
class CallView:
    """One call of a hook, a listener or an exception handler."""

    span_id: str
    kind: str
    """`listener`, `exception_handler`, or the hook's name."""
    name: str
    """The event's, the hook's, or the exception's class."""
    function: str
    place: shared.Place | None
    start: float
    """After the start of the trace, in s."""
    duration: float | None
    """None while it runs."""
    waited: float | None
    """Of a listener: from `emit` to its start, in s. None where the emitter is not in the trace."""
    late: bool
    """It began when the response was complete."""
    error: str


@dataclass(frozen=True)
class EmitView:
    """One event that was emitted."""

    span_id: str
    name: str
    place: shared.Place | None
    """Of the line that emitted."""
    start: float
    listeners: tuple[CallView, ...]
    """As far as they have begun."""
    error: str


@dataclass(frozen=True)
class DeclaredView:
    """A hook, listener or exception handler of the app; `calls`: how often this trace called it."""

    kind: str
    name: str
    place: shared.Place | None
    calls: int


@dataclass(frozen=True)
class EventsView:
    """The panel."""

    litestar: bool
    """False where nothing in the trace is of Litestar."""
    version: str
    """Of Litestar, empty when it is not known."""
    too_old: bool
    """Older than what was tried."""
    total: float
    """Time in s of hooks and exception handlers, on the request's way."""
    emitted: tuple[EmitView, ...]
    calls: tuple[CallView, ...]
    """In order of start."""
    declared: tuple[DeclaredView, ...]
    running: bool


def view(trace: Trace, settings: Settings) -> EventsView:
    """The hooks, events and exception handlers of a trace."""
    found = sorted(
        (span for span in trace.spans if semconv.LITESTAR_EVENT_KIND in span.attributes),
        key=lambda span: span.start,
    )
    calls = {span.span_id: _call(trace, span, settings) for span in found if not _emits(span)}
    version = dict(process.packages(trace)).get("litestar", "")
    declared = _declared(trace, list(calls.values()), settings)
    main = trace.main
    framework = reading.text(main, semconv.TOOLBAR_FRAMEWORK) if main is not None else ""
    return EventsView(
        litestar=framework == "litestar" or bool(found or declared),
        version=version,
        too_old=bool(version) and _numbers(version) < _numbers(TRIED),
        total=sum(call.duration or 0.0 for call in calls.values() if call.kind != "listener"),
        emitted=tuple(_emit(trace, span, calls, settings) for span in found if _emits(span)),
        calls=tuple(calls.values()),
        declared=declared,
        running=trace.running,
    )


def badge(view: EventsView) -> Badge:
    """How many calls there were."""
    failed = any(each.error for each in (*view.calls, *view.emitted))
    return Badge(str(len(view.calls)) if view.calls else None, "error" if failed else "ok")


def _emits(span: Span) -> bool:
    return span.text(semconv.LITESTAR_EVENT_KIND) == "emit"


def _call(trace: Trace, span: Span, settings: Settings) -> CallView:
    kind = reading.text(span, semconv.LITESTAR_EVENT_KIND)
    above = next(trace.ancestors(span), None)
    waited = kind == "listener" and above is not None and _emits(above)
    return CallView(
        span_id=span.span_id,
        kind=kind,
        name=reading.text(span, semconv.LITESTAR_EVENT_NAME),
        function=reading.text(span, semconv.LITESTAR_LISTENER),
        place=shared.place(span, settings),
        start=shared.offset(trace, span),
        duration=None if span.running else shared.seconds(span.duration_at(trace.now)),
        waited=max(0.0, shared.seconds(span.start - above.start)) if waited and above else None,
        late=span.flag(semconv.DETACHED),
        error=shared.exception(span) if reading.failed(span) else "",
    )


def _emit(trace: Trace, span: Span, calls: dict[str, CallView], settings: Settings) -> EmitView:
    below = sorted(trace.children.get(span.span_id, ()), key=lambda each: each.start)
    return EmitView(
        span_id=span.span_id,
        name=reading.text(span, semconv.LITESTAR_EVENT_NAME),
        place=shared.place(span, settings),
        start=shared.offset(trace, span),
        listeners=tuple(calls[each.span_id] for each in below if each.span_id in calls),
        error=shared.exception(span),
    )


def _declared(trace: Trace, calls: list[CallView], settings: Settings) -> tuple[DeclaredView, ...]:
    ran = Counter((each.kind, _where(each.place)) for each in calls)
    found: list[DeclaredView] = []
    for hook in process.hooks(trace):
        place = shared.code_place(hook.code, settings)
        found.append(DeclaredView(hook.kind, hook.name, place, ran[hook.kind, _where(place)]))
    return tuple(found)


def _where(place: shared.Place | None) -> Place:
    return (place.function, place.path, place.line) if place is not None else ("", "", None)


def _numbers(version: str) -> tuple[int, ...]:
    """The first two parts of a version."""
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts if part.isdecimal() and len(part) < 9)
