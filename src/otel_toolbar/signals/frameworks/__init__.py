"""What can be had from a framework only from inside of it."""

from __future__ import annotations

from . import fastapi, handled, quart, routes


def install() -> None:
    """Put the hooks in; each takes effect when its framework is imported."""
    routes.install()
    fastapi.install()
    handled.install()
    quart.install()
