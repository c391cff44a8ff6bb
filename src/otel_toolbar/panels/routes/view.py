"""The routes that the process told, in the framework's order, with the one that matched."""

from __future__ import annotations

from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import process, reading
from otel_toolbar.model import Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class RouteView:
    """One route."""

    position: int
    methods: tuple[str, ...]
    """Empty: any."""
    path: str
    name: str
    kind: str
    """`http`, `websocket` or `mount`."""
    framework: str
    endpoint: shared.Place | None
    matched: bool


@dataclass(frozen=True)
class RoutesView:
    """The panel."""

    known: bool
    """False where the process has told no facts."""
    route: str
    """What the request matched, as its span says; empty when nothing did."""
    matched: RouteView | None
    routes: tuple[RouteView, ...]
    """In the framework's order."""
    dropped: int
    """Routes beyond those that are told."""


def view(trace: Trace, settings: Settings) -> RoutesView:
    """The routes of the process that served the trace."""
    matched = process.matched(trace)
    routes = tuple(
        RouteView(
            position=number + 1,
            methods=route.methods,
            path=route.path,
            name=route.name,
            kind=route.kind,
            framework=route.framework,
            endpoint=shared.code_place(route.code, settings),
            matched=number == matched,
        )
        for number, route in enumerate(process.routes(trace))
    )
    main = trace.main
    dropped = process.facts(trace).get("routes_dropped")
    return RoutesView(
        known=trace.process is not None,
        route=reading.text(main, semconv.HTTP_ROUTE) if main is not None else "",
        matched=None if matched is None else routes[matched],
        routes=routes,
        dropped=dropped if isinstance(dropped, int) else 0,
    )


def badge(view: RoutesView) -> Badge:
    """How many routes there are."""
    return Badge(str(len(view.routes)) if view.routes else None)
