"""Which database an engine talks to, and what its errors are called."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from otel_toolbar import semconv

_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db", "cockroachdb": "cockroachdb"}
"""SQLAlchemy dialects whose `db.system.name` is another word."""

_known: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def attributes(engine: Any) -> dict[str, Any]:
    """`db.system.name`, `db.namespace` and the server's address of an engine."""
    found = _known.get(engine)
    if found is None:
        found = _known[engine] = _attributes(engine)
    return found


def _attributes(engine: Any) -> dict[str, Any]:
    url, dialect = engine.url, engine.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    found = {
        semconv.DB_SYSTEM_NAME: _SYSTEMS.get(name, name),
        semconv.DB_NAMESPACE: url.database,
        semconv.SERVER_ADDRESS: url.host,
        semconv.SERVER_PORT: url.port,
    }
    return {key: value for key, value in found.items() if value is not None}


def error_code(error: BaseException) -> str:
    """The database's own code of an error: SQLSTATE, SQLite's name, or MySQL's number."""
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str):
            return code
    first = error.args[0] if error.args else None
    return str(first) if isinstance(first, int) else ""
