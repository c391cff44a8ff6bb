"""The errors of a trace, each with its exceptions, frames and what came before."""

from __future__ import annotations

from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import errors, reading
from otel_toolbar.insights.errors import Error
from otel_toolbar.insights.traceback import Frame, Raised
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class FrameView:
    """A call on the way to the exception."""

    place: shared.Place
    code: str
    """The source line, empty when it is not known."""
    own: bool
    """The app's own code."""
    locals: tuple[shared.Field, ...]
    """Its variables, with `CAPTURE=locals`."""


@dataclass(frozen=True)
class RaisedView:
    """One exception of a chain."""

    type: str
    message: str
    relation: str
    """How it led to the one before it in the list: `cause`, `context`; empty for the first."""
    frames: tuple[FrameView, ...]
    """Outermost first."""
    hidden: int
    """Frames that are not the app's own."""


@dataclass(frozen=True)
class Step:
    """Something that the request did before."""

    span_id: str
    name: str
    start: float
    """After the start of the trace, in s."""
    duration: float
    """In s; of what was still running, until now."""
    category: str
    failed: bool


@dataclass(frozen=True)
class ErrorView:
    """Like errors from one place."""

    position: int
    type: str
    message: str
    count: int
    handled: bool
    logged: bool
    start: float
    """When the first of them was, after the start of the trace, in s."""
    span_id: str | None
    span: str
    place: shared.Place | None
    """The app's own line nearest to where it was raised."""
    chain: tuple[RaisedView, ...]
    """The exception first, then what caused it."""
    before: tuple[Step, ...]


@dataclass(frozen=True)
class ErrorsView:
    """The panel."""

    count: int
    unhandled: int
    errors: tuple[ErrorView, ...]
    """In order of time."""
    running: bool


def view(trace: Trace, settings: Settings) -> ErrorsView:
    """The errors of a trace."""
    found = [
        _error(trace, error, position, settings)
        for position, error in enumerate(errors.find(trace), 1)
    ]
    return ErrorsView(
        count=sum(error.count for error in found),
        unhandled=sum(error.count for error in found if not error.handled),
        errors=tuple(found),
        running=trace.running,
    )


def badge(view: ErrorsView) -> Badge:
    """How many; those that nobody handled are errors."""
    if not view.count:
        return Badge()
    return Badge(str(view.count), "error" if view.unhandled else "info")


def _error(trace: Trace, error: Error, position: int, settings: Settings) -> ErrorView:
    values = _locals(error)
    frame = error.place
    return ErrorView(
        position=position,
        type=error.type,
        message=error.message,
        count=error.count,
        handled=error.handled,
        logged=error.logged,
        start=max(0.0, shared.seconds(error.time - trace.start)),
        span_id=error.span.span_id if error.span else None,
        span=shared.title(error.span) if error.span else "",
        place=_place(frame, settings) if frame else None,
        chain=tuple(_raised(raised, values, settings) for raised in error.chain),
        before=tuple(_step(trace, span) for span in errors.before(trace, error)),
    )


def _raised(
    raised: Raised, values: dict[str, list[shared.Field]], settings: Settings
) -> RaisedView:
    frames = tuple(
        FrameView(
            _place(frame, settings),
            frame.code,
            frame.own,
            tuple(values.get(f"{frame.path}:{frame.line}", ())),
        )
        for frame in raised.frames
    )
    hidden = sum(not frame.own for frame in frames)
    return RaisedView(raised.type, raised.message, raised.relation, frames, hidden)


def _place(frame: Frame, settings: Settings) -> shared.Place:
    link = shared.editor_link(frame.path, frame.line, settings.editor)
    return shared.Place(frame.path, frame.line, frame.function, link)


def _locals(error: Error) -> dict[str, list[shared.Field]]:
    """The variables by `file:line`."""
    found: dict[str, list[shared.Field]] = {}
    events = error.span.events if error.span else ()
    for event in events:
        for text in reading.strings(event.attributes.get(semconv.EXCEPTION_LOCALS)):
            place, _, assigned = text.partition(" ")
            name, _, value = assigned.partition(" = ")
            fields = found.setdefault(place, [])
            if all(known.name != name for known in fields):
                fields.append(shared.Field(name, value))
    return found


def _step(trace: Trace, span: Span) -> Step:
    return Step(
        span_id=span.span_id,
        name=shared.title(span),
        start=shared.offset(trace, span),
        duration=shared.seconds(span.duration_at(trace.now)),
        category=reading.category(span),
        failed=reading.failed(span),
    )
