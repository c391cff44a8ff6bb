"""Gives our hooks to instrumentations of OpenTelemetry's contrib, whoever starts them.

`opentelemetry-instrument` passes them no arguments, another distro or the app passes its own: so the
hooks are put in where an instrumentor begins, in front of those that it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any

import wrapt

from otel_toolbar import guard

Hook = Callable[..., None]


def when_instrumented(
    module: str,
    instrumentor: str,
    hooks: Mapping[str, Hook],
    first: Callable[[], None] | None = None,
) -> None:
    """Add `hooks`, by the names of the instrumentor's arguments, whenever it instruments.

    A name that begins with `async_` takes a coroutine function there; the hook itself is a plain one.
    `first` is called before the library is instrumented. An instrumentor that has begun before this
    was called goes on without.
    """

    def hook(found: Any) -> None:
        try:
            wrapt.wrap_function_wrapper(found, f"{instrumentor}._instrument", instrument)
        except Exception as error:  # a version without that method
            guard.say_once(
                f"{module} is not of a version that the toolbar knows ({error}); its spans have"
                " less on them than they could"
            )

    def instrument(
        real: Callable[..., Any], _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            if first is not None:
                first()
            added = {name: _joined(name, ours, kwargs.get(name)) for name, ours in hooks.items()}
        except Exception:
            guard.failed(f"hooks of {module}")
            added = {}
        return real(*args, **{**kwargs, **added})

    wrapt.register_post_import_hook(hook, module)


def _joined(name: str, ours: Hook, theirs: Any) -> Callable[..., Any]:
    """Ours, whose errors stay here, and then theirs, as without us."""

    def both(*args: Any) -> Any:
        try:
            ours(*args)
        except Exception:
            guard.failed(f"hook {ours.__module__}.{ours.__qualname__}")
        return theirs(*args) if callable(theirs) else None

    if not name.startswith("async_"):
        return both

    async def both_async(*args: Any) -> None:
        result = both(*args)
        if result is not None:
            await result

    # What is no coroutine function, contrib leaves out.
    theirs = theirs if iscoroutinefunction(theirs) else None
    return both_async
