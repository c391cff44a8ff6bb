"""What was asked and answered: recorded traces in, whole views out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.panels import request, response
from otel_toolbar.panels.contract import Badge, Panel
from otel_toolbar.settings import Settings
from tests import recorded

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def shown(panel: Panel, name: str) -> dict[str, Any]:
    """The view as JSON, without what is empty."""
    view = dataclasses.asdict(panel.view(recorded.load(name), Settings()))
    return {
        key: value
        for key, value in view.items()
        if value is not False and value not in ("", (), None)
    }


def field(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def test_request() -> None:
    assert shown(request.PANEL, "orders") == {
        "found": True,
        "name": "GET /orders",
        "kind": "server",
        "method": "GET",
        "path": "/orders",
        "route": "/orders",
        "endpoint": {
            "path": "/app/shop/pages.py",
            "line": 80,
            "function": "shop.pages.orders_page",
            "link": "vscode://file/app/shop/pages.py:80",
        },
        "scheme": "http",
        "host": "127.0.0.1:8000",
        "protocol": "HTTP/1.1",
        "client": "127.0.0.1:53122",
        "user_agent": FIREFOX,
        "body_size": 0,
        "framework": "fastapi",
        "service": "shop",
        "process": "4711",
        "query": (field("page", "2"), field("sort", "date")),
        "cookies": (field("session", "***"), field("theme", "dark")),
        "session": (field("cart", "[3, 14]"), field("user_id", "17")),
    }


def test_request_by_old_names() -> None:
    assert shown(request.PANEL, "old_names") == {
        "found": True,
        "name": "HTTP GET",
        "kind": "server",
        "method": "GET",
        "path": "/products/7",
        "scheme": "https",
        "host": "store.example:8443",
        "protocol": "HTTP/1.1",
        "client": "10.0.0.4",
        "user_agent": "curl/8.5.0",
        "content_type": "application/json",
        "service": "storefront",
        "query": (field("ref", "mail"),),
    }


def test_cookies_are_read_from_the_header_when_they_stand_nowhere_else() -> None:
    view = shown(request.PANEL, "checkout")
    assert view["cookies"] == (field("session", "***"), field("theme", "dark"))
    assert view["path_parameters"] == (field("cart", "81"),)
    assert view["content_type"] == "application/x-www-form-urlencoded"
    assert view["body_size"] == 84


def test_a_job_is_no_request() -> None:
    view = request.PANEL.view(recorded.load("job"), Settings())
    assert not view.found
    assert (view.name, view.kind) == ("process send_newsletter", "consumer")
    assert request.PANEL.badge(view) == Badge(None, "ok")


def test_websocket_is_a_request() -> None:
    view = request.PANEL.view(recorded.load("websocket"), Settings())
    assert (view.found, view.protocol, view.path) == (True, "websocket", "/live")


def test_response() -> None:
    view = shown(response.PANEL, "orders")
    headers = view.pop("headers")
    assert view == {
        "status": 200,
        "reason": "OK",
        "content_type": "text/html; charset=utf-8",
        "size": 18234,
        "declared_size": 18234,
        "chunks": 1,
        "first_byte": 0.2091,
        "duration": 0.214,
    }
    assert [header["name"] for header in headers] == [
        "content-type",
        "content-length",
        "set-cookie",
        "set-cookie",
        "server-timing",
        "server-timing",
    ]


def test_failed_response() -> None:
    view = response.PANEL.view(recorded.load("checkout"), Settings())
    assert (view.status, view.reason) == (500, "Internal Server Error")
    assert view.error == "httpx.ConnectError: All connection attempts failed"
    assert view.streamed is None, "nobody recorded whether it was"
    assert response.PANEL.badge(view) == Badge("500", "error")


@pytest.mark.parametrize(
    ("status", "badge"),
    [
        (200, Badge("200", "ok")),
        (302, Badge("302", "ok")),
        (404, Badge("404", "warn")),
        (503, Badge("503", "error")),
        (None, Badge(None, "ok")),
        ("500", Badge("500", "error")),
    ],
)
def test_response_badge(status: Any, badge: Badge) -> None:
    attributes = {"http.request.method": "GET", "http.response.status_code": status}
    span = Span("a" * 32, "b" * 16, None, "GET /", Kind.SERVER, 0, 5, attributes)
    view = response.PANEL.view(Trace.of("a" * 32, [span], 9), Settings())
    assert response.PANEL.badge(view) == badge


def test_no_response_while_it_runs() -> None:
    view = response.PANEL.view(recorded.load("running"), Settings())
    assert (view.running, view.status, view.duration) == (True, None, None)
