"""The panels that show the facts of a process: routes, settings, versions."""

from __future__ import annotations

import dataclasses
from typing import Any

from otel_toolbar.model import Kind, Log, Span, Trace
from otel_toolbar.panels import routes, settings, versions
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.routes.view import RoutesView
from otel_toolbar.panels.shared import Field, Place
from otel_toolbar.panels.versions.view import InstrumentationView
from otel_toolbar.settings import Settings

OPTIONS = Settings()


def trace(body: Any = None, **attributes: Any) -> Trace:
    span = Span("a" * 32, "1" * 16, None, "GET /", Kind.SERVER, 1, 2, attributes)
    made = Trace.of("a" * 32, [span], 3)
    if body is None:
        return made
    return dataclasses.replace(made, process=Log("", None, 1, 9, "", body, event="toolbar.process"))


def route(path: str, *methods: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "methods": methods, "kind": "http", "framework": "starlette", **more}


ROUTES = {
    "routes": (
        route("/items/{id}", "POST"),
        route("/items/{id}", "GET", "HEAD", function="shop.item", file="/app/shop.py", line=7),
        route("/any"),
        route("/files", kind="mount"),
    ),
    "routes_dropped": 3,
}


def routes_of(body: Any, path: str, method: str = "GET") -> RoutesView:
    attributes = {"http.route": path, "http.request.method": method} if path else {}
    return routes.PANEL.view(trace(body, **attributes), OPTIONS)


def test_the_matched_route() -> None:
    found = routes_of(ROUTES, "/items/{id}")
    assert found.matched is not None
    assert (found.matched.position, found.matched.matched) == (2, True)
    link = "vscode://file/app/shop.py:7"
    assert found.matched.endpoint == Place("/app/shop.py", 7, "shop.item", link)
    assert [each.matched for each in found.routes] == [False, True, False, False]
    assert found.dropped == 3
    assert routes.PANEL.badge(found) == Badge("4")
    any_method = routes_of(ROUTES, "/any", "PURGE").matched
    assert any_method is not None
    assert (any_method.path, any_method.endpoint) == ("/any", None)


def test_no_route_matched() -> None:
    for path, method in (("", "GET"), ("/nope", "GET"), ("/items/{id}", "PUT"), ("/files", "GET")):
        assert routes_of(ROUTES, path, method).matched is None
    assert routes.PANEL.view(Trace.of("a" * 32, [], 3), OPTIONS).matched is None


def test_a_process_that_told_nothing() -> None:
    for panel in (routes, settings, versions):
        found = panel.PANEL.view(trace(), OPTIONS)
        assert not found.known
        assert panel.PANEL.badge(found) == Badge(None)


def test_settings_in_groups() -> None:
    body = {"settings": ({"title": "app.config", "values": (("DEBUG", "True"), ("bad",))},)}
    (group,) = settings.PANEL.view(trace(body), OPTIONS).groups
    assert (group.title, group.values) == ("app.config", (Field("DEBUG", "True"),))


def test_versions_that_matter_come_first() -> None:
    body = {
        "python": {"version": "3.11.7", "implementation": "CPython", "platform": "Linux"},
        "server": "uvicorn 0.54.0",
        "event_loop": "uvloop.Loop",
        "packages": (("anyio", "4"), ("fastapi", "1"), ("otel-toolbar", "2"), ("zope", "3")),
        "instrumentations": (
            {"name": "fastapi", "by": "contrib", "active": False, "note": "replaced"},
            {"name": "redis", "by": "contrib", "active": True, "note": ""},
        ),
    }
    found = versions.PANEL.view(trace(body), OPTIONS)
    assert (found.python, found.platform) == ("CPython 3.11.7", "Linux")
    assert (found.server, found.event_loop) == ("uvicorn 0.54.0", "uvloop.Loop")
    assert found.packages == (Field("otel-toolbar", "2"), Field("fastapi", "1"))
    assert found.others == (Field("anyio", "4"), Field("zope", "3"))
    assert found.instrumentations == (
        InstrumentationView("redis", "contrib", True, ""),
        InstrumentationView("fastapi", "contrib", False, "replaced"),
    )
    assert versions.PANEL.badge(found) == Badge("3.11.7")
