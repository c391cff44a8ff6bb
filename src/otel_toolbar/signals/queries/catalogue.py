"""What a database's catalog says of a table: columns, indexes, and how many rows it has."""

from __future__ import annotations

from typing import Any, cast

from otel_toolbar.insights.plans import Index, Table
from otel_toolbar.insights.plans.hints import LARGE

_COUNTED = "counted"

_RELTUPLES = (
    "SELECT c.reltuples FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = :name AND n.nspname = :schema"
)
_TABLE_ROWS = (
    "SELECT table_rows FROM information_schema.tables"
    " WHERE table_name = :name AND table_schema = coalesce(:schema, database())"
)
_STAT1 = "SELECT stat FROM sqlite_stat1 WHERE tbl = :name AND :schema IS NULL LIMIT 1"
_STATISTICS = {
    "postgresql": ("pg_class.reltuples", _RELTUPLES),
    "mysql": ("information_schema.tables.table_rows", _TABLE_ROWS),
    "sqlite": ("sqlite_stat1", _STAT1),
}
"""Of each system: the name of its statistics, and the query for a table's rows."""


def table(connection: Any, system: str, schema: str, name: str) -> Table | None:
    """Facts of a table; None of something that is no table."""
    from sqlalchemy import inspect
    from sqlalchemy.exc import NoSuchTableError

    inspector: Any = inspect(connection)
    try:
        columns = tuple(column["name"] for column in inspector.get_columns(name, schema or None))
        primary = inspector.get_pk_constraint(name, schema or None)
        indexes = [_index(found) for found in inspector.get_indexes(name, schema or None)]
    except NoSuchTableError:
        return None
    if primary and primary["constrained_columns"]:
        label = str(primary.get("name") or "PRIMARY KEY")
        indexes.insert(0, Index(label, tuple(primary["constrained_columns"]), unique=True))
    rows, source = _rows(connection, inspector, system, schema, name)
    more = source == _COUNTED and rows > LARGE
    return Table(name, schema, rows, source, more, tuple(indexes), columns)


def _index(found: dict[str, Any]) -> Index:
    options = cast("dict[str, Any]", found.get("dialect_options") or {})
    partial = any(key.endswith("_where") for key in options)
    columns = tuple(column or "" for column in found["column_names"])
    return Index(str(found["name"]), columns, bool(found.get("unique")), partial)


def _rows(connection: Any, inspector: Any, system: str, schema: str, name: str) -> tuple[int, str]:
    """How many, and who says so. Where there are no statistics they are counted, up to `LARGE`."""
    from sqlalchemy import text

    source, query = _STATISTICS["mysql" if system == "mariadb" else system]
    if system != "sqlite" or inspector.has_table("sqlite_stat1"):
        found = connection.execute(text(query), {"name": name, "schema": schema or None}).scalar()
        # SQLite's is a text that begins with it; PostgreSQL has -1 for a table never analyzed.
        first = -1 if found is None else float(str(found).split(" ")[0])
        if first >= 0:
            return int(first), source
    quote = connection.dialect.identifier_preparer.quote_identifier
    whole = f"{quote(schema)}.{quote(name)}" if schema else quote(name)
    part = f"SELECT 1 FROM {whole} LIMIT {LARGE + 1}"  # noqa: S608 - quoted by the dialect
    count = connection.exec_driver_sql(f"SELECT count(*) FROM ({part}) AS part")  # noqa: S608
    return int(count.scalar()), _COUNTED
