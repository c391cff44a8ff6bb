"""The template of the route that a request matched, read from what the framework left in the scope.

Litestar leaves `path_template`, FastAPI and Starlette `route`. Quart and Django leave nothing there: their
hooks in `signals.frameworks` note it on the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def of(scope: Mapping[str, Any]) -> str | None:
    """The route template, such as `/items/{id}`; None when nothing matched or nobody tells."""
    template = scope.get("path_template")
    if isinstance(template, str) and template:
        return template
    route = scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return _mount(scope) + path if isinstance(path, str) else None


def _mount(scope: Mapping[str, Any]) -> str:
    """The path under which the app that matched is mounted."""
    root = str(scope.get("root_path", ""))
    return root.removeprefix(str(scope.get("app_root_path", root)))
