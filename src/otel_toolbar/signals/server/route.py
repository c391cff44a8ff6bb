"""The template of the route that a request matched, read from what the framework left in the scope.

Litestar leaves `path_template`, FastAPI `route`, Starlette only the endpoint and the router. Quart and
Django leave nothing there: their hooks in `signals.frameworks` note it on the record.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

Templates = dict[int, list[str]]
_templates: dict[int, tuple[weakref.ref[Any], int, Templates]] = {}
"""By the id of the router: FastAPI's cannot be hashed. The reference says whose id it still is."""

_MAX_ROUTERS = 100


def of(scope: Mapping[str, Any]) -> str | None:
    """The route template, such as `/items/{id}`; None when nothing matched or nobody tells."""
    template = scope.get("path_template")
    if isinstance(template, str) and template:
        return template
    route = scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if isinstance(path, str):
        return _mount(scope) + path
    return _of_starlette(scope)


def _of_starlette(scope: Mapping[str, Any]) -> str | None:
    router, endpoint = scope.get("router"), scope.get("endpoint")
    if router is None or endpoint is None:
        return None
    templates = _known(router).get(id(endpoint), [])
    if len(templates) < 2:
        return templates[0] if templates else None
    path = str(scope.get("path", ""))
    return next((each for each in templates if _matches(each, path)), templates[0])


def _known(router: Any) -> Templates:
    """Templates by the id of their endpoint, collected once while the routes stay as many."""
    routes = getattr(router, "routes", ())
    known = _templates.get(id(router))
    if known is None or known[0]() is not router or known[1] != len(routes):
        templates: Templates = {}
        for template, endpoint in _walk(routes, ""):
            templates.setdefault(id(endpoint), []).append(template)
        if len(_templates) >= _MAX_ROUTERS:
            _templates.clear()
        known = _templates[id(router)] = (weakref.ref(router), len(routes), templates)
    return known[2]


def _walk(routes: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for route in routes or ():
        path = getattr(route, "path_format", None) or getattr(route, "path", "")
        endpoint = getattr(route, "endpoint", None)
        if endpoint is not None:
            yield prefix + path, endpoint
        inner = getattr(route, "routes", None)
        if inner:
            yield from _walk(inner, prefix + path.removesuffix("/{path}"))
        elif endpoint is None and getattr(route, "app", None) is not None:
            yield prefix + path, route.app


def _matches(template: str, path: str) -> bool:
    pattern = re.sub(r"\\\{[^}]*\\\}", ".+?", re.escape(template))
    return re.fullmatch(f".*?{pattern}", path) is not None


def _mount(scope: Mapping[str, Any]) -> str:
    """The path under which the app that matched is mounted."""
    root = str(scope.get("root_path", ""))
    return root.removeprefix(str(scope.get("app_root_path", root)))
