"""What is recorded of a query, with the real SQLAlchemy on SQLite."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from inline_snapshot import snapshot
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import delete, event, insert, literal, select, text, update
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from otel_toolbar import semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from otel_toolbar.signals.core import callsite, light, masking
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.queries import (
    database,
    errors,
    instrumentor,
    judge,
    loading,
    parameters,
    place,
    pool,
    query,
    results,
    rows,
    transactions,
)
from tests.telemetry import Telemetry

from .conftest import Request, queries_of, spans_of, summary_of
from .models import Customer, Item, Order

ROOT = Path(__file__).parents[2]


def test_the_whole_telemetry_of_a_request(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(engine) as session:
        customer = session.scalars(select(Customer).where(Customer.id == 1)).one()
        customer.password = "secret"
        session.commit()
        session.execute(text("DELETE FROM items WHERE order_id = :order"), {"order": 6})
    assert told.snapshot() == snapshot(
        [
            {
                "name": "GET /",
                "kind": "SERVER",
                "parent": None,
                "attributes": {
                    "toolbar.jobs.count": 0,
                    "toolbar.jobs.n_plus_one.count": 0,
                    "toolbar.n_plus_one.count": 0,
                    "toolbar.queries.count": 3,
                    "toolbar.queries.duration": "...",
                },
            },
            {
                "name": "SELECT customers",
                "kind": "CLIENT",
                "parent": "GET /",
                "attributes": {
                    "code.file.path": "/tests/queries/test_queries.py",
                    "code.function.name": "tests.queries.test_queries.test_the_whole_telemetry_of_a_request",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "db.collection.name": "customers",
                    "db.operation.name": "SELECT",
                    "db.query.parameter.id_1": "1",
                    "db.query.summary": "SELECT customers",
                    "db.query.text": """\
SELECT customers.id, customers.name, customers.password \n\
FROM customers \n\
WHERE customers.id = ?\
""",
                    "db.response.returned_rows": 1,
                    "db.system.name": "sqlite",
                    "toolbar.query.columns": 3,
                    "toolbar.query.entity": "Customer",
                    "toolbar.query.fingerprint": "81d7aa9616c7360b",
                    "toolbar.query.row_size": 25,
                },
            },
            {
                "name": "UPDATE customers",
                "kind": "CLIENT",
                "parent": "GET /",
                "attributes": {
                    "code.file.path": "/tests/queries/test_queries.py",
                    "code.function.name": "tests.queries.test_queries.test_the_whole_telemetry_of_a_request",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "db.collection.name": "customers",
                    "db.operation.name": "UPDATE",
                    "db.query.parameter.customers_id": "1",
                    "db.query.parameter.password": "***",
                    "db.query.summary": "UPDATE customers",
                    "db.query.text": "UPDATE customers SET password=? WHERE customers.id = ?",
                    "db.system.name": "sqlite",
                    "toolbar.query.affected_rows": 1,
                    "toolbar.query.fingerprint": "4f3b7a49506a8549",
                },
            },
            {
                "name": "COMMIT",
                "kind": "CLIENT",
                "parent": "GET /",
                "attributes": {
                    "code.file.path": "/tests/queries/test_queries.py",
                    "code.function.name": "tests.queries.test_queries.test_the_whole_telemetry_of_a_request",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "db.operation.name": "COMMIT",
                    "db.system.name": "sqlite",
                    "transaction.duration": "...",
                    "transaction.statements": 2,
                },
            },
            {
                "name": "DELETE items",
                "kind": "CLIENT",
                "parent": "GET /",
                "attributes": {
                    "code.file.path": "/tests/queries/test_queries.py",
                    "code.function.name": "tests.queries.test_queries.test_the_whole_telemetry_of_a_request",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "db.collection.name": "items",
                    "db.operation.name": "DELETE",
                    "db.query.parameter.order": "6",
                    "db.query.summary": "DELETE items",
                    "db.query.text": "DELETE FROM items WHERE order_id = ?",
                    "db.system.name": "sqlite",
                    "toolbar.query.affected_rows": 2,
                    "toolbar.query.fingerprint": "6b86542d7e9d6d11",
                },
            },
            {
                "name": "ROLLBACK",
                "kind": "CLIENT",
                "parent": "GET /",
                "attributes": {
                    "code.file.path": "/tests/queries/test_queries.py",
                    "code.function.name": "tests.queries.test_queries.test_the_whole_telemetry_of_a_request",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "db.operation.name": "ROLLBACK",
                    "db.system.name": "sqlite",
                    "transaction.duration": "...",
                    "transaction.statements": 1,
                },
            },
        ]
    )


async def test_the_whole_telemetry_of_an_async_request(
    async_engine: AsyncEngine, told: Telemetry, request_: Request
) -> None:
    with request_():
        async with async_engine.connect() as connection:
            await connection.execute(select(Item.name).where(Item.order_id.in_([1, 2])))
    (found,) = queries_of(told)
    found[semconv.DB_NAMESPACE] = "shop.sqlite"
    for key in (semconv.CODE_FILE_PATH, semconv.CODE_LINE_NUMBER, semconv.CODE_STACKTRACE):
        found.pop(key)
    assert found == snapshot(
        {
            "db.system.name": "sqlite",
            "db.namespace": "shop.sqlite",
            "db.query.text": """\
SELECT items.name \n\
FROM items \n\
WHERE items.order_id IN (?, ?)\
""",
            "db.query.summary": "SELECT items",
            "toolbar.query.fingerprint": "5df96aa6e66572b7",
            "db.operation.name": "SELECT",
            "db.collection.name": "items",
            "db.query.parameter.order_id_1_1": "1",
            "db.query.parameter.order_id_1_2": "2",
            "toolbar.query.entity": "Item",
            "code.function.name": "tests.queries.test_queries.test_the_whole_telemetry_of_an_async_request",
            "toolbar.query.columns": 1,
        }
    )


# Rows.


def test_rows_are_counted_as_they_are_read(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    every = select(Item.id)
    with request_(), engine.connect() as connection:
        connection.execute(every).all()
        connection.execute(every).first()
        connection.execute(every).fetchmany(5)
        result = connection.execute(every)
        next(result)
        next(result)
        result.close()
        connection.execute(every.where(Item.id < 0)).all()
        connection.execute(every)
        for _ in connection.execution_options(yield_per=5).execute(every):
            pass
    rows = [each.get(semconv.DB_RESPONSE_RETURNED_ROWS) for each in queries_of(told)]
    assert rows == [12, 1, 5, 2, 0, None, 12]


async def test_rows_of_a_stream(
    async_engine: AsyncEngine, told: Telemetry, request_: Request
) -> None:
    with request_():
        async with async_engine.connect() as connection:
            seen = 0
            async for _ in await connection.stream(select(Item.id)):
                seen += 1
                if seen == 7:
                    break
            assert len((await connection.execute(select(Item.id))).all()) == 12
    streamed, whole = (each[semconv.DB_RESPONSE_RETURNED_ROWS] for each in queries_of(told))
    assert 7 <= streamed <= 12
    assert whole == 12


def test_rows_that_were_changed(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), engine.begin() as connection:
        connection.execute(update(Item).values(name="x"))
        connection.execute(delete(Item).where(Item.order_id == 1))
        connection.execute(insert(Item).values(order_id=1, name="x").returning(Item.id)).all()
        connection.exec_driver_sql("PRAGMA foreign_keys")
    rows = [each.get(semconv.QUERY_AFFECTED_ROWS) for each in queries_of(told)]
    assert rows == [12, 2, None, None]


# Parameters.


def parameters_of(found: dict[str, Any]) -> dict[str, str]:
    prefix = semconv.DB_QUERY_PARAMETER
    return {key[len(prefix) :]: value for key, value in found.items() if key.startswith(prefix)}


def test_parameters(engine: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    wanted = [*range(40)]
    with request_(), engine.connect() as connection:
        connection.execute(select(Item.id).where(Item.id.in_([7, 8]), Item.name == "x" * 2000))
        connection.exec_driver_sql("SELECT ? + ?", (1, 2))
        connection.exec_driver_sql(
            "SELECT name FROM customers WHERE password = ? AND name = ?", ("a", "b")
        )
        connection.execute(select(Item.id).where(Item.id.in_(wanted)))
        connection.execute(select(literal("Bearer abcdefghijklmnopqrstuvwxyz")))
        connection.execute(select(1))
    found = [parameters_of(each) for each in queries_of(told)]
    assert found[0] == {"id_1_1": "7", "id_1_2": "8", "name_1": "x" * 1023 + "…"}
    assert found[1] == {"0": "1", "1": "2"}
    assert found[2] == {"0": "***", "1": "b"}
    assert len(found[3]) == 32
    assert queries_of(told)[3][semconv.QUERY_PARAMETERS_MORE] == 8
    assert list(found[4].values()) == ["Bearer ***"]
    assert found[5] == {}


def test_batches_have_a_size_and_no_parameters(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    rows = [{"order_id": 1, "name": "x"}] * 3
    with request_(), engine.begin() as connection:
        connection.execute(insert(Item), rows)
        connection.execute(insert(Item).returning(Item.id), rows).all()
        connection.execute(
            update(Item).where(Item.id == sqlalchemy.bindparam("b")), [{"b": 1, "name": "y"}] * 2
        )
    found = queries_of(told)
    assert [each[semconv.DB_OPERATION_BATCH_SIZE] for each in found] == [3, 3, 2]
    assert not any(map(parameters_of, found))


class Compiled:
    positiontup = None
    bind_names = ("a", "b")


class Context:
    """What `batch_size` asks of an execution context of a driver with named parameters."""

    compiled = Compiled()
    compiled_parameters = (1, 2, 3)


def test_the_size_of_a_batch_with_named_parameters() -> None:
    assert parameters.batch_size({"a__0": 1, "b__0": 1, "a__1": 1, "b__1": 1}, Context) == 2


def test_what_is_the_same_query() -> None:
    same = parameters.identity
    assert same("a", (1, "x"), None) == same("a", (1, "x"), None)
    assert same("a", (1,), None) != same("a", (2,), None)
    assert same("a", (1,), None) != same("b", (1,), None)


@pytest.mark.parametrize(
    ("given", "values", "plain"),
    [
        ((1, "x"), (1, "x"), True),
        ([1], (1,), True),
        ({"n": 1}, (1,), True),
        ((), (), True),
        (([1],), ([1],), False),
        ((dt.datetime(2026, 1, 1),), (dt.datetime(2026, 1, 1),), False),
    ],
)
def test_what_can_be_told_later(given: Any, values: tuple[Any, ...], plain: bool) -> None:
    assert parameters.bound(given, Context, False)[1:] == (values, plain)


def test_lazy_loads_of_objects_without_a_key() -> None:
    class State:
        key = None

    one, other = State(), State()
    assert parameters.identity("a", (), one) == parameters.identity("a", (), one)
    assert parameters.identity("a", (), one) != parameters.identity("a", (), other)


def test_the_mask_setting(engine: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    options = Settings(mask=("^shoe_",))
    masking.configure(options)
    queries.install(options)
    with request_(), engine.connect() as connection:
        connection.exec_driver_sql("SELECT name AS shoe_size FROM items WHERE shoe_size = 44")
    masking.configure(Settings())
    assert queries_of(told)[0][semconv.DB_QUERY_TEXT].endswith("shoe_size = ***")


# Errors.


def test_an_error(engine: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), engine.connect() as connection:
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            connection.execute(insert(Customer), {"id": 1, "name": "x", "password": "hunter2"})
        with pytest.raises(sqlalchemy.exc.OperationalError):
            connection.exec_driver_sql("SELECT nothing FROM nowhere WHERE password = 'hunter2'")
    spans = spans_of(told)
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR] * 2
    assert [span.attributes[semconv.ERROR_TYPE] for span in spans] == [
        "sqlite3.IntegrityError",
        "sqlite3.OperationalError",
    ]
    assert [event.name for span in spans for event in span.events] == ["exception"] * 2
    assert "hunter2" not in str([(span.attributes, span.events) for span in spans])
    if sys.version_info >= (3, 11):
        assert (
            spans[0].attributes[semconv.DB_RESPONSE_STATUS_CODE] == "SQLITE_CONSTRAINT_PRIMARYKEY"
        )
    assert summary_of(told)[semconv.QUERIES_COUNT] == 2


@pytest.mark.parametrize(
    ("attributes", "arguments", "code"),
    [
        ({"sqlstate": "23505"}, (), "23505"),
        ({"sqlstate": None, "pgcode": "23505"}, (), "23505"),
        ({}, (1062, "Duplicate"), "1062"),
        ({}, ("text",), ""),
        ({}, (), ""),
    ],
)
def test_codes_of_errors(attributes: dict[str, Any], arguments: tuple[Any, ...], code: str) -> None:
    error = Exception(*arguments)
    for name, value in attributes.items():
        setattr(error, name, value)
    assert errors.code(error) == code


async def test_a_cancelled_query_ends(
    async_engine: AsyncEngine, told: Telemetry, request_: Request
) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 3000000) SELECT count(*) FROM n"

    async def run() -> None:
        async with async_engine.connect() as connection:
            await connection.execute(text(endless))

    with request_():
        task = asyncio.create_task(run())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    spans = [span for span in told.exported() if span.kind is SpanKind.CLIENT]
    assert [span.attributes[semconv.ERROR_TYPE] for span in spans] == [
        "asyncio.exceptions.CancelledError"
    ]
    assert spans[0].end_time is not None


def test_another_listener_s_error_leaks_no_span(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("refused")

    event.listen(engine, "before_cursor_execute", refuse)
    with request_() as record, engine.connect() as connection:
        with pytest.raises(RuntimeError, match="refused"):
            connection.execute(select(1))
        assert record.spans == [], "it has not come to the database"


# Where it stands aside.


def test_suppressed(engine: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), engine.connect() as connection, suppress_instrumentation():
        connection.execute(select(1)).all()
    assert queries_of(told) == []


def test_uninstalled_is_as_before(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    from sqlalchemy.engine import cursor

    watched = cursor.CursorFetchStrategy.fetchall
    queries.install(Settings())
    assert cursor.CursorFetchStrategy.fetchall is watched
    queries.uninstall()
    queries.uninstall()
    assert cursor.CursorFetchStrategy.fetchall is not watched
    with request_(), engine.connect() as connection:
        connection.execute(select(1)).all()
    assert queries_of(told) == []


def test_outside_of_requests_the_sdk_s_spans(engine: sqlalchemy.Engine, told: Telemetry) -> None:
    with engine.connect() as connection:
        connection.execute(select(Item.id)).all()
    (found,) = queries_of(told)
    assert found[semconv.DB_COLLECTION_NAME] == "items"


def test_stacks_can_be_left_out(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    queries.install(Settings(stacks=False))
    with request_(), engine.connect() as connection:
        connection.execute(select(1))
    (found,) = queries_of(told)
    assert semconv.CODE_STACKTRACE not in found
    assert found[semconv.CODE_FILE_PATH] == __file__


def test_without_a_place(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callsite, "stack", lambda: None)
    with request_(), engine.connect() as connection:
        connection.execute(select(1))
    assert semconv.CODE_FILE_PATH not in queries_of(told)[0]


def test_every_engine_before_and_after(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    later = sqlalchemy.create_engine("sqlite://")
    with request_():
        for each in (engine, later, later.execution_options(isolation_level="SERIALIZABLE")):
            with each.connect() as connection:
                connection.execute(select(1))
    later.dispose()
    assert [each.get(semconv.DB_NAMESPACE) for each in queries_of(told)] == [None] * 3


def test_other_listeners_and_results_are_left(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    seen: list[str] = []

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def comment(
        conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> Any:
        seen.append(statement)
        return statement + " -- seen", parameters

    with request_(), Session(engine) as session:
        orders = session.scalars(select(Order).limit(2)).all()
        rows = session.execute(select(Item.id, Item.name).limit(2)).all()
        assert [order.id for order in pickle.loads(pickle.dumps(orders))] == [1, 2]
        assert pickle.loads(pickle.dumps(rows)) == rows == [(1, "item 1"), (2, "item 2")]
    assert len(seen) == len(queries_of(told)) == 2


def test_a_comment_that_differs_each_time_makes_no_other_statement(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    sent: list[str] = []

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def comment(
        conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> Any:
        sent.append(f"{statement} /* request {len(sent)} */")
        return sent[-1], parameters

    with request_(), engine.connect() as connection:
        for _ in range(2):
            connection.execute(select(Item.id).where(Item.id == 1)).all()
    assert len(set(sent)) == 2
    first, second = queries_of(told)
    assert first[semconv.DB_QUERY_TEXT] == second[semconv.DB_QUERY_TEXT]
    assert second[semconv.QUERY_DUPLICATE] is True


def test_a_default_that_is_executed_alone(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), engine.connect() as connection:
        assert connection.scalar(sqlalchemy.ColumnDefault(sqlalchemy.func.abs(-3))) == 3
    (query,) = queries_of(told)
    assert "abs(" in str(query[semconv.DB_QUERY_TEXT])


def test_a_dialect_made_later_that_calls_its_parent_s_method(
    told: Telemetry, request_: Request
) -> None:
    class Own(SQLiteDialect_pysqlite):
        supports_statement_cache = True

        def do_execute(
            self, cursor: Any, statement: Any, parameters: Any, context: Any = None
        ) -> None:
            super().do_execute(cursor, statement, parameters, context)

    registry.impls["toolbar_own"] = lambda: Own
    later = sqlalchemy.create_engine("toolbar_own://")
    with request_(), later.connect() as connection:
        connection.execute(select(1)).all()
        connection.exec_driver_sql("SELECT 2", execution_options={"no_parameters": True}).all()
        later.dialect.do_execute(connection.connection.cursor(), "SELECT 3", ())
        with pytest.raises(sqlalchemy.exc.OperationalError):
            connection.exec_driver_sql("SELECT nothing", execution_options={"no_parameters": True})
    later.dispose()
    assert [
        (each[semconv.DB_QUERY_TEXT], each.get(semconv.ERROR_TYPE)) for each in queries_of(told)
    ] == [("SELECT 1", None), ("SELECT 2", None), ("SELECT nothing", "sqlite3.OperationalError")]


def test_many_statements_are_not_all_kept(
    monkeypatch: pytest.MonkeyPatch, engine: sqlalchemy.Engine
) -> None:
    monkeypatch.setattr(database, "_MAX_STATEMENTS", 2)
    of_engine = database.Database(engine)
    for number in range(5):
        of_engine.statement(f"SELECT {number}")
    of_engine.statement("SELECT " + "x" * 10**5)
    assert len(of_engine._known) <= 2


def test_names_of_databases() -> None:
    class Dialect:
        name = "mysql"
        is_mariadb = True

    class Engine:
        dialect = Dialect()
        url = sqlalchemy.make_url("mysql+pymysql://me:secret@db:3307/shop")

    assert database._attributes(Engine()) == {
        "db.system.name": "mariadb",
        "db.namespace": "shop",
        "server.address": "db",
        "server.port": 3307,
    }


def test_sqlalchemy_is_not_imported_for_nothing() -> None:
    code = (
        "import sys; from otel_toolbar.settings import Settings; from otel_toolbar.signals import queries\n"
        "queries.install(Settings()); assert 'sqlalchemy' not in sys.modules\n"
        "import sqlalchemy\n"
        "assert 'otel_toolbar.signals.queries.query' in sys.modules  # not with the first query\n"
        "from sqlalchemy.engine.default import DefaultDialect\n"
        "assert hasattr(DefaultDialect.do_execute, '__wrapped__')\n"
        "assert not sqlalchemy.Engine._has_events\n"
        "queries.uninstall(); assert not hasattr(DefaultDialect.do_execute, '__wrapped__')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_hook_after_uninstall_does_nothing() -> None:
    queries.uninstall()
    instrumentor._hook(None)
    assert not instrumentor._seen


# Faults of ours.


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("ours")


HOOKS = [
    (query.Query, "__init__"), (query.Query, "end"), (query.Query, "fetched"), (query.Query, "fail"),
    (place, "put"), (callsite, "stack"), (database, "of"), (loading, "describe"), (parameters, "described"),
    (parameters, "identity"), (judge.Queries, "of"), (transactions, "takes_part"), (transactions, "is_ending"),
    (transactions, "_is_open"), (pool, "_name"), (database, "of_pool"), (light, "start"), (light, "late"), (masking, "value"),
    (records, "current"), (judge.Detector, "judge"), (light.LightSpan, "end"), (results, "first_fetched"),
]  # fmt: skip


@pytest.mark.replaces
@pytest.mark.parametrize(("owner", "name"), HOOKS, ids=[f"{o.__name__}.{n}" for o, n in HOOKS])
def test_a_fault_of_ours_never_hurts_the_app(
    engine: sqlalchemy.Engine,
    told: Telemetry,
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: Any,
    name: str,
) -> None:
    with (
        request_(),
        caplog.at_level(logging.WARNING, "otel_toolbar"),
        monkeypatch.context() as patched,
        Session(engine) as session,
    ):
        patched.setattr(owner, name, broken)
        for number in (1, 2):
            assert session.get_one(Order, number).id == number
        assert session.execute(select(Item.id).limit(3)).fetchone() == (1,)
        assert len(session.execute(select(Item.id)).all()) == 12
        with pytest.raises(sqlalchemy.exc.OperationalError):
            session.execute(text("SELECT nothing"))
    assert len({record.message for record in caplog.records}) == len(caplog.records) <= 3


def test_a_fault_in_the_hook_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queries.uninstall()
    monkeypatch.setattr(rows, "hook", broken)
    queries.install(Settings())
    assert "this version of SQLAlchemy is not one that the toolbar knows" in caplog.text


async def test_concurrent_requests_do_not_mix(
    async_engine: AsyncEngine, told: Telemetry, request_: Request
) -> None:
    async def handle(number: int) -> records.Record:
        with request_() as record:
            async with AsyncSession(async_engine) as session:
                for _ in range(number):
                    await session.execute(select(literal(number)))
                    await asyncio.sleep(0)
            return record

    await asyncio.gather(*(asyncio.create_task(handle(number)) for number in range(1, 20)))
    servers = [span for span in told.exported() if span.kind is SpanKind.SERVER]
    clients = spans_of(told)
    for server in servers:
        count = server.attributes[semconv.QUERIES_COUNT]
        mine = [span for span in clients if span.context.trace_id == server.context.trace_id]
        assert len(mine) == count
        assert {next(iter(parameters_of(dict(span.attributes)).values())) for span in mine} == {
            str(count)
        }
