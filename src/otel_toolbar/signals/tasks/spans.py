"""The spans of tasks, awaits and blocking calls; times come in ns of `steps.clock`."""

from __future__ import annotations

import time
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import semconv
from otel_toolbar.signals.core import callsite, exceptions, lazy, light, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.callsite import Place
from otel_toolbar.version import VERSION

from . import timeline

SCOPE = InstrumentationScope("otel_toolbar.signals.tasks", VERSION)
_RECENT = 20
"""Spans looked at for one that tells of an await already."""


def wall(at: int) -> int:
    """A time of `steps.clock` as unix ns."""
    return time.time_ns() - (steps.clock() - at)


def put_place(attributes: dict[str, Any], place: Place | None) -> None:
    if place is not None:
        attributes[semconv.CODE_FILE_PATH] = place.file
        attributes[semconv.CODE_LINE_NUMBER] = place.line
        attributes[semconv.CODE_FUNCTION_NAME] = place.function


def short(place: Place) -> str:
    """The function's name without its module."""
    function = place.function
    return function if function.startswith("template ") else function.rpartition(".")[2]


# Tasks.


def coroutine_name(coro: Any) -> str:
    return str(getattr(coro, "__qualname__", None) or type(coro).__name__)


class TaskSpan(lazy.LazySpan):
    """The span of a task of a request that still runs; what is measured is put in words later."""

    __slots__ = ("_coroutine", "_measured", "_name", "_place")

    def __init__(
        self, coroutine: str, place: Place | None, above: Span, record: records.Record, created: int
    ) -> None:
        super().__init__(SpanKind.INTERNAL, above, record, created)
        self.instrumentation_scope = SCOPE
        self._coroutine = coroutine
        self._place = place
        self._name: str | None = None
        self._measured: Measured | None = None

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._name or f"task {self._coroutine}"

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def own(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        facts = self._facts
        if facts is None or self._measured is not None:
            with lazy.making:
                facts = self._facts = self._facts or self._new_facts()
                measured, self._measured = self._measured, None
                if measured is not None:
                    facts.update(_facts(measured))
        return facts

    def _new_facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {semconv.ASYNCIO_TASK_COROUTINE: self._coroutine}
        put_place(facts, self._place)
        return facts

    def take(self, measured: Measured) -> None:
        """To be called before its end."""
        self._measured = measured


Measured = tuple[str, str | None, int, int, int, int, int, int, "list[int] | None"]
"""What `_measured` tells of a task that has ended, or goes on after its request."""


def _measured(work: steps.Work, state: str, until: int) -> Measured:
    waits = state == "running" and work.first != 0
    return (
        state,
        work.name,
        work.steps,
        work.busy,
        work.below,
        work.first,
        work.first - work.created,
        until if waits else work.last,
        timeline.parts_of(work, until if waits else None),
    )


def _facts(measured: Measured) -> dict[str, Any]:
    state, name, count, busy, below, first, queued, until, parts = measured
    facts: dict[str, Any] = {
        semconv.ASYNCIO_TASK_STATE: state,
        semconv.ASYNCIO_TASK_STEPS: count,
        semconv.ASYNCIO_TASK_CPU: busy / 1e9,
        semconv.ASYNCIO_TASK_WAIT: max(0, until - first - busy - below) / 1e9,
    }
    if name is not None:
        facts[semconv.ASYNCIO_TASK_NAME] = name
    if first:
        facts[semconv.ASYNCIO_TASK_STARTED] = queued / 1e9
    if parts is not None:
        facts[semconv.ASYNCIO_TASK_TIMELINE] = timeline.in_us(parts)
    return facts


def start_task(
    record: records.Record, coroutine: str, place: Place | None, context: Any = None
) -> Span:
    if record.closed_at or record.told_of_starts:
        attributes: dict[str, Any] = {semconv.ASYNCIO_TASK_COROUTINE: coroutine}
        put_place(attributes, place)
        return light.start(f"task {coroutine}", SpanKind.INTERNAL, attributes, SCOPE)
    span = TaskSpan(coroutine, place, trace.get_current_span(context), record, time.time_ns())
    record.keep(span)
    return span


def end_task(work: steps.Work, state: str, error: BaseException | None, now: int) -> None:
    """End the span of a task; `running` for one that goes on after its request."""
    span: Span = work.span
    measured = _measured(work, state, now)
    if isinstance(span, TaskSpan):
        span.take(measured)
    else:
        span.set_attributes(_facts(measured))
    if error is not None:
        put_error(span, error)
    span.end(wall(now))


class Later:
    """Stands for the span of a task that goes on after its request: what it does then is one more."""

    def __init__(self, span: light.LightSpan) -> None:
        self.name = span.name
        self.since = span.end_time or 0

    def end(self, work: steps.Work, state: str, error: BaseException | None, now: int) -> None:
        attributes: dict[str, Any] = {semconv.ASYNCIO_TASK_COROUTINE: work.label}
        put_place(attributes, work.place)
        attributes |= _facts(_measured(work, state, now))
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
    current: Any = trace.get_current_span()
    if getattr(current, "kind", None) is SpanKind.CLIENT:
        return True
    record = records.current()
    parent = current.get_span_context().span_id
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
