"""Recorded traces: `tests/traces/*.json`, the model's fields by name, what is default left out.

Times are in ns; small ones count from `start`, so that a file can be read by people.
"""

from __future__ import annotations

import json
import sys
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


def write(trace: Trace, name: str) -> None:
    """Record a trace; paths of the machine that it comes from are left out."""
    begin = trace.spans[0].start
    data: dict[str, Any] = {
        "trace_id": trace.trace_id,
        "start": begin,
        "now": max(span.end or span.start for span in trace.spans) - begin,
        "resources": {"r": dict(trace.spans[0].resource)},
        "spans": [_written(span, begin) for span in trace.spans],
    }
    text = json.dumps(data, indent=1)
    for path, shown in (
        (TRACES.parents[1], "/app"),
        (sys.prefix, "/venv"),
        (sys.base_prefix, "/usr"),
    ):
        text = text.replace(str(path), shown)
    (TRACES / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _written(span: Span, begin: int) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": span.span_id,
        "parent": span.parent_id,
        "name": span.name,
        "kind": span.kind.value,
        "start": span.start - begin,
        "end": None if span.end is None else span.end - begin,
        "status": "" if span.status is Status.UNSET else span.status.value,
        "status_message": span.status_message,
        "attributes": dict(span.attributes),
        "events": [
            {"name": e.name, "time": e.time - begin, "attributes": dict(e.attributes)}
            for e in span.events
        ],
        "links": [(link.trace_id, link.span_id) for link in span.links],
        "scope": [span.scope.name, span.scope.version],
        "resource": "r",
        "remote_parent": span.remote_parent,
        "dropped": span.dropped,
    }
    return {key: value for key, value in facts.items() if value or (value == 0 and key == "start")}


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


def gathered(count: int) -> Trace:
    """One request that gathers `count` tasks in groups of 50, one of which blocks the loop."""
    trace_id, begin, ms = "6" * 32, 1_790_000_000_000_000_000, 1_000_000
    last = begin + 600 * ms
    spans = [Span(trace_id, _id(0), None, "GET /fan-out", Kind.SERVER, begin, last, {
        "http.request.method": "GET", "http.route": "/fan-out", "http.response.status_code": 200,
        "toolbar.tasks.count": count, "toolbar.blocking.count": 1,
    })]  # fmt: skip
    for number in range(1, count + 1):
        group = number % 50 == 1
        start = begin + number * ms // 10
        state = "failed" if number % 97 == 0 else "cancelled" if number % 89 == 0 else "done"
        steps = 1 if group else 20
        attributes: dict[str, Value] = {
            "asyncio.task.name": f"Task-{number}",
            "asyncio.task.coroutine": "group" if group else "fetch",
            "asyncio.task.state": state,
            "asyncio.task.steps": steps + 1,
            "asyncio.task.started": 0.0004,
            "asyncio.task.timeline": (60, 20_000 + number % 7 * 900) * steps + (40,),
        }
        parent = 0 if group else (number - 1) // 50 * 50 + 1
        end = last - ms if group else start + (430 + number % 7 * 18) * ms
        span = Span(trace_id, _id(number), _id(parent), f"task {'group' if group else 'fetch'}",
                    Kind.INTERNAL, start, min(end, last), attributes)  # fmt: skip
        spans.append(span)
    blocking: dict[str, Value] = {
        "asyncio.blocking.threshold": 0.1,
        "asyncio.task.name": "Task-7",
        "code.file.path": "/app/shop/fan.py",
        "code.line.number": 12,
    }
    spans.append(Span(trace_id, _id(count + 1), _id(7), "blocking sleep", Kind.INTERNAL,
                      begin + 200 * ms, begin + 350 * ms, blocking))  # fmt: skip
    return Trace.of(trace_id, spans, last)


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
