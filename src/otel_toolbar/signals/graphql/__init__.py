"""GraphQL operations of Strawberry: a span each, and one for every call of the app's own resolvers.

An extension of ours stands first in the list that a schema gives to each operation; the schema, its own
extensions and its resolvers stay as they are. Nothing is imported before the app imports Strawberry.
"""

from __future__ import annotations

from typing import Any

from otel_toolbar.signals.core import imports

__all__ = ["install", "uninstall"]


def _hooks() -> Any:
    from . import schema  # with Strawberry

    return schema


_watch = imports.WithLibrary(_hooks, "strawberry")


def install() -> None:
    """See all operations from now on, once Strawberry is imported."""
    _watch.install()


def uninstall() -> None:
    """See none any more, and leave Strawberry as it was."""
    _watch.uninstall()
