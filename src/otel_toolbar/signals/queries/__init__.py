"""SQL queries, by SQLAlchemy's own events: sync and async engines, ORM and Core, 2.0 and 2.1."""

from __future__ import annotations

from . import loads
from .instrumentor import install, uninstall

__all__ = ["install", "loads", "uninstall"]
