"""The spans of tasks, awaits and blocking calls; times come in ns of `steps.clock`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import callsite, current, exceptions, light, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.callsite import Place
from otel_toolbar.signals.core.lazy import LazySpan
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


class TaskSpan(LazySpan):
    """The span of a task of a request that still runs: what its `work` measures, in words when read."""

    __slots__ = ("_name", "_parent_id", "_state", "_told", "root", "work")

    kind = SpanKind.INTERNAL
    instrumentation_scope = SCOPE

    def __init__(self, work: steps.Work, above: Any, record: records.Record) -> None:
        self.work = work
        self._above = above
        server = self._server = record.server
        root = record.root
        if above is server and root is not None:
            self.root = root
            self._parent_id = root[1]
        elif type(above) is TaskSpan:
            self.root, self._parent_id = above.root, above.span_id
        else:
            root = self.root = self._rooted(above)
            self._parent_id = root.span_id
        self._facts: dict[str, Any] | None = None
        self._name: str | None = None
        self._state: str | None = None
        self._told: tuple[Any, ...] | None = None
        self.begin(record, work.created + steps.unix)

    @property
    def name(self) -> str:
        return self._name or f"task {self.work.label}"

    def update_name(self, name: str) -> None:
        if self.end_time is None:
            self._name = name

    @property
    def trace_id(self) -> int:
        return self.root[0]

    def ids(self) -> tuple[int, int, int, bool]:
        root, parent_id = self.root, self._parent_id
        return root[0], self.span_id, parent_id, root[2] and root[1] == parent_id

    def parts(self) -> tuple[Mapping[str, Any], ...]:
        try:
            told = self._told or _measured(self.work, self._state, self.work.last)
            return measured.attributes(*told), self.facts()
        except Exception:  # a few facts must not cost the span
            guard.failed("attributes of a task")
            return (self.facts(),)

    def figures(self) -> tuple[Any, ...] | None:
        if self._facts or self._events or self._links or self._name or self.root[2]:
            return None  # an error has attributes, too
        told = self._told or _measured(self.work, self._state, self.work.last)
        return self.span_id, self._parent_id, self.start_time, self.end_time, told

    def _new_facts(self) -> dict[str, Any]:
        return {}

    def finish(self, state: str, now: int) -> None:
        """End it with what was measured by `now`."""
        self._state = state
        self.end(now + steps.unix)

    def put_off(self, now: int) -> None:
        """End it with its request, before its task: what that does from `now` on is one more span."""
        work = self.work
        self._told = _measured(work, "running", now if work.first else 0)
        work.marks = None
        self.end(now + steps.unix)
        work.span = Later(self)


def _measured(work: steps.Work, state: str | None, last: int) -> tuple[Any, ...]:
    """The arguments of `measured.attributes`."""
    place = work.place
    return (
        work.label or "",
        None if place is None else callsite.attributes(place),
        state,
        work.task_name,
        work.marks,
        work.steps,
        work.busy,
        work.below,
        work.created,
        work.first,
        last,
    )


def start_task(work: steps.Work) -> Span:
    """The span of a task that is created after its request: a `TaskSpan` is for those before."""
    attributes = measured.attributes(*_measured(work, None, 0))
    return light.start(f"task {work.label}", SpanKind.INTERNAL, attributes, SCOPE)


def end_task(
    span: Any, work: steps.Work, state: str, error: BaseException | None, now: int
) -> None:
    """End the span of a task: a `TaskSpan`, a `Later`, or one that `start_task` made."""
    if isinstance(span, Later):
        span.end(work, state, error, now)
        return
    put_error(span, error)
    if isinstance(span, TaskSpan):
        span.finish(state, now)
    else:
        span.set_attributes(measured.attributes(*_measured(work, state, work.last)))
        span.end(now + steps.unix)


class Later:
    """Stands for the span of a task that goes on after its request: what it does then is one more."""

    def __init__(self, span: Any) -> None:
        self.name = span.name
        self.since = span.end_time or 0

    def end(self, work: steps.Work, state: str, error: BaseException | None, now: int) -> None:
        attributes = measured.attributes(*_measured(work, state, work.last))
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
