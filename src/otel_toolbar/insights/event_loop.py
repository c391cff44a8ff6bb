"""What a trace tells of its event loop: tasks, await points, blocking calls, who held the loop when.

All times are Unix time in ns. Values come from anywhere: a time line that is none is no time line.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from otel_toolbar import semconv
from otel_toolbar.model import Kind, Span, Trace

from . import reading

Stretch = tuple[int, int]
"""From, to."""

_CLOSE = 1_000_000
"""ns between the two spans of a task that outlived its request, at most."""

_LIBRARIES = frozenset({"site-packages", "dist-packages"})
"""Folders of code that is not the app's own."""

_LONGEST_WAIT = 10**7
"""s that something may be said to take: some months. What is more is no time."""

_LONGEST_STEP = _LONGEST_WAIT * 10**6
"""The same in us, for an entry of a time line."""


def is_blocking(span: Span) -> bool:
    """True for the span of a call that blocked the loop."""
    return semconv.ASYNCIO_BLOCKING_THRESHOLD in span.attributes


def blames_the_machine(span: Span) -> bool:
    """True for a blocking call for which the machine had no CPU: the code may be innocent."""
    return span.attributes.get(semconv.ASYNCIO_BLOCKING_CAUSE) == "machine"


def is_await(span: Span) -> bool:
    """True for the span of an await that took longer than its threshold."""
    return semconv.ASYNCIO_AWAIT_TARGET in span.attributes


def is_task(span: Span) -> bool:
    """True for a task's own span; blocking calls bear the task's name too."""
    named = (
        semconv.ASYNCIO_TASK_NAME in span.attributes
        or semconv.ASYNCIO_TASK_STATE in span.attributes
    )
    return named and not (is_blocking(span) or is_await(span) or is_executor(span))


def is_executor(span: Span) -> bool:
    """True for the span of work that was handed to a thread."""
    return semconv.ASYNCIO_EXECUTOR_STATE in span.attributes


def continues(trace: Trace, span: Span) -> bool:
    """True for what a task did after its request: a span of its own, where the task's own ended."""
    before = trace.by_id.get(span.parent_id or "")
    return (
        before is not None
        and before.end is not None
        and span.flag(semconv.DETACHED)
        and before.attributes.get(semconv.ASYNCIO_TASK_STATE) == "running"
        and _coroutine(before) == _coroutine(span) != ""
        and is_task(span)
        and abs(span.start - before.end) <= _CLOSE
    )


def _coroutine(span: Span) -> str:
    return reading.text(span, semconv.ASYNCIO_TASK_COROUTINE)


def rest(trace: Trace, span: Span) -> Span | None:
    """What the task did after its request, where that is known."""
    if span.attributes.get(semconv.ASYNCIO_TASK_STATE) != "running":
        return None
    below = trace.children.get(span.span_id, ())
    return next((child for child in below if continues(trace, child)), None)


def tasks(trace: Trace) -> list[Span]:
    """The span of every task, in order of start."""
    return [span for span in trace.spans if is_task(span) and not continues(trace, span)]


def left_behind(trace: Trace) -> list[Span]:
    """Tasks that ran when their request had ended and were not seen to end, libraries' left out.

    Frameworks leave tasks behind too, such as Starlette's streams: these end at once.
    """
    return [span for span in tasks(trace) if _is_left_behind(trace, span)]


def _is_left_behind(trace: Trace, span: Span) -> bool:
    owner = trace.owners.get(span.span_id)
    outlived = span.running or span.attributes.get(semconv.ASYNCIO_TASK_STATE) == "running"
    if owner is None or not outlived:
        return False
    after = rest(trace, span)
    path = reading.text(span, semconv.CODE_FILE_PATH, semconv.OLD_CODE_FILE_PATH)
    is_ours = _LIBRARIES.isdisjoint(path.replace("\\", "/").split("/"))
    return is_ours and not owner.running and (after is None or after.running)


def blocking(trace: Trace) -> list[Span]:
    """Calls that blocked the loop, those left out that the machine is to blame for."""
    return [span for span in trace.spans if is_blocking(span) and not blames_the_machine(span)]


def process(span: Span) -> str:
    """What tells one process's loop from another's, in a trace through several."""
    told = reading.as_text(span.resource.get(semconv.PROCESS_ID))
    return told or f"{reading.service(span)} {span.resource.get(semconv.PROCESS_PID, '')}".strip()


def lane_of(trace: Trace) -> dict[str, Span]:
    """By span id the nearest task or request above it."""
    lanes: dict[str, Span] = {}
    for span, _ in trace.walk():
        lane = span.kind is Kind.SERVER or (is_task(span) and not continues(trace, span))
        own = span if lane else lanes.get(span.span_id)
        for child in trace.children.get(span.span_id, ()):
            if own is not None:
                lanes[child.span_id] = own
    return lanes


def held(trace: Trace, span: Span) -> tuple[Stretch, ...]:
    """When the task held the loop, in order, within its span."""
    at = began(span)
    end = trace.end_of(span)
    found: list[Stretch] = []
    for number, length in enumerate(_timeline(span)):
        until = at + length * 1000
        if at >= end:
            break
        if number % 2 == 0 and until > at:
            found.append((at, min(until, end)))
        at = until
    return tuple(found)


def began(span: Span) -> int:
    """The task's first step, or when a thread took the work; its start where that is not known."""
    keys = semconv.ASYNCIO_TASK_STARTED, semconv.ASYNCIO_EXECUTOR_STARTED
    told = reading.number(span, *keys) or 0.0
    return span.start + (int(told * 1e9) if 0 <= told < _LONGEST_WAIT else 0)


def _timeline(span: Span) -> Sequence[int]:
    told = span.attributes.get(semconv.ASYNCIO_TASK_TIMELINE)
    if not isinstance(told, (tuple, list)):
        return ()
    entries = [each for each in told if type(each) is int and 0 <= each < _LONGEST_STEP]
    return entries if len(entries) == len(told) else ()


def union(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Overlapping ones as one, in order."""
    joined: list[Stretch] = []
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif end > start:
            joined.append((start, end))
    return joined


def most_at_once(stretches: Iterable[tuple[float, float]]) -> int:
    """How many overlapped at most."""
    changes = sorted(
        change for start, end in stretches for change in ((start, 1), (max(start, end), -1))
    )
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


class Load:
    """How many of some stretches overlap, and how much of the time any of them covers."""

    def __init__(self, alive: Sequence[Stretch], busy: Sequence[Stretch]) -> None:
        self._starts = sorted(start for start, _ in alive)
        self._ends = sorted(end for _, end in alive)
        self._busy = union(busy)
        self._busy_starts = [start for start, _ in self._busy]
        self._before = [0]
        for start, end in self._busy:
            self._before.append(self._before[-1] + end - start)

    def alive(self, begin: int, end: int) -> int:
        """How many there were at some time between two times."""
        return bisect_left(self._starts, end) - bisect_right(self._ends, begin)

    def busy(self, begin: int, end: int) -> int:
        """ns covered between two times."""
        return self._covered(end) - self._covered(begin)

    def _covered(self, time: int) -> int:
        number = bisect_right(self._busy_starts, time)
        if not number:
            return 0
        start, end = self._busy[number - 1]
        return self._before[number - 1] + min(time, end) - start
