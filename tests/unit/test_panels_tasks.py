"""The tasks panel: what blocked the loop, what waited for what, and the time line with its JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from otel_toolbar.model import Kind, Span, Trace, Value
from otel_toolbar.panels import tasks
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.tasks.timeline import SLICES, Timeline, timeline
from otel_toolbar.panels.tasks.view import Lag, Other, TasksView
from otel_toolbar.settings import Settings
from otel_toolbar.web import render
from otel_toolbar.web.answers import dumps
from tests import recorded

OPTIONS = Settings()
MS = 1_000_000


def view(trace: Trace) -> TasksView:
    return tasks.PANEL.view(trace, OPTIONS)


def request(*spans: Span, **attributes: Value) -> Trace:
    server = Span("a" * 32, "f" * 16, None, "GET /", Kind.SERVER, 0, 100 * MS, attributes)
    return Trace.of("a" * 32, [server, *spans], 200 * MS)


def task(number: int, attributes: dict[str, Value] | None = None, above: str = "f" * 16) -> Span:
    known: dict[str, Value] = {"asyncio.task.name": f"Task-{number}", **(attributes or {})}
    start = number * MS
    return Span(
        "a" * 32, f"{number:016x}", above, "task work", Kind.INTERNAL, start, 50 * MS, known
    )


def named(**values: Value) -> dict[str, Value]:
    """Keyword arguments as attribute names: `a__b` for `a.b`."""
    return {name.replace("__", "."): value for name, value in values.items()}


def test_what_matters_first() -> None:
    found = view(recorded.load("dashboard"))
    assert (found.count, found.dropped, found.most, found.leaked) == (9, 0, 7, 1)
    assert (found.blocked, found.blocked_count) == (0.1503, 1)
    assert found.states == {
        "done": 5,
        "cancelled": 1,
        "failed": 1,
        "outlived": 1,
        "running": 1,
    }
    assert found.longest is not None
    assert found.longest.place is not None
    assert (found.longest.name, found.longest.place.short) == ("thumbnail", "shop/charts.py:88")
    assert (found.longest.cause, found.longest.cpu) == ("cpu", 0.1488)
    assert found.longest.lane is not None
    assert [frame.line for frame in found.longest.stack] == [88, 52, 112]
    other = Other("GET /export", "4bf92f3577b34da6a3ce929d0e0e4736", 0.0304)
    assert found.lag == Lag(0.1409, 0.0052, 38, other)
    assert tasks.PANEL.badge(found) == Badge("9", "warn")


def test_where_the_time_of_the_request_went() -> None:
    found = view(recorded.load("dashboard"))
    assert [(part.kind, round(part.duration, 4)) for part in found.parts] == [
        ("blocked", 0.1503),
        ("running", 0.0458),
        ("db", 0.0548),
        ("http", 0.0018),
        ("await", 0.1593),
    ]
    assert sum(part.duration for part in found.parts) == pytest.approx(found.request)
    assert sum(part.share for part in found.parts) == pytest.approx(1)
    assert [(each.target, each.duration) for each in found.targets] == [
        ("TaskGroup.__aexit__", 0.387),
        ("database", 0.0061),
    ]


def test_awaits_of_one_line_stand_together() -> None:
    def point(number: int, target: str, line: int, ms: int) -> Span:
        attributes = named(
            asyncio__await__target=target, code__file__path="/a.py", code__line__number=line
        )
        at = number * MS
        return Span(
            "a" * 32,
            f"{number:016x}",
            "f" * 16,
            "await f",
            Kind.INTERNAL,
            at,
            at + ms * MS,
            attributes,
        )

    found = view(
        request(point(1, "Lock", 3, 10), point(2, "Lock", 3, 20), point(3, "Lock", 4, 15))
    ).waits
    assert [(each.target, each.count, each.duration, each.longest.duration) for each in found] == [
        ("Lock", 2, 0.03, 0.02),
        ("Lock", 1, 0.015, 0.015),
    ]


def lanes(found: Timeline) -> list[tuple[int, str, str, str, str]]:
    return [(lane.depth, lane.kind, lane.name, lane.task, lane.state) for lane in found.lanes]


def test_lanes_nest_by_parent() -> None:
    assert lanes(timeline(recorded.load("dashboard"), OPTIONS)) == [
        (0, "request", "GET /dashboard", "", "done"),
        (1, "task", "load_orders", "Task-12", "done"),
        (2, "thread", "thread write_cache", "asyncio_0", "done"),
        (1, "task", "load_prices", "Task-13", "done"),
        (2, "task", "price_of", "prices:eu", "done"),
        (2, "task", "price_of", "prices:us", "done"),
        (2, "task", "price_of", "prices:uk", "failed"),
        (2, "task", "price_of", "prices:jp", "cancelled"),
        (1, "task", "render_charts", "Task-14", "done"),
        (1, "task", "audit", "audit", "outlived"),
        (1, "task", "watch_stock", "watch-stock", "running"),
    ]


def test_one_lane_whole() -> None:
    found = timeline(recorded.load("dashboard"), OPTIONS)
    lane = next(lane for lane in found.lanes if lane.task == "prices:uk")
    assert lane.place is not None
    assert lane.place.short == "shop/prices.py:24"
    told = dataclasses.asdict(lane)
    del told["place"]
    assert told == {
        "id": "b00000000000000c",
        "parent": "b000000000000005",
        "depth": 2,
        "kind": "task",
        "name": "price_of",
        "task": "prices:uk",
        "process": "p-4711",
        "state": "failed",
        "detached": False,
        "error": "shop.prices.NoPrice: no price in GBP for sku 1402",
        "start": 0.0122,
        "started": 0.0021,
        "duration": 0.0838,
        "steps": 2,
        "held": 0.0017,
        "waited": 0.0775,
        "running": ((0.0143, 0.0149), (0.0924, 0.0935)),
    }


def test_a_span_between_two_tasks_does_not_hide_whose_child_the_lower_one_is() -> None:
    query = Span("a" * 32, "c" * 16, f"{1:016x}", "SELECT", Kind.CLIENT, MS, 2 * MS)
    found = timeline(request(task(1), query, task(2, above="c" * 16)), OPTIONS)
    assert [(lane.depth, lane.parent) for lane in found.lanes] == [
        (0, None),
        (1, "f" * 16),
        (2, f"{1:016x}"),
    ]


def test_a_task_that_outlived_its_request_is_one_lane() -> None:
    known = recorded.load("dashboard")
    (lane,) = (lane for lane in timeline(known, OPTIONS).lanes if lane.task == "audit")
    assert (lane.state, lane.start, lane.duration) == ("outlived", 0.398, 0.242)
    assert (lane.steps, lane.held, lane.waited) == (2, 0.0018, 0.239)
    spans = [
        replace(span, attributes={**span.attributes, "asyncio.task.state": "failed"})
        if span.flag("toolbar.detached")
        else span
        for span in known.spans
    ]
    (lane,) = (
        lane
        for lane in timeline(Trace.of(known.trace_id, spans, known.now), OPTIONS).lanes
        if lane.task == "audit"
    )
    assert lane.state == "failed"


# The contract of the export, by field: what may stand there.
NUMBER = (int, float)
PLACE = {"path": str, "line": (int, type(None)), "function": str, "link": str}
SCHEMA: dict[str, Any] = {
    "trace_id": str,
    "start": NUMBER,
    "duration": NUMBER,
    "running": bool,
    "lanes": [
        {
            "id": str,
            "parent": (str, type(None)),
            "depth": int,
            "kind": str,
            "name": str,
            "task": str,
            "process": str,
            "state": str,
            "detached": bool,
            "error": str,
            "start": NUMBER,
            "started": (*NUMBER, type(None)),
            "duration": NUMBER,
            "steps": (int, type(None)),
            "held": NUMBER,
            "waited": NUMBER,
            "place": PLACE,
            "running": [[NUMBER]],
        }
    ],
    "awaits": [
        {
            "id": str,
            "lane": (str, type(None)),
            "name": str,
            "target": str,
            "start": NUMBER,
            "duration": NUMBER,
            "queued": NUMBER,
            "place": PLACE,
        }
    ],
    "blocking": [
        {
            "id": str,
            "lane": (str, type(None)),
            "name": str,
            "task": str,
            "process": str,
            "start": NUMBER,
            "duration": NUMBER,
            "threshold": NUMBER,
            "cause": str,
            "cpu": (*NUMBER, type(None)),
            "stolen": (*NUMBER, type(None)),
            "place": PLACE,
            "stack": [PLACE],
        }
    ],
    "concurrency": [{"at": NUMBER, "tasks": int, "busy": NUMBER}],
}


def conforms(value: Any, schema: Any, at: str = "timeline") -> None:
    if isinstance(schema, dict):
        fields, known = cast("dict[str, Any]", value), cast("dict[str, Any]", schema)
        assert set(fields) == set(known), at
        for name, inner in known.items():
            if name != "place" or fields[name] is not None:
                conforms(fields[name], inner, f"{at}.{name}")
    elif isinstance(schema, list):
        assert isinstance(value, list), at
        for each in value:
            conforms(each, schema[0], f"{at}[]")
    else:
        assert isinstance(value, schema), at


@pytest.mark.parametrize("trace", ["dashboard", "orders", "hostile", "running", "websocket", 1000])
def test_json_export_conforms(trace: Any) -> None:
    known = recorded.gathered(trace) if isinstance(trace, int) else recorded.load(trace)
    conforms(json.loads(dumps(timeline(known, OPTIONS))), SCHEMA)


def test_concurrency_over_time() -> None:
    found = timeline(recorded.gathered(1000), OPTIONS)
    assert len(found.concurrency) == SLICES
    assert max(each.tasks for each in found.concurrency) == 1000
    assert found.concurrency[0].tasks < 50
    blocked = [each for each in found.concurrency if 0.2 <= each.at < 0.345]
    assert {each.busy for each in blocked} == {1.0}
    assert view(recorded.gathered(1000)).most == 1000


def test_blocking_calls_that_overlap_are_not_added_up() -> None:
    def block(number: int, start: int, end: int) -> Span:
        attributes = named(asyncio__blocking__threshold=0.1)
        return Span(
            "a" * 32,
            f"{number:016x}",
            "f" * 16,
            "blocking f",
            Kind.INTERNAL,
            start * MS,
            end * MS,
            attributes,
        )

    found = view(request(block(1, 0, 20), block(2, 10, 40)))
    assert (found.blocked, found.blocked_count) == (0.04, 2)
    assert [call.duration for call in found.blocking] == [0.03, 0.02]
    told = view(
        request(
            block(1, 0, 20), **named(toolbar__blocking__count=5, toolbar__blocking__duration=0.3)
        )
    )
    assert (told.blocked, told.blocked_count) == (0.3, 5), "calls that were not kept are counted"


def test_what_the_machine_is_to_blame_for_is_shown_and_not_counted() -> None:
    def block(number: int, **attributes: Value) -> Span:
        known = named(asyncio__blocking__threshold=0.1, **attributes)
        start, end = number * 20 * MS, (number * 20 + number) * MS
        name = f"{number:016x}"
        return Span("a" * 32, name, "f" * 16, "blocking f", Kind.INTERNAL, start, end, known)

    slow, busy = (
        block(2, asyncio__blocking__cause="cpu"),
        block(4, asyncio__blocking__cause="machine"),
    )
    found = view(request(slow, busy))
    assert [call.cause for call in found.blocking] == ["cpu", "machine"]
    assert (found.blocked, found.blocked_count) == (0.002, 1)
    assert found.longest == found.blocking[0]
    found = view(request(busy))
    assert (found.blocked_count, found.longest) == (0, None)
    assert tasks.PANEL.badge(found).level == "ok"
    assert "f held the loop for 4.00 ms" in page(request(busy))


@pytest.mark.parametrize(
    ("attributes", "running", "badge"),
    [
        (named(asyncio__task__state="done"), False, Badge("1", "ok")),
        (named(asyncio__task__state="cancelled"), False, Badge("1", "ok")),
        (named(asyncio__task__state="failed"), False, Badge("1", "warn")),
        (named(asyncio__task__state="running"), False, Badge("1", "warn")),
        (
            named(asyncio__task__state="running", code__file__path="/v/site-packages/s/r.py"),
            False,
            Badge("1", "ok"),
        ),
        (named(asyncio__task__state="running"), True, Badge("1", "warn")),
        (named(), True, Badge("1", "warn")),
        (named(asyncio__task__state=7), False, Badge("1", "ok")),
    ],
)
def test_badge(attributes: dict[str, Value], running: bool, badge: Badge) -> None:
    span = task(1, attributes)
    span = replace(span, end=None) if running else span
    assert tasks.PANEL.badge(view(request(span))) == badge


def test_tasks_that_were_not_kept_are_counted() -> None:
    found = view(
        request(task(1), **named(toolbar__tasks__count=1000, toolbar__tasks__dropped=18_114))
    )
    assert (found.count, found.dropped) == (18_115, 18_114)
    found = view(request(task(1), **named(toolbar__tasks__dropped=18)))
    assert (found.count, found.dropped) == (19, 18)


def test_nothing_seen() -> None:
    for trace in (recorded.load("old_names"), Trace.of("a" * 32, [], 10**18)):
        found = view(trace)
        assert not found.found
        assert tasks.PANEL.badge(found) == Badge()
        assert timeline(trace, OPTIONS).concurrency == ()


@pytest.mark.parametrize(
    "attributes",
    [
        named(asyncio__task__timeline=(2**70, -1), asyncio__task__started=float("inf")),
        named(asyncio__task__timeline="x", asyncio__task__cpu__duration=-1.0),
        named(asyncio__task__steps=-3, asyncio__task__wait__duration=float("nan")),
        named(asyncio__await__target=(), asyncio__await__queued="long"),
        named(asyncio__blocking__threshold=None, asyncio__blocking__cpu__duration=-2),
        named(asyncio__executor__state="?", asyncio__executor__started=1e300),
    ],
)
def test_garbage_is_shown_as_what_it_is(attributes: dict[str, Value]) -> None:
    trace = request(
        task(1, attributes),
        **named(
            toolbar__await__targets=("a", "b", "c"),
            toolbar__await__durations=(1, "x", float("nan")),
            toolbar__event_loop__running=float("inf"),
            toolbar__event_loop__lag__other__trace_id="'\"><script>",
        ),
    )
    found = view(trace)
    assert [each.target for each in found.targets] == ["a"]
    assert found.lag.other == Other("", "", None)
    for lane in found.lanes:
        assert lane.held >= 0
        assert lane.waited >= 0
        assert all(lane.start <= start <= end for start, end in lane.running)
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def page(trace: Trace, **query: str) -> str:
    from otel_toolbar import panels
    from otel_toolbar.insights.summary import summarize

    context = render.Context("/_toolbar", OPTIONS)
    found = panels.views(panels.load(), trace, OPTIONS)
    return render.trace_page(
        context, trace, summarize(trace, OPTIONS), found, {"panel": "tasks", **query}
    )


def test_the_page_without_javascript() -> None:
    text = page(recorded.load("dashboard"))
    assert "thumbnail blocked the loop for 150 ms" in text
    assert "vscode://file/app/shop/charts.py:88" in text
    assert '/_toolbar/t/4bf92f3577b34da6a3ce929d0e0e4736?panel=tasks"' in text
    assert "panels/tasks/timeline" in text
    assert text.count("data-lane=") >= 11
    embedded = page(recorded.load("dashboard"), embed="1")
    assert "?panel=tasks&amp;embed=1" in embedded


def test_a_thousand_lanes_come_in_pages() -> None:
    text = page(recorded.gathered(1000), **{"from": "101"})
    assert "Lanes 101\u2013150 of 1,001" in text
    assert len(text) < 120_000


def test_empty_says_why_and_how_to_fill_it() -> None:
    text = page(recorded.load("old_names"))
    assert "No tasks" in text
    assert "OTEL_TOOLBAR_AWAIT_THRESHOLD" in text
