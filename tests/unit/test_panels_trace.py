"""The waterfall's view and a span's details."""

from __future__ import annotations

import dataclasses

import pytest

from otel_toolbar import panels
from otel_toolbar.model import Trace
from otel_toolbar.panels import trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.trace.view import Share, span_view
from otel_toolbar.settings import Settings
from tests import recorded

OPTIONS = Settings()


def test_rows_of_a_trace_of_two_services() -> None:
    view = trace.PANEL.view(recorded.load("old_names"), OPTIONS)
    rows = [
        (row.depth, row.name, row.text, row.category, row.service, row.start, row.duration)
        for row in view.spans
    ]
    assert rows == [
        (0, "HTTP GET", "/products/7", "server", "storefront", 0.0, 0.095),
        (
            1,
            "SELECT store.products",
            "select p.id, p.name from products p where p.id = ?",
            "db",
            "storefront",
            0.004,
            0.017,
        ),
        (1, "GET", "http://stock:3000/stock/7", "http", "storefront", 0.025, 0.063),
        (2, "GET /stock/:id", "/stock/7", "server", "stock-service", 0.031, 0.053),
        (3, "redis-GET", "GET stock:7", "cache", "stock-service", 0.035, 0.002),
    ]
    assert view.services == ("stock-service", "storefront")
    assert [row.self_time for row in view.spans] == pytest.approx(
        [0.015, 0.017, 0.01, 0.051, 0.002]
    )
    assert [row.name for row in view.spans if row.critical] == [
        "HTTP GET",
        "SELECT store.products",
        "GET",
        "GET /stock/:id",
        "redis-GET",
    ]


def test_what_a_row_tells() -> None:
    view = trace.PANEL.view(recorded.load("checkout"), OPTIONS)
    by_name = {row.name: row for row in view.spans}
    assert by_name["POST"].error == "httpx.ConnectError: All connection attempts failed"
    assert [(mark.name, mark.at) for mark in by_name["POST"].events] == [
        ("retry", 0.56),
        ("exception", 1.269),
    ]
    assert [row.name for row in view.spans if row.detached] == ["send_receipt", "SELECT customers"]
    assert view.spans[0].parent is None, "the caller's span is not here, so it stands at the top"
    assert view.shares[0] == Share("http", 1, 1.1)
    assert trace.PANEL.badge(view) == Badge("10", "error")


def test_queries_of_one_group_bear_its_id() -> None:
    view = trace.PANEL.view(recorded.load("orders"), OPTIONS)
    groups = [row.n_plus_one for row in view.spans if row.n_plus_one]
    assert len(set(groups)) == 1
    assert len(groups) == 24, "the first one bears no flag, and yet belongs to them"


def test_running_trace() -> None:
    view = trace.PANEL.view(recorded.load("running"), OPTIONS)
    assert view.running
    assert view.duration == 2.6
    assert [(row.name, row.running, row.duration) for row in view.spans] == [
        ("GET /report", True, 2.6),
        ("SELECT orders", False, 0.04),
        ("build report", True, 2.54),
    ]


def test_no_spans() -> None:
    view = trace.PANEL.view(Trace.of("a" * 32, [], 10**18), OPTIONS)
    assert dataclasses.asdict(view) == {
        "trace_id": "a" * 32,
        "start": 1e9,
        "duration": 0.0,
        "running": False,
        "dropped": 0,
        "services": (),
        "shares": (),
        "blocked": (),
        "spans": (),
    }


def test_spans_that_were_not_kept_are_counted() -> None:
    parts = recorded.load("job").spans
    view = trace.PANEL.view(Trace.of(parts[0].trace_id, parts, 0, dropped=18_114), OPTIONS)
    assert view.dropped == 18_114


def test_details_of_a_span() -> None:
    known = recorded.load("checkout")
    call = next(span for span in known.spans if span.name == "POST")
    view = span_view(known, call.span_id, OPTIONS)
    assert view is not None
    assert (view.kind, view.status, view.duration) == ("client", "error", 1.1)
    assert view.scope == "opentelemetry.instrumentation.httpx 0.66b1"
    assert [(field.name, field.value) for field in view.attributes] == [
        ("error.type", "ConnectError"),
        ("http.request.method", "POST"),
        ("server.address", "pay.example"),
        ("url.full", "https://pay.example/v2/charges?key=***"),
    ]
    assert [(event.name, event.at) for event in view.events] == [
        ("retry", 0.56),
        ("exception", 1.269),
    ]
    assert span_view(known, "0" * 16, OPTIONS) is None


def test_link_and_place_of_a_span() -> None:
    job = span_view(recorded.load("job"), "a000000000000000", OPTIONS)
    assert job is not None
    assert job.links == (("4bf92f3577b34da6a3ce929d0e0e4736", "a000000000000000"),)
    query = span_view(recorded.load("orders"), "a000000000000002", OPTIONS)
    assert query is not None
    assert query.place is not None
    assert query.place.link == "vscode://file/app/shop/orders.py:22"
    assert [frame.short for frame in query.stack] == [
        "shop/orders.py:22",
        "shop/pages.py:88",
        "shop/app.py:31",
    ]


@pytest.mark.parametrize(
    ("editor", "path", "link"),
    [
        ("vscode", "/a b/x.py", "vscode://file/a%20b/x.py:7"),
        ("pycharm", "/a/x.py", "pycharm://open?file=/a/x.py&line=7"),
        ("none", "/a/x.py", ""),
        ("vscode", "src/x.py", ""),
        ("vscode", "C:\\a\\x.py", "vscode://file/C:/a/x.py:7"),
        ("x://{path}#{line}", '/"><script>', "x:///%22%3E%3Cscript%3E#7"),
    ],
)
def test_editor_link(editor: str, path: str, link: str) -> None:
    from otel_toolbar.panels.shared import editor_link

    assert editor_link(path, 7, editor) == link


def test_a_large_trace_is_seen_whole() -> None:
    view = trace.PANEL.view(recorded.large(5000), OPTIONS)
    assert len(view.spans) == 5000
    assert panels.view(trace.PANEL, recorded.large(5000), OPTIONS).badge == Badge("5,000", "error")
