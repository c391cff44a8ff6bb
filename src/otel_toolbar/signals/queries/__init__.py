"""SQL queries of SQLAlchemy, sync and async engines, ORM and Core, 2.0 and 2.1; and of drivers without it."""

from __future__ import annotations

from typing import Any

from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import imports

from . import loads

__all__ = ["explain", "install", "loads", "uninstall"]


def _hooks() -> Any:
    from . import instrumentor  # with the library

    return instrumentor


_watch = imports.WithLibrary(
    _hooks,
    "sqlalchemy.engine",
    "opentelemetry.instrumentation.dbapi",
    "opentelemetry.instrumentation.asyncpg",
)


def install(options: Settings) -> None:
    """Watch all queries from now on, once SQLAlchemy or the instrumentation of a driver is imported."""
    _watch.install(options)


def uninstall() -> None:
    """Watch none any more, and leave SQLAlchemy as it was."""
    _watch.uninstall()


def explain(trace_id: str, span_id: str, analyze: bool = False) -> Any:
    """The `Plan` of a query that has run; see `explaining.explain`. Imported when somebody asks."""
    from . import explaining

    return explaining.explain(trace_id, span_id, analyze)
