"""The one line about a trace."""

from __future__ import annotations

import dataclasses

import pytest

from otel_toolbar.insights.summary import summarize
from otel_toolbar.model import Kind, Span, Status, Trace
from otel_toolbar.settings import Settings
from tests import recorded

NOTHING = {
    "spans": 0,
    "queries": 0,
    "n_plus_one": 0,
    "tasks": 0,
    "blocking": 0,
    "errors": 0,
    "logs": 0,
    "alerts": 0,
}


def line(name: str) -> dict[str, object]:
    summary = dataclasses.asdict(summarize(recorded.load(name), Settings()))
    summary["counts"] = {key: count for key, count in summary["counts"].items() if count}
    del summary["trace_id"]
    for name, usual in (("websocket", None), ("level", "ok"), ("slow", False), ("links", ())):
        if summary[name] == usual:
            del summary[name]
    return summary


START = 1_790_000_000.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "orders",
            {
                "name": "GET /orders",
                "kind": "http",
                "start": START,
                "duration": 0.214,
                "status": 200,
                "service": "shop",
                "counts": {"spans": 30, "queries": 26, "n_plus_one": 1, "alerts": 1},
                "level": "warn",
            },
        ),
        (
            "checkout",
            {
                "name": "POST /checkout",
                "kind": "http",
                "start": START,
                "duration": 1.284,
                "status": 500,
                "service": "shop",
                # The failed call and the failed INSERT; the SERVER span only passed the one on.
                # Two errors, a slow query, and the request as a whole.
                "counts": {"spans": 10, "queries": 5, "errors": 2, "alerts": 4},
                "level": "error",
                "slow": True,
            },
        ),
        (
            "running",
            {
                "name": "GET /report",
                "kind": "http",
                "start": START,
                "duration": None,
                "status": "ok",
                "service": "shop",
                "counts": {"spans": 3, "queries": 1},
            },
        ),
        (
            "old_names",
            {
                "name": "GET /products/7",
                "kind": "http",
                "start": START,
                "duration": 0.095,
                "status": 200,
                "service": "storefront",
                "counts": {"spans": 5, "queries": 1},
            },
        ),
        (
            "job",
            {
                "name": "process send_newsletter",
                "kind": "job",
                "start": START,
                "duration": 0.43,
                "status": "ok",
                "service": "shop",
                "counts": {"spans": 2, "queries": 1},
                "links": ("4bf92f3577b34da6a3ce929d0e0e4736",),
            },
        ),
        (
            "websocket",
            {
                "name": "/live",
                "kind": "websocket",
                "start": START,
                "duration": 9.1,
                "status": "ok",
                "service": "shop",
                "counts": {"spans": 2},
                "websocket": {
                    "state": "closed",
                    "live": False,
                    "path": "/live",
                    "client": "",
                    "close_code": 1000,
                    "abnormal": False,
                    "received": 1,
                    "sent": 0,
                    "bytes_received": 12,
                    "bytes_sent": 0,
                    "rate": 0.1,
                },
            },
        ),
    ],
)
def test_summary_of_recorded_traces(name: str, expected: dict[str, object]) -> None:
    assert line(name) == expected


def test_trace_without_spans() -> None:
    summary = summarize(Trace.of("a" * 32, [], 10**18), Settings())
    assert dataclasses.asdict(summary) == {
        "trace_id": "a" * 32,
        "name": "",
        "kind": "other",
        "start": 1e9,
        "duration": None,
        "status": "ok",
        "service": "",
        "counts": NOTHING,
        "websocket": None,
        "level": "ok",
        "slow": False,
        "links": (),
    }


def test_failed_task_is_an_error() -> None:
    task = Span(
        "a" * 32, "b" * 16, None, "task run", Kind.INTERNAL, 0, 5,
        {"asyncio.task.name": "Task-1"}, Status.ERROR,
    )  # fmt: skip
    summary = summarize(Trace.of("a" * 32, [task], 10), Settings())
    assert (summary.kind, summary.status, summary.counts.errors) == ("task", "error", 1)


def test_slow_query_is_an_alert_and_a_detached_one_is_not_counted() -> None:
    def query(number: int, **more: object) -> Span:
        attributes = {"db.query.text": "SELECT 1", **more}
        return Span("a" * 32, f"{number:016x}", None, "q", Kind.CLIENT, 0, 200_000_000, attributes)  # type: ignore[arg-type]

    trace = Trace.of("a" * 32, [query(1), query(2, **{"toolbar.detached": True})], 10)
    counts = summarize(trace, Settings()).counts
    assert (counts.queries, counts.alerts) == (1, 1)
