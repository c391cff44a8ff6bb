"""GraphQL operations of Strawberry: a span each, and one for every call of the app's own resolvers.

An extension of ours stands first in the list that a schema gives to each operation; the schema, its own
extensions and its resolvers stay as they are. Nothing is imported before the app imports Strawberry.
"""

from __future__ import annotations

from .schema import install, uninstall

__all__ = ["install", "uninstall"]
