"""Litestar's lifecycle hooks, event listeners and exception handlers, as the app declares them."""

# Objects of frameworks that need not be installed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from otel_toolbar.signals.core import functions
from otel_toolbar.signals.core.framework import framework_of, layers

HOOKS = ("before_request", "after_request", "after_response", "before_send", "after_exception",
         "on_startup", "on_shutdown")  # fmt: skip
MAX_HOOKS = 500


def facts(apps: Sequence[Any]) -> dict[str, Any]:
    """`hooks`, each with `kind`, `name` (an event's or an exception's) and its place."""
    found = [hook for app in apps for hook in _of_app(app)][:MAX_HOOKS]
    return {"hooks": found} if found else {}


def _of_app(app: Any) -> Iterator[dict[str, Any]]:
    for layer in layers(app):
        if framework_of(layer) != "litestar" or not hasattr(layer, "route_handler_method_map"):
            continue
        for kind in HOOKS:
            for hook in _functions(getattr(layer, kind, None)):
                yield {"kind": kind, "name": "", **functions.of(hook)}
        emitter = getattr(layer, "event_emitter", None)
        for event, listeners in list(getattr(emitter, "listeners", {}).items()):
            for listener in list(listeners):
                yield {
                    "kind": "listener",
                    "name": str(event),
                    **functions.of(functions.listened(listener)),
                }
        for error, handler in list((getattr(layer, "exception_handlers", None) or {}).items()):
            yield {"kind": "exception_handler", "name": _name(error), **functions.of(handler)}
        return


def _functions(given: Any) -> Sequence[Any]:
    if given is None:
        return ()
    return cast("Sequence[Any]", given) if isinstance(given, (list, tuple)) else (given,)


def _name(error: Any) -> str:
    return str(error) if isinstance(error, int) else str(getattr(error, "__name__", error))
