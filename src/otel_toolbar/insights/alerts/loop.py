"""What holds up the event loop, and tasks that stay behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import event_loop, reading
from otel_toolbar.insights.hint import Figure, Hint, Rule, place
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.settings import Settings

LAG: Final = 0.1
"""Seconds by which the loop may be late."""


def _blocking(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001 - the rules' signature
    groups: dict[object, list[Span]] = {}
    for span in event_loop.blocking(trace):
        groups.setdefault((span.name, place(span)), []).append(span)
    for spans in groups.values():
        longest = max(span.duration_at(trace.now) for span in spans) / 1e9
        collected = all(_cause(span) == "gc" for span in spans)
        times = f"{len(spans):,} times, for up to" if len(spans) > 1 else "for"
        what = "garbage collection" if collected else spans[0].name.removeprefix("blocking ")
        yield BLOCKING.hint(
            spans,
            f"{what} held the event loop {times} {longest * 1000:.0f} ms: no other request ran.",
            [Figure("longest", longest, "s"), Figure("times", len(spans))],
            severity="info" if collected else "warn",
            fix="Make fewer objects at once, or `gc.freeze()` what stays after the start."
            if collected
            else "",
        )
    told = [span for span in trace.spans if _told(span)]
    if not groups and told and not any(map(event_loop.is_blocking, trace.spans)):
        times = sum(map(_told, told))
        yield BLOCKING.hint(
            told,
            f"The loop was blocked {times:,} times; the spans that say where are not in the trace.",
            [Figure("times", times)],
            severity="warn",
        )


def _cause(span: Span) -> str:
    return reading.text(span, semconv.ASYNCIO_BLOCKING_CAUSE)


def _told(span: Span) -> int:
    return max(0, span.integer(semconv.BLOCKING_COUNT) or 0) if span.kind is Kind.SERVER else 0


def _lag(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    own = {
        owner.span_id: span.duration_at(trace.now) / 1e9
        for span in trace.spans
        if event_loop.is_blocking(span) and (owner := trace.owners.get(span.span_id)) is not None
    }
    for span in trace.spans:
        lag = reading.number(span, semconv.LAG_MAX) if span.kind is Kind.SERVER else None
        # What the request itself has blocked is told by that.
        if lag is None or lag < LAG or own.get(span.span_id) or _told(span):
            continue
        other = reading.text(span, semconv.LAG_OTHER_NAME)
        because = f": {other} held it" if other else ""
        yield LAGGING.hint(
            [span],
            f"The event loop ran up to {lag * 1000:.0f} ms late while the request was handled{because}.",
            [Figure("lag", lag, "s")],
            severity="warn",
        )


def _leaked(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    groups: dict[object, list[Span]] = {}
    for span in event_loop.left_behind(trace):
        groups.setdefault((place(span), _name(span)), []).append(span)
    for spans in groups.values():
        them = f"{len(spans):,} tasks" if len(spans) > 1 else "A task"
        was = "were" if len(spans) > 1 else "was"
        yield LEAKED_TASK.hint(
            spans,
            f"{them} of {_name(spans[0])} {was} running when the request had ended, and"
            " never seen to end.",
            [Figure("tasks", len(spans))],
            severity="warn",
        )


def _name(span: Span) -> str:
    told = reading.text(span, semconv.ASYNCIO_TASK_COROUTINE, semconv.ASYNCIO_TASK_NAME)
    return told or span.name


BLOCKING: Final = Rule(
    id="blocking-call",
    title="Event loop blocked",
    when="A step held the event loop for `OTEL_TOOLBAR_BLOCKING_THRESHOLD` or longer; one alert"
    " for each line. Only information: garbage collection. Not: the machine had no CPU for it.",
    evidence="Function, the longest time, how many times.",
    fix="Use its async variant, or run it in a thread: `await asyncio.to_thread(...)`.",
    link="https://docs.python.org/3/library/asyncio-dev.html#running-blocking-code",
    find=_blocking,
    panel="tasks",
)
LAGGING: Final = Rule(
    id="event-loop-lag",
    title="Event loop lagging",
    when="While the request ran, the loop was 100 ms late or more. Not: when the request itself"
    " blocked it, which is told by that.",
    evidence="The longest delay, who held the loop.",
    fix="Find what held the loop meanwhile, in the request named or in work outside of requests.",
    link="https://docs.python.org/3/library/asyncio-dev.html",
    find=_lag,
    panel="tasks",
)
LEAKED_TASK: Final = Rule(
    id="leaked-task",
    title="Task left behind",
    when="A task that the app created was running when its request or websocket connection ended, and was"
    " not seen to end. Not: tasks of libraries, tasks that were seen to end later.",
    evidence="Coroutine, how many, where it was created.",
    fix="Await it or use `asyncio.TaskGroup`; for work that may outlive the request use a"
    " background task or a job.",
    link="https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task",
    find=_leaked,
    panel="tasks",
)

RULES: Final = (BLOCKING, LAGGING, LEAKED_TASK)
