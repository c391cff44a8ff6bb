"""A trace as a speedscope file: https://github.com/jlfwong/speedscope/wiki/Importing-from-custom-sources.

Each lane is an evented profile. In a profile frames must be nested; so spans that overlap without one
being within the other, as those of concurrent tasks do, stand in lanes of their own.
"""

from __future__ import annotations

import json
from typing import Any

from otel_toolbar.model import Span, Trace
from otel_toolbar.version import VERSION

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


class _Lane:
    """Nested spans: `open_until` holds the ends of those that are open, outermost first."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._open: list[tuple[int, int]] = []

    def takes(self, start: int, end: int) -> bool:
        """True when a span fits within the innermost one that is still open at its start."""
        still_open = [until for _, until in self._open if until > start]
        return not still_open or end <= still_open[-1]

    def add(self, frame: int, start: int, end: int) -> None:
        self.close(start)
        self.events.append({"type": "O", "frame": frame, "at": start})
        self._open.append((frame, end))

    def close(self, at: int | None = None) -> None:
        """Close what has ended by `at`; all of it without."""
        while self._open and (at is None or self._open[-1][1] <= at):
            frame, end = self._open.pop()
            self.events.append({"type": "C", "frame": frame, "at": end})


def export(trace: Trace) -> bytes:
    """The trace's spans as a speedscope file, times in ns since the trace's start."""
    frames: dict[str, int] = {}
    lanes: list[_Lane] = []
    for span in sorted(trace.spans, key=lambda span: (span.start, -trace.end_of(span))):
        start, end = _times(trace, span)
        lane = next((each for each in lanes if each.takes(start, end)), None)
        if lane is None:
            lanes.append(lane := _Lane())
        lane.add(frames.setdefault(span.name, len(frames)), start, end)
    for lane in lanes:
        lane.close()
    file = {
        "$schema": SCHEMA,
        "exporter": f"otel-toolbar {VERSION}",
        "name": trace.trace_id,
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": [_profile(number, lane, trace) for number, lane in enumerate(lanes, 1)],
    }
    return json.dumps(file, ensure_ascii=False).encode("utf-8", "replace")


def _times(trace: Trace, span: Span) -> tuple[int, int]:
    return span.start - trace.start, trace.end_of(span) - trace.start


def _profile(number: int, lane: _Lane, trace: Trace) -> dict[str, Any]:
    return {
        "type": "evented",
        "name": f"lane {number}",
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": trace.end - trace.start,
        "events": lane.events,
    }
