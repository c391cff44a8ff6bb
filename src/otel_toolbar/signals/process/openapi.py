"""The app's OpenAPI document, masked, without a change to the app.

FastAPI keeps the document that it makes on the app, and older versions never make it again: made too
early, routes that come later would be missing for ever. So it is made on a shadow, an object of the app's
class that shares all that the app has but keeps its own document. A document that the app's own code makes
is shown only once the app has made it.
"""

# Objects of frameworks that need not be installed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from otel_toolbar.signals.core import masking
from otel_toolbar.signals.core.framework import framework_of, layers

MAX_DOCUMENT = 1_000_000
"""Characters of a document; a larger one is left out."""

_MAX_DEPTH = 100
_SAMPLES = frozenset({"default", "example", "examples", "const", "enum"})


def facts(apps: Sequence[Any], *, make: bool) -> dict[str, Any]:
    """`openapi`: for each app `document` as JSON text, and `docs`, the path and kind of its pages.

    `make` False takes only what the app has made itself.
    """
    found = [fact for app in apps if (fact := _of_app(app, make)) is not None]
    return {"openapi": found} if found else {}


def _of_app(app: Any, make: bool) -> dict[str, Any] | None:
    for layer in layers(app):
        framework = framework_of(layer)
        if framework == "fastapi" and hasattr(layer, "openapi_url"):
            return _told(_fastapi(layer, make), _fastapi_docs(layer))
        if framework == "litestar" and hasattr(layer, "openapi_config"):
            return _told(_litestar(layer, make), _litestar_docs(layer))
    return None


def _told(document: Any, docs: dict[str, str]) -> dict[str, Any] | None:
    if not isinstance(document, dict):
        return None
    text = json.dumps(masked(cast("dict[str, Any]", document)), default=_nothing)
    if len(text) > MAX_DOCUMENT:
        return {"too_large": len(text), **docs}
    return {"document": text, **docs}


def _nothing(_: Any) -> None:
    """In place of what JSON does not know."""


def _fastapi(app: Any, make: bool) -> Any:
    made = app.__dict__.get("openapi_schema")
    if not make or "openapi" in app.__dict__ or not app.openapi_url:
        return made
    own = type(app).openapi
    if not own.__module__.startswith("fastapi."):
        return made  # it is the app's own code that makes it
    shadow: Any = object.__new__(type(app))
    shadow.__dict__.update(app.__dict__)
    return own(shadow)


def _fastapi_docs(app: Any) -> dict[str, str]:
    if app.openapi_url and app.docs_url:
        return {"docs": str(app.docs_url), "docs_kind": "swagger"}
    if app.openapi_url and app.redoc_url:
        return {"docs": str(app.redoc_url), "docs_kind": "redoc"}
    return {}


def _litestar(app: Any, make: bool) -> Any:
    """Litestar's plugin makes the document when it is first asked for; here a shadow of it does."""
    plugin = next((each for each in app.plugins if type(each).__name__ == "OpenAPIPlugin"), None)
    config = app.openapi_config
    if plugin is None or config is None:
        return None
    if plugin._openapi_schema is not None and plugin._openapi is not None:  # noqa: SLF001
        return plugin._openapi_schema  # noqa: SLF001
    if not make or config.create_examples:  # examples would reseed the random numbers of the app
        return None
    shadow: Any = object.__new__(type(plugin))
    for name in ("app", "included_routes", "_openapi_config"):
        setattr(shadow, name, getattr(plugin, name))
    shadow._openapi = shadow._openapi_schema = None  # noqa: SLF001
    return shadow.provide_openapi_schema()


def _litestar_docs(app: Any) -> dict[str, str]:
    config = app.openapi_config
    renderer = getattr(config, "default_plugin", None)
    if renderer is None:
        return {}
    router = getattr(config, "openapi_router", None)
    path = str(getattr(router, "path", None) or config.path or "/schema")
    kind = type(renderer).__name__.removesuffix("RenderPlugin").lower()
    return {"docs": path, "docs_kind": kind}


def masked(document: dict[str, Any]) -> dict[str, Any]:
    """The document with secrets masked: by what they look like, and samples of secret names."""
    return _walk(document, "", 0)


def _walk(value: Any, name: str, depth: int) -> Any:
    """`name` is that of the property or parameter that a schema belongs to."""
    if depth == _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value)
        named = items.get("name")
        owner = named if isinstance(named, str) else name
        return {str(key): _entry(str(key), item, owner, depth) for key, item in list(items.items())}
    if isinstance(value, (list, tuple)):
        return [_walk(item, name, depth + 1) for item in cast("Sequence[Any]", value)]
    if isinstance(value, str):
        return masking.text(str(value))
    return value


def _entry(key: str, item: Any, owner: str, depth: int) -> Any:
    if key in _SAMPLES and item is not None and masking.is_secret(owner):
        return masking.MASK
    if isinstance(item, (str, int, float)) and masking.is_secret(key):
        return masking.MASK
    return _walk(item, owner if key in _OF_SCHEMA else key, depth + 1)


_OF_SCHEMA = frozenset({"schema", "items", "anyOf", "oneOf", "allOf", "value"})
"""Parts of a schema that belong to the same property as it does."""
