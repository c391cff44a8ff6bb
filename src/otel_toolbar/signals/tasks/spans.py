"""The spans of tasks, awaits and blocking calls; times come in ns of `steps.clock`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import callsite, current, exceptions, lazy, light, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.callsite import Place
from otel_toolbar.wire import measured

SCOPE = InstrumentationScope(*measured.SCOPE)
_RECENT = 20
"""Spans looked at for one that tells of an await already."""


def wall(at: int) -> int:
    """A time of `steps.clock` as unix ns."""
    steps.set_unix()
    return at + steps.unix


def put_place(attributes: dict[str, Any], place: Place | None) -> None:
    if place is not None:
        attributes.update(callsite.attributes(place))


def short(place: Place) -> str:
    """The function's name without its module."""
    function = place.function
    return function if function.startswith("template ") else function.rpartition(".")[2]


# Tasks.


def coroutine_name(coro: Any) -> str:
    return str(getattr(coro, "__qualname__", None) or type(coro).__name__)


class TaskSpan(lazy.LazySpan):
    """The span of a task of a request that still runs; what is measured is put in words when it is read."""

    __slots__ = ("_name", "_state", "_work")

    kind = SpanKind.INTERNAL  # pyright: ignore[reportIncompatibleVariableOverride, reportAssignmentType]
    instrumentation_scope = SCOPE  # pyright: ignore[reportIncompatibleVariableOverride, reportAssignmentType]

    def __init__(self, work: steps.Work, above: Span, record: records.Record) -> None:
        self._work = work
        self._state: str | None = None
        self._name: str | None = None
        self._above = above
        self._server = record.server
        self.span_id = light.random_bits(64) or 1
        self._context = self._facts = self._links = self._events = None
        self.record = record
        self.resource = record.resource
        self.limits, self._status = lazy.NOTHING
        self.start_time = work.created + steps.unix
        self.end_time = None

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._name or f"task {self._work.label}"

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    def parts(self) -> tuple[Mapping[str, Any], ...]:
        try:
            return measured.attributes(*_measured(self._work, self._state)), self.own
        except Exception:  # a few facts must not cost the span
            guard.failed("attributes of a task")
            return (self.own,)

    def figures(self) -> tuple[Any, ...] | None:
        if self._facts or self._events or self._links or self._name:
            return None  # an error has attributes, too
        return _measured(self._work, self._state)

    def _new_facts(self) -> dict[str, Any]:
        return {}

    def finish(self, work: steps.Work, state: str, now: int) -> None:
        """End it with what was measured by `now`."""
        self._work = work
        self._state = state
        self.end(now + steps.unix)


def _measured(work: steps.Work, state: str | None) -> tuple[Any, ...]:
    place = work.place
    return (
        work.label or "",
        None if place is None else callsite.attributes(place),
        state,
        work.name,
        work.steps,
        work.busy,
        work.below,
        work.created,
        work.first,
        work.last,
        None if state is None else work.marks,
    )


def start_task(work: steps.Work) -> Span:
    """The span of a task where a `TaskSpan` cannot be."""
    attributes = measured.attributes(*_measured(work, None))
    return light.start(f"task {work.label}", SpanKind.INTERNAL, attributes, SCOPE)


def end_task(
    span: Span, work: steps.Work, state: str, error: BaseException | None, now: int
) -> None:
    """End the span of a task; `running` for one that goes on after its request."""
    if error is not None:
        put_error(span, error)
    if isinstance(span, TaskSpan):
        span.finish(work, state, now)
    else:
        span.set_attributes(measured.attributes(*_measured(work, state)))
        span.end(now + steps.unix)


class Later:
    """Stands for the span of a task that goes on after its request: what it does then is one more."""

    def __init__(self, span: light.LightSpan) -> None:
        self.name = span.name
        self.since = span.end_time or 0

    def end(self, work: steps.Work, state: str, error: BaseException | None, now: int) -> None:
        attributes = measured.attributes(*_measured(work, state))
        span = light.start(self.name, SpanKind.INTERNAL, attributes, SCOPE, self.since)
        put_error(span, error)
        span.end(wall(now))


def put_error(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
        span.set_status(StatusCode.ERROR)
        exceptions.record(span, error)


# Awaits.


def put_await(place: Place, target: str, work: steps.Work, ready: int, now: int) -> None:
    """A span of an await that is over, from the last step to this one."""
    begin = wall(work.last)
    if _is_told(begin):
        return
    attributes: dict[str, Any] = {
        semconv.ASYNCIO_AWAIT_TARGET: target,
        semconv.ASYNCIO_AWAIT_QUEUED: (now - ready) / 1e9,
    }
    put_place(attributes, place)
    name = f"await {short(place)}"
    light.start(name, SpanKind.INTERNAL, attributes, SCOPE, begin).end(wall(now))


def _is_told(begin: int) -> bool:
    """True when a query or an outgoing call that has a span is what was awaited."""
    above = current.span()
    if getattr(above, "kind", None) is SpanKind.CLIENT:
        return True
    record = records.current()
    parent = above.get_span_context().span_id
    for span in reversed(record.spans[-_RECENT:] if record is not None else ()):
        if (
            span.kind is SpanKind.CLIENT
            and span.parent.span_id == parent
            and span.start_time <= begin
            and (span.end_time is None or span.end_time > begin)
        ):
            return True
    return False


# Blocking calls.


def put_blocking(
    stack: callsite.Stack | None, place: Place | None, name: str, facts: dict[str, Any],
    since: int, until: int, *, stacks: bool,
) -> None:  # fmt: skip
    attributes = dict(facts)
    if stack is not None:
        place = stack.places[0]
        if stacks:
            attributes[semconv.CODE_STACKTRACE] = stack.text
    put_place(attributes, place)
    shown = f"blocking {name if place is None else short(place)}"
    span = light.start(shown, SpanKind.INTERNAL, attributes, SCOPE, wall(since))
    span.end(wall(until))
