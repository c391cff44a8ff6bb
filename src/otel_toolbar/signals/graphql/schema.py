"""Where Strawberry is listened to: a schema is asked for the extensions of an operation."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import wrapt

from otel_toolbar import guard

from . import operation

MODULE = "strawberry.schema.schema"
METHOD = "get_extensions"

_registered = False
_replaced: list[tuple[Any, Callable[..., Any]]] = []
"""The schema's class, and the method that stood there."""


def install() -> None:
    """See all operations from now on, once Strawberry is imported."""
    global _registered
    operation.watch(True)
    if not _registered:
        _registered = True
        wrapt.register_post_import_hook(_hook, MODULE)
    elif MODULE in sys.modules:
        _hook(sys.modules[MODULE])


def uninstall() -> None:
    """See none any more, and leave Strawberry as it was."""
    operation.watch(False)
    while _replaced:
        owner, real = _replaced.pop()
        setattr(owner, METHOD, real)


def _hook(module: Any) -> None:
    if not operation.watched() or _replaced:
        return
    try:
        owner = module.Schema
        real = owner.get_extensions
        owner.get_extensions = _with_ours(real, _extension_for(owner))
        _replaced.append((owner, real))
    except Exception as error:
        guard.say_once(
            f"{MODULE} is not of a version that the toolbar knows ({error}): GraphQL operations are"
            " not seen"
        )


def _extension_for(schema: Any) -> type[Any]:
    from .extension import SharedExtension, ToolbarExtension  # imports Strawberry

    return SharedExtension if hasattr(schema, "_sync_extensions") else ToolbarExtension


def _with_ours(real: Callable[..., Any], extension: type[Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def get_extensions(self: Any, *args: Any, **kwargs: Any) -> Any:
        theirs = real(self, *args, **kwargs)
        try:
            # First is outermost around the operation, and innermost around a resolver.
            return [extension(), *theirs]
        except Exception:
            guard.failed("extension for a GraphQL schema")
            return theirs

    return get_extensions
