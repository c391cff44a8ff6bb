"""Where the time went."""

from __future__ import annotations

import pytest

from otel_toolbar.insights.reading import Stream
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.panels import timing
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import duration_text
from otel_toolbar.panels.timing.view import TimingView
from otel_toolbar.settings import Settings
from tests import recorded

MS = 1_000_000


def span(
    number: int, start: int, end: int | None, kind: Kind = Kind.INTERNAL, **attributes: object
) -> Span:
    return Span(
        "a" * 32, f"{number:016x}", None if number == 0 else f"{0:016x}", f"s{number}", kind,
        start * MS, None if end is None else end * MS, attributes,  # type: ignore[arg-type]
    )  # fmt: skip


def view(*spans: Span, now: int = 1000) -> TimingView:
    return timing.PANEL.view(Trace.of("a" * 32, spans, now * MS), Settings())


def parts(found: TimingView) -> list[tuple[str, float, float, int]]:
    return [(part.kind, part.duration, part.sum, part.count) for part in found.parts]


QUERY = {"db.system.name": "sqlite", "db.query.text": "SELECT 1"}


def test_overlapping_work_is_given_once() -> None:
    found = view(
        span(0, 0, 100, Kind.SERVER),
        span(1, 10, 40, Kind.CLIENT, **QUERY),
        span(2, 20, 50, Kind.CLIENT, **QUERY),
        span(3, 30, 80, Kind.CLIENT),
        span(4, 5, 90),
    )
    assert parts(found) == [
        ("db", 0.04, 0.06, 2),
        ("http", 0.03, 0.05, 1),
        ("internal", 0.015, 0.085, 1),
        ("rest", 0.015, 0.015, 0),
    ]
    assert sum(part.duration for part in found.parts) == pytest.approx(found.duration)
    assert sum(part.share for part in found.parts) == pytest.approx(1)


def test_detached_work_and_what_lies_outside_is_left_out() -> None:
    found = view(
        span(0, 0, 100, Kind.SERVER),
        span(1, 90, 300, Kind.CLIENT, **QUERY),
        span(2, 50, 400, **{"toolbar.detached": True}),
    )
    assert parts(found) == [("db", 0.01, 0.21, 1), ("rest", 0.09, 0.09, 0)]
    assert found.after == 0.3
    assert [slow.name for slow in found.slowest] == ["s1", "s0"]


def test_callers_are_no_part_of_the_request() -> None:
    caller = Span("a" * 32, "c" * 16, None, "caller", Kind.CLIENT, 0, 200 * MS)
    server = Span("a" * 32, "d" * 16, "c" * 16, "GET /", Kind.SERVER, 10 * MS, 60 * MS)
    assert parts(view(caller, server)) == [("rest", 0.05, 0.05, 0)]


def test_figures_of_a_recorded_request() -> None:
    found = timing.PANEL.view(recorded.load("orders"), Settings())
    assert (found.duration, found.first_byte, found.cpu, found.after) == (0.214, 0.2091, 0.0612, 0)
    assert [(part.kind, part.count) for part in found.parts] == [
        ("db", 26),
        ("template", 1),
        ("internal", 2),
        ("rest", 0),
    ]
    assert [(m.name, m.duration, m.description) for m in found.server_timing] == [
        ("db", 0.0984, "all queries"),
        ("render", 0.031, ""),
    ]
    assert timing.PANEL.badge(found) == Badge("214 ms", "ok")


@pytest.mark.parametrize(
    ("header", "metrics"),
    [
        ("a", [("a", None, "")]),
        ("a;dur=1.5, b;desc=x;dur=2", [("a", 0.0015, ""), ("b", 0.002, "x")]),
        ('a;desc="x, \\"y\\"; z";dur=3', [("a", 0.003, 'x, "y"; z')]),
        ("a;dur=-1", [("a", None, "")]),
        ("a;dur=1e999;dur=2", [("a", None, "")]),
        (";dur=1, ,", []),
        ('traceparent;desc="00-1-2-01"', []),
        ('a;desc="open, b', [("a", None, '"open, b')]),
    ],
)  # fmt: skip
def test_server_timing(header: str, metrics: list[tuple[str, float | None, str]]) -> None:
    found = view(span(0, 0, 1, Kind.SERVER, **{"http.response.header.server-timing": (header,)}))
    assert [(m.name, m.duration, m.description) for m in found.server_timing] == metrics


def test_running_slow_and_empty() -> None:
    running = view(span(0, 0, None, Kind.SERVER))
    assert (running.running, running.duration, running.slow) == (True, 1.0, True)
    assert timing.PANEL.badge(running) == Badge("running", "warn")
    assert timing.PANEL.badge(view()) == Badge()
    zero = view(span(0, 5, 5, Kind.SERVER))
    assert (zero.duration, zero.parts) == (0.0, ())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "running"),
        (0, "0.00 ms"),
        (0.00042, "0.42 ms"),
        (0.0123, "12.3 ms"),
        (0.8124, "812 ms"),
        (1.284, "1.28 s"),
        (59.99, "59.99 s"),
        (61.5, "1 min 1 s"),
    ],
)
def test_duration_text(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_stream_of_events_is_not_slow_and_shows_its_gaps() -> None:
    facts: dict[str, object] = {
        "http.request.method": "GET",
        "http.response.header.content-type": ("text/event-stream; charset=utf-8",),
        "toolbar.response.first_byte": 0.01,
        "toolbar.response.last_byte": 8.5,
        "toolbar.response.chunks": 40,
        "toolbar.response.events": 38,
        "toolbar.response.gap.max": 2.5,
        "toolbar.response.gap.mean": 0.2,
        "toolbar.response.end": "disconnect",
        "http.response.body.size": 4000,
    }
    found = view(span(0, 0, 9000, Kind.SERVER, **facts))
    assert found.slow is False
    assert found.stream == Stream("disconnect", 38, 40, 4000, 0.01, 8.5, 0.2, 2.5)


@pytest.mark.parametrize(
    ("facts", "end"),
    [
        ({"toolbar.response.streamed": True}, ""),
        ({"toolbar.response.streamed": True, "toolbar.request.disconnected": True}, "disconnect"),
        ({"toolbar.response.end": "complete"}, "complete"),
        ({}, None),
    ],
)
def test_how_a_stream_ended(facts: dict[str, object], end: str | None) -> None:
    stream = view(span(0, 0, 9, Kind.SERVER, **{"http.request.method": "GET"}, **facts)).stream
    assert (stream and stream.end) == end


def test_a_stream_that_runs() -> None:
    facts: dict[str, object] = {"http.request.method": "GET", "toolbar.response.streamed": True}
    stream = view(span(0, 0, None, Kind.SERVER, **facts)).stream
    assert stream is not None
    assert stream.end == "running"
