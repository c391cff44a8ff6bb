"""One piece of a template's work while it goes on: its span, current for what happens inside of it.

Like pieces under one parent, as an include in a loop, have a span each up to `alike`; what comes after
is summed up on one more span, so that a loop of thousands neither costs nor keeps thousands.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import exceptions, light
from otel_toolbar.signals.core import record as records
from otel_toolbar.version import VERSION

SCOPE = InstrumentationScope("otel_toolbar.signals.templates", VERSION)
SUBJECT = "templates"

T = TypeVar("T")


class Rest:
    """What is summed up of like pieces under one parent."""

    __slots__ = ("before", "count", "inside", "last", "nanoseconds", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.count = 0
        self.nanoseconds = 0
        self.last = time.time_ns()
        self.before: Context | None = None
        """What was current around the last one, and in it."""
        self.inside: Context | None = None

    def add(self, nanoseconds: int) -> None:
        self.count += 1
        self.nanoseconds += nanoseconds
        self.last = time.time_ns()
        self.span.set_attribute(semconv.TEMPLATE_COUNT, self.count)
        self.span.set_attribute(semconv.TEMPLATE_DURATION, self.nanoseconds / 1e9)


class Templates:
    """A request's templates: the subject `templates` of its record."""

    def __init__(self) -> None:
        self.alike: dict[tuple[int, str], int] = {}
        """Pieces of work so far, by parent span and name."""
        self.rest: dict[tuple[int, str], Rest] = {}
        self.compiled: dict[Any, float] = {}
        """s that templates took to compile of which there is no object yet, by name and file."""
        self.fresh: dict[int, float | None] = {}
        """Templates made in this request, by id, with the s it took to compile them; None when their
        code was there already."""

    def summary(self) -> dict[str, Any]:
        """No figures of its own: it ends the spans that would have gone on taking more."""
        for rest in list(self.rest.values()):
            rest.span.end(rest.last)
        return {}

    @classmethod
    def of(cls, record: records.Record) -> Templates:
        """The request's, made with its first template."""
        found = record.subjects.get(SUBJECT)
        if found is None:
            found = record.subjects[SUBJECT] = cls()
        return cast(Templates, found)


def watching() -> bool:
    """True where a template's work belongs to a request that has room for it, or to a job's span."""
    record = records.current()
    if record is None:
        return not records.is_excluded() and trace.get_current_span().is_recording()
    if record.server is None:
        return False
    if len(record.spans) >= record.limit and not record.closed:
        record.dropped += 1
        return False
    return True


class Clock:
    """How long whoever reads a stream of template output did something else meanwhile."""

    __slots__ = ("paused",)

    def __init__(self) -> None:
        self.paused = 0
        """ns"""


stream: ContextVar[Clock | None] = ContextVar("otel_toolbar_template_stream", default=None)
"""The stream that is being read."""


class Work:
    """One piece. `begin` and `end` are called in the context that the template runs in."""

    __slots__ = ("_before", "_clock", "_ours", "_paused", "_rest", "_span", "_started", "name")

    alike: ClassVar[int] = 100
    """Spans of one name under one parent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._span: Span | None = None
        self._rest: Rest | None = None
        self._before: Context | None = None
        self._ours: Context | None = None
        self._clock: Clock | None = None
        self._paused = 0
        self._started = 0

    def attributes(self) -> dict[str, Any]:
        """What the span says from the start; asked for inside of the work."""
        raise NotImplementedError

    def failed(self, span: Span, error: Exception) -> None:
        """Write an error down."""
        exceptions.record(span, error)

    def begin(self) -> None:
        """Start, and be the current span."""
        try:
            self._before = before = otel_context.get_current()
            self._span = self._start(before)
            self._ours = ours = self._inside(before, self._span)
            otel_context.attach(ours)
            self._clock = stream.get()
            self._paused = self._clock.paused if self._clock is not None else 0
            self._started = time.perf_counter_ns()
        except Exception:
            guard.failed("start of a template")

    def fail(self, error: BaseException) -> None:
        """It has raised. A generator that is closed and a task that is cancelled are no errors."""
        try:
            if self._span is not None and isinstance(error, Exception):
                self._span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
                self._span.set_status(StatusCode.ERROR)
                self.failed(self._span, error)
        except Exception:
            guard.failed("error of a template")

    def end(self) -> None:
        """It is over, however. Only the first call counts."""
        try:
            span, self._span = self._span, None
            if span is not None:
                self._leave()
                self._finish(span)
        except Exception:
            guard.failed("end of a template")

    def _inside(self, before: Context, span: Span) -> Context:
        """The context in which the span is current; in a loop it is made once."""
        rest = self._rest
        if rest is None:
            return trace.set_span_in_context(span, before)
        if rest.before is not before or rest.inside is None:
            rest.before, rest.inside = before, trace.set_span_in_context(span, before)
        return rest.inside

    def _start(self, before: Context) -> Span:
        record = records.current()
        if record is not None and record.server is not None and not record.closed:
            self._rest = self._one_of_many(Templates.of(record), before)
            if self._rest is not None:
                return self._rest.span
        return light.start(self.name, SpanKind.INTERNAL, self.attributes(), SCOPE)

    def _one_of_many(self, templates: Templates, before: Context) -> Rest | None:
        key = trace.get_current_span(before).get_span_context().span_id, self.name
        count = templates.alike[key] = templates.alike.get(key, 0) + 1
        if count <= self.alike:
            return None
        rest = templates.rest.get(key)
        if rest is None:
            attributes = self.attributes()
            rest = Rest(light.start(self.name, SpanKind.INTERNAL, attributes, SCOPE))
            templates.rest[key] = rest
        return rest

    def _leave(self) -> None:
        # A generator that nobody read to its end may be closed anywhere, at any time: what is current
        # there is not ours to change.
        if self._ours is not None and otel_context.get_current() is self._ours:
            otel_context.attach(cast(Context, self._before))

    def _finish(self, span: Span) -> None:
        paused = self._clock.paused - self._paused if self._clock is not None else 0
        taken = time.perf_counter_ns() - self._started - paused
        if self._rest is not None:
            self._rest.add(taken)
            return
        if paused:
            span.set_attribute(semconv.TEMPLATE_DURATION, taken / 1e9)
        span.end()


def call(work: Work, real: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function as a piece of work."""
    work.begin()
    try:
        return real(*args, **kwargs)
    except BaseException as error:
        work.fail(error)
        raise
    finally:
        work.end()
