"""The time line: a lane a task, what held the loop, what was awaited, how much went on at once.

It is what `GET traces/{id}/panels/tasks/timeline` answers, and all that the page draws from. Times
are in s since the start of the trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from otel_toolbar import semconv
from otel_toolbar.insights import event_loop, reading
from otel_toolbar.insights.event_loop import Load, Stretch
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.panels.shared import Place, exception, offset, place, seconds, stack, title
from otel_toolbar.settings import Settings

SLICES = 240
"""Slices of the time in `Timeline.concurrency`."""

State = Literal["done", "cancelled", "failed", "outlived", "running"]
"""`outlived`: it ended, but after its request; `running`: it had not when its request did, and
nothing is known of it since."""

LaneKind = Literal["request", "task", "thread"]


@dataclass(frozen=True)
class Lane:
    """A task, work in a thread, or the request that they belong to.

    What is not in `running` is waiting.
    """

    id: str
    """Of its span."""
    parent: str | None
    """The lane in which it was created; None at the top."""
    depth: int
    kind: LaneKind
    name: str
    """The coroutine's, the function's, or the request's."""
    task: str
    """The name that the task or the thread bears; empty for a request."""
    process: str
    """Lanes of one process share its event loop."""
    state: State
    detached: bool
    """Work after the response."""
    error: str
    start: float
    """When it was created."""
    started: float | None
    """From then to its first step, or until a thread took it; None when that is not known."""
    duration: float
    steps: int | None
    held: float
    """Time it held the loop (of a request, its handler did); in a thread, the thread's CPU time."""
    waited: float
    place: Place | None
    """Where it was created."""
    running: tuple[tuple[float, float], ...]
    """When it held the loop, or its thread: from, to. Empty when that is not known."""


@dataclass(frozen=True)
class Await:
    """An await that took longer than its threshold."""

    id: str
    lane: str | None
    name: str
    target: str
    """What was awaited."""
    start: float
    duration: float
    queued: float
    """Part of it in which the task was ready, and the loop busy with others."""
    place: Place | None


@dataclass(frozen=True)
class Blocking:
    """A call that held the loop for longer than its threshold; nothing else ran meanwhile."""

    id: str
    lane: str | None
    name: str
    task: str
    process: str
    start: float
    duration: float
    threshold: float
    cause: str
    """cpu, sleep, machine, gc; empty when not known."""
    cpu: float | None
    """CPU time of the loop's thread in it, at most."""
    stolen: float | None
    """Time in which the machine gave the thread no CPU, at most."""
    place: Place | None
    """The line that blocked."""
    stack: tuple[Place, ...]


@dataclass(frozen=True)
class Slice:
    """How much went on from `at` to the next slice."""

    at: float
    tasks: int
    """Tasks that existed."""
    busy: float
    """Share of the slice in which one of them held the loop, 0 to 1."""


@dataclass(frozen=True)
class Timeline:
    """All of it; lanes with parents before children."""

    trace_id: str
    start: float
    """Unix time in s."""
    duration: float
    running: bool
    lanes: tuple[Lane, ...]
    awaits: tuple[Await, ...]
    blocking: tuple[Blocking, ...]
    concurrency: tuple[Slice, ...]


def timeline(trace: Trace, settings: Settings) -> Timeline:
    lanes = _lanes(trace, settings)
    known = {lane.id for lane in lanes}
    above = {span_id: span.span_id for span_id, span in event_loop.lane_of(trace).items()}
    above = {span_id: lane for span_id, lane in above.items() if lane in known}
    return Timeline(
        trace_id=trace.trace_id,
        start=seconds(trace.start),
        duration=seconds(trace.end - trace.start),
        running=trace.running,
        lanes=lanes,
        awaits=tuple(
            _await(trace, span, above, settings)
            for span in trace.spans
            if event_loop.is_await(span)
        ),
        blocking=blocking(trace, settings, above),
        concurrency=_concurrency(trace),
    )


def blocking(
    trace: Trace, settings: Settings, above: Mapping[str, str] | None = None
) -> tuple[Blocking, ...]:
    """Calls that blocked the loop, in order of time."""
    lanes = above or {}
    return tuple(
        _blocking(trace, span, lanes, settings)
        for span in trace.spans
        if event_loop.is_blocking(span)
    )


def _lanes(trace: Trace, settings: Settings) -> tuple[Lane, ...]:
    parents = event_loop.lane_of(trace)
    depths: dict[str, int] = {}
    found: list[Lane] = []
    for span, _ in trace.walk():
        kind = _kind(trace, span)
        if kind is None:
            continue
        parent = parents.get(span.span_id)
        above = parent.span_id if parent and parent.span_id in depths else None
        depths[span.span_id] = depths[above] + 1 if above else 0
        found.append(_lane(trace, span, above, depths[span.span_id], kind, settings))
    return tuple(found)


def _lane(
    trace: Trace, span: Span, parent: str | None, depth: int, kind: LaneKind, settings: Settings
) -> Lane:
    held = _in_thread(trace, span) if kind == "thread" else event_loop.held(trace, span)
    rest = event_loop.rest(trace, span)
    last = rest or span  # its figures are those of the whole task
    told = _time(last, semconv.ASYNCIO_TASK_CPU, semconv.ASYNCIO_EXECUTOR_CPU)
    drawn = seconds(sum(end - start for start, end in held))
    return Lane(
        id=span.span_id,
        parent=parent,
        depth=depth,
        kind=kind,
        name=_coroutine(span) if kind == "task" else title(span),
        task=reading.text(last, semconv.ASYNCIO_TASK_NAME, semconv.THREAD_NAME),
        process=event_loop.process(span),
        state=_state(span, rest),
        detached=span.flag(semconv.DETACHED),
        error=exception(last),
        start=offset(trace, span),
        started=_time(span, semconv.ASYNCIO_TASK_STARTED, semconv.ASYNCIO_EXECUTOR_STARTED),
        duration=seconds(max(0, trace.end_of(last) - span.start)),
        steps=reading.integer(last, semconv.ASYNCIO_TASK_STEPS),
        held=drawn if told is None else told,
        waited=_time(last, semconv.ASYNCIO_TASK_WAIT) or 0.0,
        place=place(span, settings),
        running=tuple((_since(trace, start), _since(trace, end)) for start, end in held),
    )


def _kind(trace: Trace, span: Span) -> LaneKind | None:
    if event_loop.is_task(span):
        return None if event_loop.continues(trace, span) else "task"
    if event_loop.is_executor(span):
        return "thread"
    return "request" if span.kind is Kind.SERVER else None


def _in_thread(trace: Trace, span: Span) -> tuple[Stretch, ...]:
    taken, end = event_loop.began(span), trace.end_of(span)
    return ((taken, end),) if taken < end else ()


def _time(span: Span, *keys: str) -> float | None:
    """A duration in s; one below zero is none."""
    told = reading.number(span, *keys)
    return told if told is not None and told >= 0 else None


def _coroutine(span: Span) -> str:
    return reading.text(span, semconv.ASYNCIO_TASK_COROUTINE) or title(span).removeprefix("task ")


def _state(span: Span, rest: Span | None) -> State:
    if rest is not None:
        ended = _state(rest, None)
        return "outlived" if ended == "done" else ended
    told = reading.text(span, semconv.ASYNCIO_TASK_STATE, semconv.ASYNCIO_EXECUTOR_STATE)
    if told == "cancelled":
        return "cancelled"
    if told == "failed" or reading.failed(span):
        return "failed"
    return "running" if told == "running" or span.running else "done"


def _await(trace: Trace, span: Span, lanes: Mapping[str, str], settings: Settings) -> Await:
    return Await(
        id=span.span_id,
        lane=lanes.get(span.span_id),
        name=title(span).removeprefix("await "),
        target=reading.text(span, semconv.ASYNCIO_AWAIT_TARGET),
        start=offset(trace, span),
        duration=seconds(span.duration_at(trace.now)),
        queued=_time(span, semconv.ASYNCIO_AWAIT_QUEUED) or 0.0,
        place=place(span, settings),
    )


def _blocking(trace: Trace, span: Span, lanes: Mapping[str, str], settings: Settings) -> Blocking:
    return Blocking(
        id=span.span_id,
        lane=lanes.get(span.span_id),
        name=title(span).removeprefix("blocking "),
        task=reading.text(span, semconv.ASYNCIO_TASK_NAME),
        process=event_loop.process(span),
        start=offset(trace, span),
        duration=seconds(span.duration_at(trace.now)),
        threshold=_time(span, semconv.ASYNCIO_BLOCKING_THRESHOLD) or 0.0,
        cause=reading.text(span, semconv.ASYNCIO_BLOCKING_CAUSE),
        cpu=_time(span, semconv.ASYNCIO_BLOCKING_CPU),
        stolen=_time(span, semconv.ASYNCIO_BLOCKING_STOLEN),
        place=place(span, settings),
        stack=stack(span, settings),
    )


def _concurrency(trace: Trace) -> tuple[Slice, ...]:
    """In slices of one length: exact changes of a thousand tasks would be more than anyone reads."""
    spans = event_loop.tasks(trace)
    length = trace.end - trace.start
    if not spans or length <= 0:
        return ()
    ends = [trace.end_of(event_loop.rest(trace, span) or span) for span in spans]
    load = Load([(s.start, end) for s, end in zip(spans, ends, strict=True)], _busy(trace))
    edges = [trace.start + length * number // SLICES for number in range(SLICES + 1)]
    return tuple(
        Slice(
            at=_since(trace, begin),
            tasks=load.alive(begin, end),
            busy=load.busy(begin, end) / max(1, end - begin),
        )
        for begin, end in pairwise(edges)
        if end > begin
    )


def _busy(trace: Trace) -> Sequence[Stretch]:
    """When the loop was held by what is in this trace."""
    return [
        stretch
        for span in trace.spans
        for stretch in (
            [(span.start, trace.end_of(span))]
            if event_loop.is_blocking(span)
            else event_loop.held(trace, span)
        )
    ]


def _since(trace: Trace, time: int) -> float:
    return seconds(max(0, time - trace.start))
