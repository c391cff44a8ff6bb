"""The spans of tasks, awaits and blocking calls; times come in ns of `steps.clock`."""

from __future__ import annotations

import time
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import semconv
from otel_toolbar.signals.core import callsite, exceptions, light, steps
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


def start_task(name: str, place: Place | None) -> Span:
    attributes: dict[str, Any] = {semconv.ASYNCIO_TASK_COROUTINE: name}
    put_place(attributes, place)
    return light.start(f"task {name}", SpanKind.INTERNAL, attributes, SCOPE)


def end_task(work: steps.Work, state: str, error: BaseException | None, now: int) -> None:
    """End the span of a task; `running` for one that goes on after its request."""
    span: Span = work.span
    waits = state == "running" and work.first != 0
    span.set_attributes(_facts(work, state, now if waits else work.last))
    span.set_attribute(
        semconv.ASYNCIO_TASK_TIMELINE, timeline.of_task(work, now if waits else None)
    )
    put_error(span, error)
    span.end(wall(now))


def _facts(work: steps.Work, state: str, until: int) -> dict[str, Any]:
    facts: dict[str, Any] = {
        semconv.ASYNCIO_TASK_STATE: state,
        semconv.ASYNCIO_TASK_STEPS: work.steps,
        semconv.ASYNCIO_TASK_CPU: work.busy / 1e9,
        semconv.ASYNCIO_TASK_WAIT: max(0, until - work.first - work.busy - work.below) / 1e9,
    }
    if work.name is not None:
        facts[semconv.ASYNCIO_TASK_NAME] = work.name
    if work.first:
        facts[semconv.ASYNCIO_TASK_STARTED] = (work.first - work.created) / 1e9
    return facts


class Later:
    """Stands for the span of a task that goes on after its request: what it does then is one more."""

    def __init__(self, span: light.LightSpan) -> None:
        self.name = span.name
        self.coroutine = span.attributes[semconv.ASYNCIO_TASK_COROUTINE]
        self.since = span.end_time or 0

    def end(self, work: steps.Work, state: str, error: BaseException | None, now: int) -> None:
        attributes = {semconv.ASYNCIO_TASK_COROUTINE: self.coroutine}
        put_place(attributes, work.place)
        attributes |= _facts(work, state, now)
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
