"""Drivers without SQLAlchemy, by OpenTelemetry's own instrumentations; and never two spans for one query."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.pymysql import PyMySQLInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from sqlalchemy.ext.asyncio import create_async_engine

from otel_toolbar import semconv
from otel_toolbar.insights.n_plus_one import find
from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from tests import databases
from tests.databases import Database
from tests.telemetry import Telemetry

from .conftest import Request, queries_of, spans_of, summary_of
from .test_n_plus_one_cases import MS, recorded

OURS = "otel_toolbar.signals.queries"
CREATE = "CREATE TABLE things (id INTEGER PRIMARY KEY, name VARCHAR(20), password VARCHAR(20))"
INSERT = "INSERT INTO things (id, name, password) VALUES (1, 'a', 'hunter2')"


@pytest.fixture(autouse=True)
def instrumented(monkeypatch: pytest.MonkeyPatch, told: Telemetry) -> Iterator[None]:
    """As `opentelemetry-instrument` does with those that are installed."""
    from opentelemetry.instrumentation import _semconv

    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    monkeypatch.setattr(_semconv._OpenTelemetrySemanticConventionStability, "_initialized", False)
    all_of_them = (
        AsyncPGInstrumentor(),
        PsycopgInstrumentor(),
        PyMySQLInstrumentor(),
        SQLite3Instrumentor(),
    )
    for each in all_of_them:
        each.instrument()
    yield
    for each in all_of_them:
        each.uninstrument()


def scopes(told: Telemetry) -> list[str]:
    return [span.instrumentation_scope.name for span in spans_of(told)]  # type: ignore[union-attr]


def query(told: Telemetry) -> ReadableSpan:
    """The one that read `things`."""
    (span,) = [s for s in spans_of(told) if "FROM things" in s.attributes[semconv.DB_QUERY_TEXT]]
    return span


def is_whole(told: Telemetry, system: str, function: str) -> None:
    """The span of a driver's query has what ours have, and stands in its request."""
    span = query(told)
    attributes = dict(span.attributes or {})
    server = next(s for s in told.exported() if s.name == "GET /")
    assert span.parent is not None
    assert span.parent.span_id == server.context.span_id
    assert attributes[semconv.DB_SYSTEM_NAME] == system
    assert attributes[semconv.DB_OPERATION_NAME] == "SELECT"
    assert attributes[semconv.DB_COLLECTION_NAME] == "things"
    assert len(attributes[semconv.QUERY_FINGERPRINT]) == 16
    assert attributes[semconv.CODE_FILE_PATH] == __file__
    assert attributes[semconv.CODE_FUNCTION_NAME].endswith(function)
    assert function in attributes[semconv.CODE_STACKTRACE]
    assert "hunter2" not in str([dict(s.attributes or {}) for s in told.exported()])
    assert summary_of(told)[semconv.QUERIES_COUNT] == len(spans_of(told))


SELECT = "SELECT name FROM things WHERE password = 'hunter2'"


def test_sqlite3(sqlite: Database, told: Telemetry, request_: Request) -> None:
    with request_():
        connection = sqlite3.connect(sqlite.name)
        connection.execute(CREATE)
        connection.execute(INSERT)
        assert connection.cursor().execute(SELECT).fetchall() == [("a",)]
        connection.close()
    assert len(spans_of(told)) == 3
    is_whole(told, "sqlite", "test_sqlite3")


def test_what_sqlite3_s_connection_does_itself(
    sqlite: Database, told: Telemetry, request_: Request
) -> None:
    with request_():
        connection = sqlite3.connect(sqlite.name)
        connection.executescript(CREATE)
        connection.executemany(
            "INSERT INTO things (id, name, password) VALUES (?, ?, ?)", [(1, "a", "hunter2")]
        )
        cursor = connection.execute(SELECT)
        assert isinstance(cursor, sqlite3.Cursor)
        assert cursor.fetchall() == [("a",)]
        connection.close()
    assert len(spans_of(told)) == 2  # a script is nobody's query
    is_whole(told, "sqlite", "test_what_sqlite3_s_connection_does_itself")


async def test_aiosqlite(sqlite: Database, told: Telemetry, request_: Request) -> None:
    with request_():
        async with aiosqlite.connect(sqlite.name) as connection:
            await connection.execute(CREATE)
            await connection.execute(INSERT)
            async with connection.execute(SELECT) as cursor:
                assert await cursor.fetchall() == [("a",)]
            assert await connection.execute_fetchall("SELECT 1") == [(1,)]
    assert len(spans_of(told)) == 4
    is_whole(told, "sqlite", "test_aiosqlite")


async def test_aiosqlite_in_two_requests_at_once(
    sqlite: Database, told: Telemetry, request_: Request
) -> None:
    """One connection, and so one thread, for both: each query stands in the request that asked."""
    import asyncio

    async def handle(number: int) -> None:
        with request_():
            for _ in range(number):
                await connection.execute(f"SELECT {number}")

    async with aiosqlite.connect(sqlite.name) as connection:
        told.clear()
        await asyncio.gather(*(asyncio.create_task(handle(number)) for number in (2, 3, 5)))
    for server in (s for s in told.exported() if s.name == "GET /"):
        count = server.attributes[semconv.QUERIES_COUNT]
        mine = [s for s in spans_of(told) if s.context.trace_id == server.context.trace_id]
        assert [s.attributes[semconv.DB_QUERY_TEXT] for s in mine] == [f"SELECT {count}"] * count


def test_psycopg(postgresql: Database, told: Telemetry, request_: Request) -> None:
    with request_(), psycopg.connect(dsn(postgresql)) as connection:
        connection.execute(CREATE)
        connection.execute(INSERT)
        assert connection.execute(SELECT).fetchall() == [("a",)]
    is_whole(told, "postgresql", "test_psycopg")


async def test_psycopg_with_asyncio(
    postgresql: Database, told: Telemetry, request_: Request
) -> None:
    with request_():
        async with await psycopg.AsyncConnection.connect(dsn(postgresql)) as connection:
            await connection.execute(CREATE)
            await connection.execute(INSERT)
            cursor = await connection.execute(SELECT)
            assert await cursor.fetchall() == [("a",)]
    is_whole(told, "postgresql", "test_psycopg_with_asyncio")


async def test_asyncpg(postgresql: Database, told: Telemetry, request_: Request) -> None:
    with request_():
        connection = await asyncpg.connect(dsn(postgresql))
        await connection.execute(CREATE)
        await connection.execute(INSERT)
        assert [tuple(row) for row in await connection.fetch(SELECT)] == [("a",)]
        await connection.close()
    is_whole(told, "postgresql", "test_asyncpg")


def test_pymysql(mariadb: Database, told: Telemetry, request_: Request) -> None:
    with request_():
        connection = pymysql.connect(
            host=mariadb.host, port=mariadb.port, user="toolbar", database=mariadb.name
        )
        with connection.cursor() as cursor:
            cursor.execute(CREATE)
            cursor.execute(INSERT)
            cursor.execute(SELECT)
            assert cursor.fetchall() == (("a",),)
        connection.close()
    is_whole(told, "mysql", "test_pymysql")


def dsn(database: Database) -> str:
    return f"postgresql://toolbar@{database.host}:{database.port}/{database.name}"


async def test_rows_iterated_over_are_one_query(
    postgresql: Database, told: Telemetry, request_: Request
) -> None:
    connection = await asyncpg.connect(dsn(postgresql))
    with request_():
        async with connection.transaction():
            rows = [row[0] async for row in connection.cursor("SELECT generate_series(1, 200)")]
    await connection.close()
    assert len(rows) == 200
    assert len(spans_of(told)) == 1
    assert summary_of(told)[semconv.QUERIES_COUNT] == 1


async def test_fetches_of_a_cursor_are_no_n_plus_one(
    postgresql: Database, told: Telemetry, request_: Request
) -> None:
    connection = await asyncpg.connect(dsn(postgresql))
    with request_():
        async with connection.transaction():
            cursor = await connection.cursor("SELECT generate_series(1, 200)")
            while await cursor.fetch(10):
                pass
    await connection.close()
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 0
    assert find(recorded(told), 5, 10_000 * MS).n_plus_one == ()


async def test_an_n_plus_one(postgresql: Database, told: Telemetry, request_: Request) -> None:
    connection = await asyncpg.connect(dsn(postgresql))
    with request_():
        for number in range(6):
            await connection.fetch("SELECT relname FROM pg_class WHERE oid = $1", number)
    await connection.close()
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 1
    positions = [each.get(semconv.N_PLUS_ONE_POSITION) for each in queries_of(told)]
    assert positions == [None, 2, 3, 4, 5, 6]
    (found,) = find(recorded(told), 5, 10_000 * MS).n_plus_one
    assert found.fix.code == "... WHERE oid IN (...)"
    assert found.group == queries_of(told)[1][semconv.N_PLUS_ONE_GROUP]


async def test_errors_have_the_database_s_code(
    postgresql: Database, sqlite: Database, told: Telemetry, request_: Request
) -> None:
    connection = await asyncpg.connect(dsn(postgresql))
    with request_():
        with pytest.raises(asyncpg.PostgresError):
            await connection.fetch("SELECT name FROM missing")
        lite = sqlite3.connect(sqlite.name)
        with pytest.raises(sqlite3.OperationalError):
            lite.execute("SELECT name FROM missing")
        lite.close()
    await connection.close()
    first, second = queries_of(told)
    assert first[semconv.DB_RESPONSE_STATUS_CODE] == "42P01"
    assert first[semconv.ERROR_TYPE] == "asyncpg.exceptions.UndefinedTableError"
    assert second[semconv.ERROR_TYPE] == "sqlite3.OperationalError"
    assert second.get(semconv.DB_RESPONSE_STATUS_CODE, "SQLITE_ERROR") == "SQLITE_ERROR"


# With SQLAlchemy on top: ours only.


def test_sqlalchemy_has_one_span_a_query(
    database: Database, told: Telemetry, request_: Request
) -> None:
    for driver in databases.SYNC[database.system]:
        engine = sa.create_engine(database.url(driver), pool_pre_ping=True)
        for _ in range(2):
            with request_(), engine.begin() as connection:
                connection.execute(sa.text("SELECT 1")).all()
                with connection.begin_nested():
                    connection.execute(sa.text("SELECT 2")).all()
                result = connection.execution_options(stream_results=True).execute(
                    sa.text("SELECT 3")
                )
                assert result.all() == [(3,)]
        engine.dispose()
    assert scopes(told) == [OURS] * 6 * len(databases.SYNC[database.system])
    assert {s.instrumentation_scope.name for s in told.exported()} == {OURS, "test"}  # type: ignore[union-attr]


async def test_async_sqlalchemy_has_one_span_a_query(
    database: Database, told: Telemetry, request_: Request
) -> None:
    for driver in databases.ASYNC[database.system]:
        engine = create_async_engine(database.async_url(driver), pool_pre_ping=True)
        for _ in range(2):
            with request_():
                async with engine.begin() as connection:
                    await connection.execute(sa.text("SELECT 1"))
                    async with connection.begin_nested():
                        await connection.execute(sa.text("SELECT 2"))
                    result = await connection.stream(sa.text("SELECT 3"))
                    assert [row[0] async for row in result] == [3]
        await engine.dispose()
    assert scopes(told) == [OURS] * 6 * len(databases.ASYNC[database.system])
    assert {s.instrumentation_scope.name for s in told.exported()} == {OURS, "test"}  # type: ignore[union-attr]


def test_what_an_app_asks_the_driver_itself_is_seen(
    sqlite: Database, told: Telemetry, request_: Request
) -> None:
    """In SQLAlchemy's event, but not by SQLAlchemy."""
    engine = sa.create_engine(sqlite.url())

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.cursor().execute("PRAGMA foreign_keys=ON")

    with request_(), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1")).all()
    engine.dispose()
    assert [each[semconv.DB_QUERY_TEXT] for each in queries_of(told)] == [
        "PRAGMA foreign_keys=ON",
        "SELECT 1",
    ]


def test_without_our_queries_theirs_are_all(sqlite: Database, told: Telemetry) -> None:
    queries.uninstall()
    engine = sa.create_engine(sqlite.url())
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1")).all()
    engine.dispose()
    assert "opentelemetry.instrumentation.sqlite3" in scopes(told)
    assert OURS not in scopes(told)
    queries.install(Settings())


def test_suppressed_queries_stay_unseen(
    sqlite: Database, told: Telemetry, request_: Request
) -> None:
    with (
        request_(),
        suppress_instrumentation(),
        closing(sqlite3.connect(sqlite.name)) as connection,
    ):
        connection.execute("SELECT 1")
    assert spans_of(told) == []


def test_a_fault_of_ours_costs_no_query(
    sqlite: Database, told: Telemetry, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_toolbar.signals.queries import raw

    def broken(*_: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(raw.database, "read", broken)
    with request_(), closing(sqlite3.connect(sqlite.name)) as connection:
        assert connection.execute("SELECT 1 WHERE 'a' = 'a'").fetchall()
    (span,) = spans_of(told)
    assert semconv.QUERY_FINGERPRINT not in (span.attributes or {})
