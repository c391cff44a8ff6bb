"""What a trace tells of its event loop, whatever stands in it."""

from __future__ import annotations

import pytest

from otel_toolbar.insights import event_loop
from otel_toolbar.insights.event_loop import Load
from otel_toolbar.insights.sweep import Interval, sweep
from otel_toolbar.model import Kind, Span, Trace, Value
from tests import recorded

MS = 1_000_000


def task(timeline: Value, started: Value = None, end: int = 10 * MS) -> tuple[Trace, Span]:
    attributes: dict[str, Value] = {
        "asyncio.task.name": "t",
        "asyncio.task.timeline": timeline,
        "asyncio.task.started": started,
    }
    span = Span("a" * 32, "b" * 16, None, "task t", Kind.INTERNAL, 0, end, attributes)
    return Trace.of("a" * 32, [span], 10 * MS), span


@pytest.mark.parametrize(
    ("timeline", "started", "expected"),
    [
        ((1000, 2000, 500), None, [(0, 1), (3, 3.5)]),
        ((1000, 2000, 500), 0.002, [(2, 3), (5, 5.5)]),
        ((1000, 2000), None, [(0, 1)]),
        ((0, 2000, 1000), None, [(2, 3)]),
        ((9000, 500, 9000), None, [(0, 9), (9.5, 10)]),
        ((1000, 20_000, 1000), None, [(0, 1)]),
        ((), None, []),
        (None, None, []),
        ("1,2", None, []),
        ((1000, -5, 3), None, []),
        ((1000, 2.5), None, []),
        ((True, 5), None, []),
        ((2**70,), None, []),
        ((1000,), -5.0, [(0, 1)]),
        ((1000,), 1e300, [(0, 1)]),
        ((1000,), 1.0, []),
        ((1000,), float("nan"), [(0, 1)]),
        ((1000,), "soon", [(0, 1)]),
    ],
)
def test_when_a_task_held_the_loop(
    timeline: Value, started: Value, expected: list[tuple[float, float]]
) -> None:
    trace, span = task(timeline, started)
    found = event_loop.held(trace, span)
    assert [(start / MS, end / MS) for start, end in found] == expected


def test_what_a_span_is() -> None:
    spans = {span.name: span for span in recorded.load("dashboard").spans}
    assert event_loop.is_task(spans["task audit"])
    assert not event_loop.is_task(spans["blocking thumbnail"]), "it bears its task's name"
    assert event_loop.is_blocking(spans["blocking thumbnail"])
    assert event_loop.is_await(spans["await shop.audit.send"])
    assert event_loop.is_executor(spans["thread write_cache"])
    assert not event_loop.is_task(spans["thread write_cache"])
    assert not event_loop.is_task(spans["GET /dashboard"])


def test_processes_are_told_apart() -> None:
    found = {event_loop.process(span) for span in recorded.load("old_names").spans}
    assert len(found) == 2
    assert event_loop.process(recorded.load("dashboard").spans[0]) == "p-4711"


def test_stretches_together_and_at_once() -> None:
    assert event_loop.union([(5, 9), (1, 3), (2, 4), (9, 11), (7, 7)]) == [(1, 4), (5, 11)]
    assert event_loop.most_at_once([(0, 5), (1, 2), (1, 3), (5, 6)]) == 3
    assert event_loop.most_at_once([]) == 0


def test_load() -> None:
    load = Load([(0, 10), (2, 4), (4, 8)], [(1, 3), (2, 5)])
    assert [load.alive(at, at + 1) for at in (0, 2, 4, 9, 10)] == [1, 2, 2, 1, 0]
    assert (load.busy(0, 10), load.busy(2, 3), load.busy(5, 10)) == (4, 1, 0)


def test_every_instant_is_given_once() -> None:
    intervals = [
        Interval("a", 2, 4),
        Interval("b", 0, 6),
        Interval("b", 5, 30),
        Interval("a", 40, 50),
    ]
    assert sweep(intervals, ("a", "b"), 0, 20) == {"a": 2, "b": 18, "rest": 0}
    assert sweep([], ("a",), 5, 9) == {"a": 0, "rest": 4}
