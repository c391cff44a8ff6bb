"""Which database an engine talks to, what its statements are, and what its errors are called."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from otel_toolbar import semconv
from otel_toolbar.insights.fingerprint import Statement, Statements
from otel_toolbar.signals.core import masking

_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db", "cockroachdb": "cockroachdb"}
"""SQLAlchemy dialects whose `db.system.name` is another word."""

_MAX_STATEMENTS = 1000
"""Statements of an engine whose attributes are kept ready."""


class Known(NamedTuple):
    """What is known of a statement before it runs."""

    statement: Statement
    attributes: dict[str, Any]
    """Of the database and of the statement. Not to be written to."""


class Database:
    """An engine's database, with the statements that ran there."""

    def __init__(self, engine: Any) -> None:
        self._attributes = _attributes(engine)
        self._mysql = self._attributes.get(semconv.DB_SYSTEM_NAME) in ("mysql", "mariadb")
        self._known: dict[str, Known] = {}

    def statement(self, text: str) -> Known:
        """A statement by its text."""
        known = self._known.get(text)
        if known is None:
            statement = _statements.analyze(text, self._mysql)
            known = Known(statement, self._attributes | _of_statement(statement))
            if len(self._known) >= _MAX_STATEMENTS:
                self._known.clear()
            if len(text) <= len(statement.text):  # of a huge one nothing is kept
                self._known[text] = known
        return known


_databases: WeakKeyDictionary[Any, Database] = WeakKeyDictionary()
_statements = Statements(masking.is_secret)


def of(engine: Any) -> Database:
    """The database of an engine."""
    found = _databases.get(engine)
    if found is None:
        found = _databases[engine] = Database(engine)
    return found


def forget() -> None:
    """Read everything anew, because what is secret has changed."""
    global _statements
    _databases.clear()
    _statements = Statements(masking.is_secret)


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


def _of_statement(statement: Statement) -> dict[str, Any]:
    # `db.query.text` is not cut at VALUE_LENGTH: half a statement cannot be read or run.
    attributes: dict[str, Any] = {
        semconv.DB_QUERY_TEXT: masking.text(statement.text),
        semconv.DB_QUERY_SUMMARY: statement.summary,
        semconv.QUERY_FINGERPRINT: statement.fingerprint,
        semconv.DB_OPERATION_NAME: statement.operation,
        semconv.DB_COLLECTION_NAME: statement.target,
    }
    return {key: value for key, value in attributes.items() if value}


def error_code(error: BaseException) -> str:
    """The database's own code of an error: SQLSTATE, SQLite's name, or MySQL's number."""
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str):
            return code
    first = error.args[0] if error.args else None
    return str(first) if isinstance(first, int) else ""
