"""Transactions, connects, waits, streams, batches and errors on each real database and driver."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.n_plus_one import find
from tests import databases
from tests import sdk_spans as sdk
from tests.databases import Database
from tests.telemetry import Telemetry

from .conftest import Request, queries_of, spans_of, summary_of
from .models import Base, Customer, Item, Order, fill
from .test_n_plus_one_cases import MS, recorded

DUPLICATE = {"sqlite": "SQLITE_CONSTRAINT_PRIMARYKEY", "postgresql": "23505", "mariadb": "1062"}
MISSING = {"sqlite": "SQLITE_ERROR", "postgresql": "42P01", "mariadb": "1146"}
WAIT = {"postgresql": "SELECT pg_sleep(30)", "mariadb": "SELECT sleep(30)"}
DRIVERS = [
    (system, driver)
    for system in ("sqlite", "postgresql", "mariadb")
    for driver in databases.ASYNC[system]
]


@pytest.fixture
def shop(database: Database, told: Telemetry) -> Iterator[sa.Engine]:
    """A shop on each of the databases in turn, whose pool has one connection that is not yet made."""
    made = sa.create_engine(database.url(), pool_size=1, max_overflow=0, pool_timeout=0.2)
    Base.metadata.create_all(made)
    with Session(made) as session:
        fill(session)
    made.dispose()
    told.clear()
    yield made
    made.dispose()


@pytest.fixture(params=DRIVERS, ids=[driver for _, driver in DRIVERS])
async def async_shop(
    request: pytest.FixtureRequest, told: Telemetry
) -> AsyncIterator[tuple[Database, AsyncEngine]]:
    system, driver = request.param
    database = request.getfixturevalue(system)
    engine = sa.create_engine(database.url())
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
    engine.dispose()
    made = create_async_engine(
        database.async_url(driver), pool_size=1, max_overflow=0, pool_timeout=0.2
    )
    told.clear()
    yield database, made
    await made.dispose()


def others(told: Telemetry) -> list[ReadableSpan]:
    """What is neither a query nor the request, in order."""
    queries = {span.context.span_id for span in spans_of(told)}
    spans = [
        span
        for span in told.exported()
        if span.context.span_id not in queries and span.kind is not SpanKind.SERVER
    ]
    return sorted(spans, key=lambda span: span.start_time or 0)


def names(told: Telemetry) -> list[str]:
    return [span.name for span in others(told)]


# Transactions.


def test_a_transaction_that_is_committed(
    shop: sa.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), shop.begin() as connection:
        connection.execute(insert(Item), {"order_id": 1, "name": "x"})
        connection.execute(insert(Item), {"order_id": 2, "name": "y"})
    assert names(told) == ["connect", "COMMIT"]
    commit = others(told)[1].attributes or {}
    first = spans_of(told)[0]
    assert commit[semconv.TRANSACTION_STATEMENTS] == 2
    length = commit[semconv.TRANSACTION_DURATION]
    assert isinstance(length, float)
    whole = ((others(told)[1].end_time or 0) - (first.start_time or 0)) / 1e9
    assert 0 < length <= whole
    assert commit[semconv.CODE_FILE_PATH] == __file__
    assert summary_of(told)[semconv.QUERIES_COUNT] == 2


def test_a_transaction_that_is_rolled_back(
    shop: sa.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), shop.connect() as connection:
        connection.execute(insert(Item), {"order_id": 1, "name": "x"})
        connection.rollback()
    assert names(told) == ["connect", "ROLLBACK"]


def test_one_that_never_reached_the_database_is_not_told(
    shop: sa.Engine, told: Telemetry, request_: Request
) -> None:
    with request_():
        with shop.begin():
            pass
        with Session(shop) as session:
            session.commit()
        shop = shop.execution_options(isolation_level="AUTOCOMMIT")
        with shop.connect() as connection:
            connection.execute(text("SELECT 1")).all()
            connection.commit()
    assert names(told) == ["connect"]


def test_reads_end_what_they_opened(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), Session(shop) as session:
        session.scalars(select(Item)).all()
    opened = shop.dialect.name != "sqlite"  # it opens none for a read
    assert names(told) == ["connect", *["ROLLBACK"] * opened]


def test_savepoints(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), Session(shop) as session:
        session.add(Item(order_id=1, name="before"))
        session.flush()
        with session.begin_nested():
            session.add(Item(order_id=1, name="x"))
        with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
            session.execute(insert(Customer), {"id": 1, "name": "x"})
        session.commit()
    assert names(told)[1:] == [
        "SAVEPOINT",
        "RELEASE SAVEPOINT",
        "SAVEPOINT",
        "ROLLBACK TO SAVEPOINT",
        "COMMIT",
    ]
    ends = [dict(span.attributes or {}) for span in others(told)[1:]]
    lengths = [semconv.TRANSACTION_DURATION in each for each in ends]
    assert lengths == [False, True, False, True, True]
    assert {each.get(semconv.TRANSACTION_SAVEPOINT) for each in ends[:2]} == {"sa_savepoint_1"}
    assert summary_of(told)[semconv.QUERIES_COUNT] == len(spans_of(told)) == 3
    assert not any(reading.is_query(sdk.to_model(span)) for span in others(told))
    assert all(reading.is_transaction(sdk.to_model(span)) for span in others(told)[1:])


def test_two_phases(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    if shop.dialect.name == "sqlite":
        return  # it has none
    with request_(), shop.connect() as connection:
        for end in ("commit", "rollback"):
            transaction = connection.begin_twophase()
            connection.execute(insert(Item), {"order_id": 1, "name": "x"})
            transaction.prepare()
            getattr(transaction, end)()
    told_names = [name for name in names(told) if name not in ("connect", "XA")]
    assert told_names == ["PREPARE TRANSACTION", "COMMIT PREPARED"] + [
        "PREPARE TRANSACTION",
        "ROLLBACK PREPARED",
    ]
    assert summary_of(told)[semconv.QUERIES_COUNT] == 2


def test_a_commit_that_fails(postgresql: Database, told: Telemetry, request_: Request) -> None:
    engine = sa.create_engine(postgresql.url())
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE late (id INTEGER UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        )
    told.clear()
    with request_(), pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(text("INSERT INTO late VALUES (1), (1)"))
    engine.dispose()
    commit = others(told)[0]
    assert commit.name == "COMMIT"
    assert commit.status.status_code is StatusCode.ERROR
    assert (commit.attributes or {})[semconv.DB_RESPONSE_STATUS_CODE] == "23505"


def test_outside_of_a_request_there_are_queries_only(shop: sa.Engine, told: Telemetry) -> None:
    with Session(shop) as session:
        session.add(Item(order_id=1, name="x"))
        session.commit()
    assert [span.name for span in told.exported()] == ["INSERT items"]


# Connections.


def test_a_connect(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    for _ in range(2):
        with request_(), shop.connect():
            pass
    (connect,) = others(told)
    attributes = dict(connect.attributes or {})
    assert connect.kind is SpanKind.CLIENT
    url = shop.url
    pool = f"{url.host}:{url.port}/{url.database}" if url.host else url.database
    assert attributes[semconv.POOL_NAME] == pool
    system = "mariadb" if shop.dialect.name == "mysql" else shop.dialect.name
    assert attributes[semconv.DB_SYSTEM_NAME] == system
    assert attributes[semconv.CODE_FILE_PATH] == __file__
    assert not reading.is_query(sdk.to_model(connect))


def test_a_connect_that_fails(told: Telemetry, request_: Request) -> None:
    (address,) = databases.free_addresses(1)
    engine = sa.create_engine(f"postgresql+psycopg://toolbar@{address}/none")
    with request_(), pytest.raises(sa.exc.OperationalError):
        engine.connect()
    (connect,) = others(told)
    assert connect.status.status_code is StatusCode.ERROR
    assert (connect.attributes or {})[semconv.ERROR_TYPE] == "psycopg.OperationalError"


def test_a_pool_s_own_name(told: Telemetry, request_: Request) -> None:
    engine = sa.create_engine("sqlite://", pool_logging_name="reports")
    with request_(), engine.connect():
        pass
    engine.dispose()
    assert (others(told)[0].attributes or {})[semconv.POOL_NAME] == "reports"


def test_a_wait_for_a_connection(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    held = shop.connect()
    with request_():
        giving_back = threading.Timer(0.05, held.close)
        giving_back.start()
        with shop.connect():
            pass
        giving_back.join()
    (wait,) = others(told)
    assert wait.name == "wait for a connection"
    waited = (wait.attributes or {})[semconv.POOL_WAIT_DURATION]
    assert isinstance(waited, float)
    assert waited > 0.01


def test_a_wait_in_vain(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), shop.connect(), pytest.raises(sa.exc.TimeoutError):
        shop.connect()
    wait = others(told)[1]
    assert wait.status.status_code is StatusCode.ERROR
    assert (wait.attributes or {})[semconv.ERROR_TYPE] == "sqlalchemy.exc.TimeoutError"


async def test_an_async_wait(
    async_shop: tuple[Database, AsyncEngine], told: Telemetry, request_: Request
) -> None:
    engine = async_shop[1]
    held = await engine.connect()
    with request_():
        waiting = asyncio.ensure_future(engine.connect())
        await asyncio.sleep(0.05)
        await held.close()
        await (await waiting).close()
        async with engine.connect():
            with pytest.raises(sa.exc.TimeoutError):
                await engine.connect()
    assert names(told) == ["wait for a connection"] * 2
    assert [span.status.status_code for span in others(told)] == [
        StatusCode.UNSET,
        StatusCode.ERROR,
    ]


# Rows.


def test_rows_of_a_stream_that_is_left_half_way(
    shop: sa.Engine, told: Telemetry, request_: Request
) -> None:
    statement = select(Item.id).execution_options(stream_results=True, yield_per=2)
    with request_(), shop.connect() as connection:
        result = connection.execute(statement)
        for number, _ in enumerate(result):
            if number == 4:
                break
        result.close()
    assert queries_of(told)[0][semconv.DB_RESPONSE_RETURNED_ROWS] in (5, 6)


async def test_rows_of_an_async_stream(
    async_shop: tuple[Database, AsyncEngine], told: Telemetry, request_: Request
) -> None:
    with request_():
        async with AsyncSession(async_shop[1]) as session:
            for _ in range(2):
                result = await session.stream(select(Item).execution_options(yield_per=2))
                seen = 0
                async for _item in result:
                    seen += 1
                    if seen == 6:
                        break
                await result.close()
            result = await session.stream(select(Item))
            assert len([item async for item in result.scalars()]) == 12
    rows = [each[semconv.DB_RESPONSE_RETURNED_ROWS] for each in queries_of(told)]
    assert rows[:2] == [6, 6]
    assert rows[2] == 12


def test_rows_outside_of_a_request(shop: sa.Engine, told: Telemetry) -> None:
    with shop.connect() as connection:
        assert len(connection.execute(select(Item.id)).all()) == 12
        assert len(connection.execute(select(Item.id)).fetchmany(5)) == 5
        assert connection.execute(select(Item.id)).first() is not None
        assert len(list(connection.execute(select(Item.id)))) == 12
    gc.collect()
    rows = [each[semconv.DB_RESPONSE_RETURNED_ROWS] for each in queries_of(told)]
    assert rows == [12, 5, 1, 12]


def test_a_span_is_as_long_as_its_query_whenever_its_rows_are_read(
    shop: sa.Engine, told: Telemetry
) -> None:
    import time

    with shop.connect() as connection:
        result = connection.execute(select(Item.id))
        executed = time.time_ns()
        time.sleep(0.02)
        result.all()
    (span,) = spans_of(told)
    assert (span.end_time or 0) <= executed


# Batches.


def test_batches(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    items = [{"order_id": 1, "name": str(number)} for number in range(1500)]
    with request_(), shop.connect() as connection:
        connection.execute(insert(Item), items[:20])
        connection.execute(insert(Item).returning(Item.id), items).all()
        connection.rollback()
    sizes = [each[semconv.DB_OPERATION_BATCH_SIZE] for each in queries_of(told)]
    assert sizes[0] == 20
    assert sum(sizes[1:]) == 1500
    assert len(sizes) > 2
    assert not any(semconv.DB_QUERY_PARAMETER + "name" in each for each in queries_of(told))


# Errors.


def test_codes(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    system = "mariadb" if shop.dialect.name == "mysql" else shop.dialect.name
    with request_(), shop.connect() as connection:
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(insert(Customer), {"id": 1, "name": "x"})
        connection.rollback()
        with pytest.raises(sa.exc.DBAPIError):
            connection.execute(text("SELECT name FROM missing"))
    codes = [each.get(semconv.DB_RESPONSE_STATUS_CODE) for each in queries_of(told)]
    # SQLite's names are there from Python 3.11 on.
    assert codes in ([DUPLICATE[system], MISSING[system]], [None, None])
    assert system == "sqlite" or codes[0]
    assert all(each[semconv.ERROR_TYPE] for each in queries_of(told))


async def test_async_codes(
    async_shop: tuple[Database, AsyncEngine], told: Telemetry, request_: Request
) -> None:
    database, engine = async_shop
    with request_():
        async with AsyncSession(engine) as session:
            with pytest.raises(sa.exc.DBAPIError):
                await session.execute(text("SELECT name FROM missing"))
    (query,) = queries_of(told)
    assert query.get(semconv.DB_RESPONSE_STATUS_CODE, MISSING["sqlite"]) == MISSING[database.system]
    assert spans_of(told)[0].status.status_code is StatusCode.ERROR


async def test_a_query_that_is_cancelled(
    async_shop: tuple[Database, AsyncEngine], told: Telemetry, request_: Request
) -> None:
    database, engine = async_shop
    if database.system not in WAIT:
        return  # SQLite cannot be kept waiting
    with request_():
        async with engine.connect() as connection:
            task = asyncio.create_task(connection.execute(text(WAIT[database.system])))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await connection.invalidate()
    (query,) = queries_of(told)
    assert query[semconv.ERROR_TYPE] == "asyncio.exceptions.CancelledError"


# Several engines, and jobs.


def test_several_engines(
    sqlite: Database, postgresql: Database, told: Telemetry, request_: Request
) -> None:
    engines = [sa.create_engine(each.url()) for each in (sqlite, postgresql)]
    with request_():
        for engine in engines:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1")).all()
    assert [
        (each[semconv.DB_SYSTEM_NAME], each[semconv.DB_NAMESPACE]) for each in queries_of(told)
    ] == [
        ("sqlite", sqlite.name),
        ("postgresql", postgresql.name),
    ]
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize("light_messages", [True, False])
def test_each_received_message_is_counted_apart(
    engine: sa.Engine, told: Telemetry, request_: Request, light_messages: bool
) -> None:
    from otel_toolbar.signals.core import light
    from otel_toolbar.signals.queries.scope import SCOPE

    tracer = trace.get_tracer("app")

    def message() -> Any:
        if light_messages:
            return light.start("websocket receive", SpanKind.CONSUMER, {}, SCOPE)
        return tracer.start_span("websocket receive", kind=SpanKind.CONSUMER)

    with request_(), Session(engine) as session:
        for number in range(1, 7):
            span = message()
            with trace.use_span(span, end_on_exit=True), tracer.start_as_current_span("step"):
                session.get(Order, number)
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 0
    assert find(recorded(told), 5, 10_000 * MS).n_plus_one == ()


def test_within_a_message_they_are_one_scope(
    engine: sa.Engine, told: Telemetry, request_: Request
) -> None:
    tracer = trace.get_tracer("app")
    message = tracer.start_as_current_span("websocket receive", kind=SpanKind.CONSUMER)
    with request_(), message, Session(engine) as session:
        for number in range(1, 7):
            session.get(Order, number)
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 1
    (found,) = find(recorded(told), 5, 10_000 * MS).n_plus_one
    assert found.scope is not None
    assert found.scope.name == "websocket receive"


def test_many_messages_are_forgotten_but_not_their_warnings(
    engine: sa.Engine, told: Telemetry, request_: Request
) -> None:
    tracer = trace.get_tracer("app")
    with request_(), Session(engine) as session:
        for _ in range(60):
            with tracer.start_as_current_span("websocket receive", kind=SpanKind.CONSUMER):
                for number in range(1, 6):
                    session.expunge_all()
                    session.get(Order, number)
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 60
