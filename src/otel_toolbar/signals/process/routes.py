"""All routes of an app, in the framework's own order, mounted apps included.

Read from the framework's objects; nothing of them is matched or called. Paths are written as
`http.route` has them, so that a reader finds the one that matched.
"""

# Objects of frameworks that need not be installed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from otel_toolbar.signals.core import functions
from otel_toolbar.signals.core.framework import framework_of, layers

MAX_ROUTES = 2000
_MAX_DEPTH = 10

Route = dict[str, Any]


def facts(apps: Sequence[Any]) -> dict[str, Any]:
    """`routes`, and `routes_dropped` when there are too many."""
    found: list[Route] = []
    dropped = 0
    for app in apps:
        for route in of(app):
            if len(found) < MAX_ROUTES:
                found.append(route)
            else:
                dropped += 1
    return {"routes": found} | ({"routes_dropped": dropped} if dropped else {})


def of(app: Any, prefix: str = "", depth: int = 0) -> Iterator[Route]:
    """The routes of an app of any framework known; of another none."""
    if depth == _MAX_DEPTH:
        return
    for layer in layers(app):
        framework = framework_of(layer)
        read = _READERS.get(framework or "")
        if framework and read is not None and _is_app(layer, framework):
            for route in read(layer, prefix, depth):
                yield {"framework": framework} | route
            return


def _is_app(layer: Any, framework: str) -> bool:
    """True for the app itself, not for a handler of its framework that it has around it."""
    if framework in ("starlette", "fastapi"):
        return hasattr(layer, "routes") and not hasattr(type(layer), "matches")
    return framework == "django" or hasattr(
        layer, {"litestar": "route_handler_method_map", "quart": "url_map"}[framework]
    )


def _starlette(app: Any, prefix: str, depth: int) -> Iterator[Route]:
    for route in _flat(list(app.routes)):
        endpoint = getattr(route, "endpoint", None)
        # A mount's format ends in the path below it.
        formatted = getattr(route, "path_format", None) if endpoint is not None else None
        path = formatted or getattr(route, "path", None)
        path = path if isinstance(path, str) else ""
        name = str(getattr(route, "name", None) or "")
        if endpoint is not None:
            methods = getattr(route, "methods", None)
            kind = "http" if methods is not None or not _is_websocket(route) else "websocket"
            yield _route(prefix + path, methods or (), name, endpoint, kind)
            continue
        mounted = getattr(route, "app", None)
        if mounted is None:
            continue
        inside = list(of(mounted, prefix + path, depth + 1))
        yield from inside or [_route(prefix + path, (), name, mounted, "mount")]


def _is_websocket(route: Any) -> bool:
    original = getattr(route, "original_route", route)
    return "WebSocket" in type(original).__name__


def _flat(routes: Sequence[Any]) -> Iterable[Any]:
    """FastAPI >= 0.142 keeps an included router as one route; it has a function that opens them."""
    opened = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    return routes if opened is None else opened(routes)


def _litestar(app: Any, prefix: str, _: int) -> Iterator[Route]:
    for route in list(app.routes):
        path = prefix + str(getattr(route, "path_format", None) or route.path)
        several = getattr(route, "route_handlers", None) or [route.route_handler]
        for handler in several:
            if str(getattr(handler.fn, "__module__", "")).startswith("litestar.routes"):
                continue  # answers OPTIONS by itself
            methods: Any = getattr(handler, "http_methods", None)
            kind = {"HTTPRoute": "http", "WebSocketRoute": "websocket"}.get(
                type(route).__name__, "mount"
            )
            yield _route(path, methods or (), str(handler.name or ""), handler.fn, kind)


def _quart(app: Any, prefix: str, _: int) -> Iterator[Route]:
    for rule in list(app.url_map.iter_rules()):
        endpoint = app.view_functions.get(rule.endpoint)
        methods = () if rule.websocket else rule.methods or ()
        kind = "websocket" if rule.websocket else "http"
        yield _route(prefix + rule.rule, methods, str(rule.endpoint), endpoint, kind)


def _django(_app: Any, prefix: str, _: int) -> Iterator[Route]:
    """Those of the URLconf, once Django itself has imported it, which is with the first request."""
    resolvers: Any = sys.modules.get("django.urls")
    settings: Any = sys.modules.get("django.conf")
    if resolvers is None or not settings.settings.configured:
        return
    conf = getattr(settings.settings, "ROOT_URLCONF", None)
    if isinstance(conf, str) and conf not in sys.modules:
        return
    yield from _patterns(resolvers.get_resolver(conf).url_patterns, prefix + "/", "", 0)


def _patterns(patterns: Any, prefix: str, namespace: str, depth: int) -> Iterator[Route]:
    for each in list(patterns):
        path = prefix + str(each.pattern)
        inside = getattr(each, "url_patterns", None)
        if inside is None:
            name = f"{namespace}{each.name}" if each.name else ""
            view = getattr(each.callback, "view_class", each.callback)
            yield _route(path, (), name, view, "http")
        elif depth < _MAX_DEPTH:
            inner = f"{namespace}{each.namespace}:" if each.namespace else namespace
            yield from _patterns(inside, path, inner, depth + 1)


def _route(path: str, methods: Iterable[Any], name: str, endpoint: Any, kind: str) -> Route:
    return {
        "path": path or "/",
        "methods": sorted({str(getattr(method, "value", method)) for method in methods}),
        "name": name,
        "kind": kind,
        **({} if endpoint is None else functions.of(endpoint)),
    }


_READERS: dict[str, Callable[[Any, str, int], Iterator[Route]]] = {
    "starlette": _starlette,
    "fastapi": _starlette,
    "litestar": _litestar,
    "quart": _quart,
    "django": _django,
}
