"""Recorded traces: `tests/traces/*.json`, the model's fields by name, what is default left out.

Times are in ns; small ones count from `start`, so that a file can be read by people.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from otel_toolbar.model import Event, Kind, Link, Scope, Span, Status, Trace, Value

TRACES = Path(__file__).parent / "traces"
NAMES = sorted(path.stem for path in TRACES.glob("*.json"))


def load(name: str) -> Trace:
    """A recorded trace."""
    return parse(json.loads((TRACES / f"{name}.json").read_text(encoding="utf-8")))


def parse(data: dict[str, Any]) -> Trace:
    spans = [_span(data, span) for span in data["spans"]]
    now = data["start"] + data["now"]
    return Trace.of(data["trace_id"], spans, now, data.get("dropped", 0))


def large(count: int) -> Trace:
    """One request of `count` spans: handlers, queries and calls, some of them failed."""
    trace_id, begin = "5" * 32, 1_790_000_000_000_000_000
    spans = [
        Span(trace_id, _id(0), None, "GET /large", Kind.SERVER, begin, begin + count * 100_000, {
            "http.request.method": "GET", "http.route": "/large", "http.response.status_code": 200,
        })
    ]  # fmt: skip
    for number in range(1, count):
        handler = number % 50 == 1
        parent = 0 if handler else (number - 1) // 50 * 50 + 1
        start = begin + number * 90_000
        attributes: dict[str, Value] = (
            {}
            if handler
            else {
                "db.system.name": "postgresql",
                "db.query.text": f"SELECT * FROM items{number % 7} WHERE id = ?",
                "db.query.parameter.0": str(number),
                "db.operation.name": "SELECT",
                "code.file.path": "/app/shop/items.py",
                "code.line.number": 40 + number % 7,
            }
        )
        spans.append(
            Span(
                trace_id,
                _id(number),
                _id(parent),
                f"handler {number // 50}" if handler else f"SELECT items{number % 7}",
                Kind.INTERNAL if handler else Kind.CLIENT,
                start,
                start + (4_500_000 if handler else 80_000),
                attributes,
                Status.ERROR if number % 997 == 0 else Status.UNSET,
            )
        )
    return Trace.of(trace_id, spans, begin + count * 100_000)


def _id(number: int) -> str:
    return f"{number + 1:016x}"


def _span(data: dict[str, Any], span: dict[str, Any]) -> Span:
    begin = data["start"]
    return Span(
        trace_id=data["trace_id"],
        span_id=span["id"],
        parent_id=span.get("parent"),
        name=span["name"],
        kind=Kind(span.get("kind", "internal")),
        start=begin + span["start"],
        end=None if span.get("end") is None else begin + span["end"],
        attributes=_values(span.get("attributes", {})),
        status=Status(span.get("status", "unset")),
        status_message=span.get("status_message", ""),
        events=tuple(
            Event(e["name"], begin + e["time"], _values(e.get("attributes", {})))
            for e in span.get("events", ())
        ),
        links=tuple(Link(trace, to, {}) for trace, to in span.get("links", ())),
        scope=Scope(*span.get("scope", ("",))),
        resource=_values(data.get("resources", {}).get(span.get("resource", ""), {})),
        remote_parent=span.get("remote_parent", False),
        dropped=span.get("dropped", 0),
    )


def _values(values: dict[str, Any]) -> dict[str, Value]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
