"""What FastAPI and Litestar inject: a span for each dependency, with its value and its own time.

FastAPI's own span is of the whole resolution. Ours stand under it, one for each dependency, and what a
dependency does stands under that.
"""

from __future__ import annotations

from . import fastapi, litestar


def install() -> None:
    """Put the hooks in; each takes effect when its framework is imported."""
    fastapi.install()
    litestar.install()
