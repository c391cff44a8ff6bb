"""HAR and speedscope files, made of recorded and of generated traces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_toolbar.export import FORMATS
from otel_toolbar.model import Kind, Span, Trace
from tests import recorded

S = 1_000_000_000


def exported(trace: Trace, form: str) -> Any:
    return json.loads(FORMATS[form].export(trace))


def test_har_has_the_request() -> None:
    trace = recorded.load("orders")
    log = exported(trace, "har")["log"]
    assert log["version"] == "1.2"
    entry = log["entries"][0]
    assert entry["request"]["method"] == "GET"
    assert "/orders" in entry["request"]["url"]
    assert entry["response"]["status"] == 200
    assert trace.main is not None
    assert entry["time"] == pytest.approx(trace.main.duration_at(trace.now) / 1e6)
    assert entry["timings"]["wait"] + entry["timings"]["receive"] == pytest.approx(entry["time"])
    assert {"name", "value"} == set(entry["request"]["headers"][0])


def span(number: int, start: int, took: int | None) -> Span:
    end = None if took is None else start + took
    return Span("1" * 32, f"{number:016x}", None, f"span {number % 3}", Kind.INTERNAL, start, end)


def test_speedscope_puts_overlapping_spans_in_lanes() -> None:
    spans = [span(1, 0, 100), span(2, 10, 50), span(3, 20, 60), span(4, 30, 10)]
    file = exported(Trace.of("1" * 32, spans, 1000), "speedscope")
    lanes = [
        [(event["type"], event["frame"], event["at"]) for event in profile["events"]]
        for profile in file["profiles"]
    ]
    names = [frame["name"] for frame in file["shared"]["frames"]]
    assert names == ["span 1", "span 2", "span 0"]
    assert lanes == [
        [("O", 0, 0), ("O", 1, 10), ("O", 0, 30), ("C", 0, 40), ("C", 1, 60), ("C", 0, 100)],
        [("O", 2, 20), ("C", 2, 80)],
    ]


@given(
    st.lists(
        st.builds(
            span,
            st.integers(1, 50),
            st.integers(0, 100),
            st.none() | st.integers(-5, 100),
        ),
        max_size=20,
        unique_by=lambda each: each.span_id,
    )
)
def test_every_lane_of_any_trace_is_nested(spans: list[Span]) -> None:
    file = exported(Trace.of("1" * 32, spans, 150), "speedscope")
    opened = 0
    for profile in file["profiles"]:
        stack: list[int] = []
        last = 0
        for event in profile["events"]:
            assert event["at"] >= last
            last = event["at"]
            if event["type"] == "O":
                stack.append(event["frame"])
                opened += 1
            else:
                assert stack.pop() == event["frame"]
        assert stack == []
        assert last <= profile["endValue"]
    assert opened == len(spans)


@pytest.mark.parametrize("form", [name for name in FORMATS if name != "websockets-client"])
@pytest.mark.parametrize("name", ["orders", "checkout"])
def test_recorded_traces_can_be_written_in_every_format(name: str, form: str) -> None:
    assert exported(recorded.load(name), form)
