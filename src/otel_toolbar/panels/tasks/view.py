"""What matters about the event loop first: what blocked it, how late it was, where the time went."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from otel_toolbar import semconv
from otel_toolbar.insights import event_loop, reading
from otel_toolbar.insights.sweep import REST, Interval, sweep
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import seconds
from otel_toolbar.settings import Settings

from .timeline import Await, Blocking, Lane, Slice, State, timeline

_WAITS = ("db", "cache", "http", "job", "websocket")
"""Work elsewhere, which the loop does not do itself."""

_TITLES = {
    "blocked": "Blocked by one call",
    "running": "Running on the loop",
    "db": "Waiting for a database",
    "cache": "Waiting for a cache",
    "http": "Waiting for outgoing calls",
    "job": "Waiting for jobs and messages",
    "websocket": "Waiting for websocket messages",
    "await": "Waiting, in awaits below",
    REST: "Idle, or in what was not watched",
}


@dataclass(frozen=True)
class Part:
    """One use of the request's time. All parts add up to the request."""

    kind: str
    title: str
    duration: float
    share: float
    """Of the request, 0 to 1."""


@dataclass(frozen=True)
class Lag:
    """How late the event loop was while the request ran, in s; None is not known."""

    max: float | None
    mean: float | None
    samples: int | None
    other: Other | None


@dataclass(frozen=True)
class Other:
    """The other request that caused the longest lag."""

    name: str
    trace_id: str
    duration: float | None


@dataclass(frozen=True)
class Loop:
    """What the request itself told of its event loop, in s; None is not known."""

    running: float | None
    """Its handler and its tasks held the loop."""
    waiting: float | None
    """The handler stood at an await."""
    queued: float | None
    """Of that, the handler was ready and the loop busy with others."""
    idle: float | None
    """Neither the handler nor a task held the loop."""


@dataclass(frozen=True)
class Target:
    """What the handler waited for."""

    target: str
    duration: float
    share: float
    """Of the request."""


@dataclass(frozen=True)
class Waits:
    """Awaits of one target from one line, together."""

    target: str
    name: str
    count: int
    duration: float
    longest: Await


@dataclass(frozen=True)
class TasksView:
    """All of it. Times in s; `duration` is that of the whole trace, on which the lanes lie."""

    found: bool
    running: bool
    """The request is; tasks of it may when it is not."""
    duration: float
    request: float
    """Duration of the request."""
    count: int
    """Tasks, those that were not kept as spans included."""
    dropped: int
    most: int
    """Tasks that existed at one time, at most."""
    states: dict[str, int]
    """Tasks by state, zeros included."""
    leaked: int
    """Tasks of the app's own code that were not over when the request was."""
    blocked: float
    """Time for which the loop was blocked by calls, together."""
    blocked_count: int
    longest: Blocking | None
    lag: Lag
    loop: Loop
    parts: tuple[Part, ...]
    targets: tuple[Target, ...]
    """What the handler waited for, the longest together first."""
    waits: tuple[Waits, ...]
    """The longest together first."""
    blocking: tuple[Blocking, ...]
    """The longest first; last those that the machine is to blame for, which no figure counts."""
    awaits: tuple[Await, ...]
    """In order of time."""
    lanes: tuple[Lane, ...]
    concurrency: tuple[Slice, ...]


def view(trace: Trace, settings: Settings) -> TasksView:
    lines = timeline(trace, settings)
    main = trace.main
    tasks = [lane for lane in lines.lanes if lane.kind == "task"]
    told = max(_told(main, semconv.TASKS_COUNT), len(tasks) + _told(main, semconv.TASKS_DROPPED))
    longest_first = tuple(sorted(lines.blocking, key=_blame))
    blamed = event_loop.blocking(trace)
    lag = _lag(main)
    count = max(told, len(tasks))
    return TasksView(
        found=bool(count or lines.blocking or lines.awaits or lag.samples),
        running=main is not None and main.running,
        duration=lines.duration,
        request=seconds(main.duration_at(trace.now)) if main else 0.0,
        count=count,
        dropped=count - len(tasks),
        most=event_loop.most_at_once((lane.start, lane.start + lane.duration) for lane in tasks),
        states={state: sum(lane.state == state for lane in tasks) for state in get_args(State)},
        leaked=len(event_loop.left_behind(trace)),
        blocked=_blocked(trace),
        blocked_count=max(_told(main, semconv.BLOCKING_COUNT), len(blamed)),
        longest=longest_first[0] if blamed else None,
        lag=lag,
        loop=_loop(main),
        parts=_parts(trace),
        targets=_targets(trace, main),
        waits=_waits(lines.awaits),
        blocking=longest_first,
        awaits=lines.awaits,
        lanes=lines.lanes,
        concurrency=lines.concurrency,
    )


def badge(view: TasksView) -> Badge:
    if not view.found:
        return Badge()
    worth_a_look = view.blocked_count or view.states["failed"] or view.leaked
    return Badge(f"{view.count:,}", "warn" if worth_a_look else "ok")


def _told(main: Span | None, key: str) -> int:
    return max(0, main.integer(key) or 0) if main else 0


def _blocked(trace: Trace) -> float:
    """In s; the request itself knows of calls that were not kept as spans."""
    spans = event_loop.blocking(trace)
    stretches = event_loop.union((span.start, trace.end_of(span)) for span in spans)
    seen = seconds(sum(end - start for start, end in stretches))
    told = reading.number(trace.main, semconv.BLOCKING_DURATION) if trace.main else None
    return max(seen, told or 0.0)


def _blame(call: Blocking) -> tuple[bool, float]:
    return call.cause == "machine", -call.duration


def _lag(main: Span | None) -> Lag:
    if main is None:
        return Lag(None, None, None, None)
    return Lag(
        max=reading.number(main, semconv.LAG_MAX),
        mean=reading.number(main, semconv.LAG_MEAN),
        samples=reading.integer(main, semconv.LAG_SAMPLES),
        other=_other(main),
    )


def _other(main: Span) -> Other | None:
    name = reading.text(main, semconv.LAG_OTHER_NAME)
    trace_id = reading.text(main, semconv.LAG_OTHER_TRACE_ID).lower()
    if not name and not trace_id:
        return None
    whole = re.fullmatch("[0-9a-f]{32}", trace_id) is not None
    return Other(name, trace_id if whole else "", reading.number(main, semconv.LAG_OTHER))


def _loop(main: Span | None) -> Loop:
    if main is None:
        return Loop(None, None, None, None)
    return Loop(
        running=reading.number(main, semconv.EVENT_LOOP_RUNNING),
        waiting=reading.number(main, semconv.EVENT_LOOP_WAITING),
        queued=reading.number(main, semconv.EVENT_LOOP_QUEUED),
        idle=reading.number(main, semconv.EVENT_LOOP_IDLE),
    )


def _targets(trace: Trace, main: Span | None) -> tuple[Target, ...]:
    if main is None:
        return ()
    whole = seconds(main.duration_at(trace.now))
    times = main.attributes.get(semconv.AWAIT_DURATIONS)
    names = reading.strings(main.attributes.get(semconv.AWAIT_TARGETS))
    return tuple(
        Target(name, float(time), min(1.0, time / whole) if whole else 0.0)
        for name, time in zip(
            names, times if isinstance(times, (tuple, list)) else (), strict=False
        )
        if isinstance(time, (int, float)) and 0 <= time < 1e12
    )


def _parts(trace: Trace) -> tuple[Part, ...]:
    """The request's time: who holds the loop is at work, whatever else is waited for meanwhile."""
    main = trace.main
    if main is None or main.duration_at(trace.now) <= 0:
        return ()
    begin, end = main.start, trace.end_of(main)
    order = ("blocked", "running", *_WAITS, "await")
    shares = sweep(_uses(trace, event_loop.process(main)), order, begin, end)
    # What was merged away in time lines, or has none, was held all the same.
    told = int(min(reading.number(main, semconv.EVENT_LOOP_RUNNING) or 0.0, 1e9) * 1e9)
    own = max(0, min(shares[REST], told - shares["running"] - shares["blocked"]))
    shares["running"] += own
    shares[REST] -= own
    return tuple(
        Part(kind, _TITLES[kind], seconds(took), took / (end - begin))
        for kind, took in shares.items()
        if took
    )


def _uses(trace: Trace, process: str) -> Iterator[Interval]:
    """What the request's own process did and waited for."""
    for span in trace.spans:
        if event_loop.process(span) != process:
            continue
        for start, end in event_loop.held(trace, span):
            yield Interval("running", start, end)
        kind = _kind(span)
        if kind and span is not trace.main:
            yield Interval(kind, span.start, trace.end_of(span))


def _kind(span: Span) -> str:
    if event_loop.is_blocking(span):
        return "blocked"
    if event_loop.is_await(span):
        return "await"
    category = reading.category(span)
    return category if category in _WAITS else ""


def _waits(awaits: tuple[Await, ...]) -> tuple[Waits, ...]:
    groups: dict[tuple[object, ...], list[Await]] = {}
    for each in awaits:
        line = (each.place.path, each.place.line) if each.place else ()
        groups.setdefault((each.target, each.name, line), []).append(each)
    found = [
        Waits(
            target=like[0].target,
            name=like[0].name,
            count=len(like),
            duration=sum(each.duration for each in like),
            longest=max(like, key=lambda each: each.duration),
        )
        for like in groups.values()
    ]
    return tuple(sorted(found, key=lambda waits: -waits.duration))
