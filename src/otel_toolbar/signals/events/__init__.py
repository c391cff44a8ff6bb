"""What Litestar calls around a request: lifecycle hooks, event listeners, exception handlers.

Each call is a span `event {name}` with the function and its place. A listener runs in a task of the
app's, not of a request's: there its span and all that it does are brought back to who emitted.
"""

from __future__ import annotations

from . import emitting, hooks, span


def install() -> None:
    """Put the hooks in; each takes effect when Litestar is imported."""
    if not span.Switch.installed:
        emitting.install()
        hooks.install()
    span.Switch.installed = span.Switch.on = True


def uninstall() -> None:
    """Pass everything on from now on."""
    span.Switch.on = False
