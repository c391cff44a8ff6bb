"""SQL queries of SQLAlchemy, sync and async engines, ORM and Core, 2.0 and 2.1; and of drivers without it."""

from __future__ import annotations

from typing import Any

from . import loads
from .instrumentor import install, uninstall

__all__ = ["explain", "install", "loads", "uninstall"]


def explain(trace_id: str, span_id: str, analyze: bool = False) -> Any:
    """The `Plan` of a query that has run; see `explaining.explain`. Imported when somebody asks."""
    from . import explaining

    return explaining.explain(trace_id, span_id, analyze)
