"""What can be had from a framework only from inside of it."""

from __future__ import annotations

import functools

from . import fastapi, forms, handled, quart, routes


@functools.cache
def install() -> None:
    """Put the hooks in, once; each takes effect when its framework is imported."""
    routes.install()
    fastapi.install()
    handled.install()
    forms.install()
    quart.install()
