"""Query plans: what a database's EXPLAIN says, as one tree for all databases, with hints.

Nothing here talks to a database. `explained` puts a plan, the statement and facts of the schema
together; the rest are its parts, one concept a module.
"""

from __future__ import annotations

from .model import Hint, Index, Link, Node, Plan, Refused, Table

__all__ = ["Hint", "Index", "Link", "Node", "Plan", "Refused", "Table"]
