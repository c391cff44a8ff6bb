"""Which database an engine talks to, and what its statements are."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakSet, ref

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
    name: str
    """Of its spans."""
    attributes: dict[str, Any]
    """Of the database and of the statement. Not to be written to."""


class Database:
    """An engine's database, with the statements that ran there."""

    def __init__(self, engine: Any) -> None:
        self._engine = ref(engine)
        self._known: dict[str, Known] = {}

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What all its spans say. Asked for once connected: only then MariaDB is known from MySQL."""
        return self.read_attributes()

    def read_attributes(self) -> dict[str, Any]:
        """The same as known by now."""
        engine = self._engine()
        return {} if engine is None else _attributes(engine)

    def statement(self, text: str) -> Known:
        """A statement by its text."""
        known = self._known.get(text)
        if known is None:
            statement = read(text, self.attributes.get(semconv.DB_SYSTEM_NAME, ""))
            told = self.attributes | of_statement(statement)
            known = Known(statement, statement.summary or "query", told)
            if len(self._known) >= _MAX_STATEMENTS:
                self._known.clear()
            if len(text) <= len(statement.text):  # of a huge one nothing is kept
                self._known[text] = known
        return known


_DATABASE = "_otel_toolbar_database"
"""Attribute of a dialect: an engine has one of its own, and shares it with its pool and its copies."""

_dialects: WeakSet[Any] = WeakSet()
"""Those that have it."""

_statements = Statements(masking.is_secret)


def of(engine: Any) -> Database:
    """The database of an engine."""
    dialect = engine.dialect
    found: Database | None = getattr(dialect, _DATABASE, None)
    if found is None:
        found = Database(engine)
        setattr(dialect, _DATABASE, found)
        _dialects.add(dialect)
    return found


def of_pool(pool: Any) -> Database | None:
    """The database that a pool connects to; None before its engine was asked for a connection."""
    return getattr(getattr(pool, "_dialect", None), _DATABASE, None)


def read(text: str, system: str) -> Statement:
    """A statement of a database system, read once."""
    return _statements.analyze(text, system in ("mysql", "mariadb"))


def forget() -> None:
    """Read everything anew, because what is secret has changed."""
    global _statements
    for dialect in list(_dialects):
        with suppress(AttributeError):
            delattr(dialect, _DATABASE)
    _dialects.clear()
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


def of_statement(statement: Statement) -> dict[str, Any]:
    """What a span says of its statement."""
    # `db.query.text` is not cut at VALUE_LENGTH: half a statement cannot be read or run.
    attributes: dict[str, Any] = {
        semconv.DB_QUERY_TEXT: masking.text(statement.text),
        semconv.DB_QUERY_SUMMARY: statement.summary,
        semconv.QUERY_FINGERPRINT: statement.fingerprint,
        semconv.DB_OPERATION_NAME: statement.operation,
        semconv.DB_COLLECTION_NAME: statement.target,
    }
    return {key: value for key, value in attributes.items() if value}
