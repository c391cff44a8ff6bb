"""Which framework an ASGI app is of, and whether it makes a SERVER span itself.

Found by a look at the app object and at what it wraps; nothing is imported and nothing is called.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

MAX_DEPTH = 50
"""Middleware looked through; an app that wraps itself must not hang us."""

_MODULES = {
    "fastapi": "fastapi",
    "litestar": "litestar",
    "quart": "quart",
    "django": "django",
    "channels": "django",
    "starlette": "starlette",
}
_INNER = ("app", "asgi_app", "other_asgi_app", "application", "__wrapped__", "__self__", "func")


@dataclass(frozen=True)
class Framework:
    """`name` as in `toolbar.framework`; `makes_server_span` when the app has its own telemetry."""

    name: str = "asgi"
    makes_server_span: bool = False


def detect(app: Any) -> Framework:
    """The framework of `app`: of all layers found, the one that is no mere middleware."""
    name = "asgi"
    for layer in layers(app):
        if getattr(layer, "_native_telemetry", None) is not None:
            return Framework("fastapi", makes_server_span=True)
        found = framework_of(layer)
        if found is not None and (name in ("asgi", "starlette")):
            name = found
    return Framework(name)


def framework_of(layer: Any) -> str | None:
    """The framework that a layer's class is of; None for mere middleware and the app's own classes."""
    for cls in type(layer).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in _MODULES and not cls.__module__.startswith("starlette.middleware"):
            return _MODULES[package]
    return None


def layers(app: Any) -> Iterator[Any]:
    """`app` and what it wraps, outermost first."""
    pending, seen = [app], set[int]()
    while pending and len(seen) < MAX_DEPTH:
        layer = pending.pop(0)
        if layer is None or id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        # The instance's own attributes only: a property of the app's could do anything.
        own: dict[str, Any] = getattr(layer, "__dict__", {})
        pending += [own[name] for name in _INNER if name in own]
        bound = getattr(layer, "__self__", None) if callable(layer) else None
        if bound is not None:
            pending.append(bound)
        if isinstance(layer, functools.partial):
            pending.append(cast("Any", layer).func)
