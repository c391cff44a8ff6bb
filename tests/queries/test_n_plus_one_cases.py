"""Every labelled case of the N+1 rule, with the real SQLAlchemy: what is flagged, and what is not.

What is flagged live is found again, with the same groups and positions, in the recorded trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy
from opentelemetry import trace
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, joinedload, selectinload, subqueryload

from otel_toolbar import semconv
from otel_toolbar.insights.n_plus_one import NPlusOne, find
from otel_toolbar.model import Kind, Span, Trace
from tests import sdk_spans as sdk
from tests.telemetry import Telemetry

from .conftest import Request, queries_of, summary_of
from .models import Customer, Item, Order

MS = 1_000_000


def recorded(told: Telemetry) -> Trace:
    spans: list[Span] = [sdk.to_model(span) for span in told.exported()]
    trace_id = next(span.trace_id for span in spans if span.kind is Kind.SERVER)
    return Trace.of(trace_id, [span for span in spans if span.trace_id == trace_id], 2**62)


def check(told: Telemetry, warnings: int, *positions: int) -> list[dict[str, Any]]:
    """The warnings, and the positions flagged in order; the same later as live."""
    queries = queries_of(told)
    flagged = [each for each in queries if each.get(semconv.N_PLUS_ONE)]
    assert [each[semconv.N_PLUS_ONE_POSITION] for each in flagged] == list(positions)
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == warnings
    found = find(recorded(told), 5, 10_000 * MS).n_plus_one
    assert {each.group for each in found} == {each[semconv.N_PLUS_ONE_GROUP] for each in flagged}
    assert sum(each.warning for each in found) == warnings
    return flagged


def only(told: Telemetry) -> NPlusOne:
    (found,) = find(recorded(told), 5, 10_000 * MS).n_plus_one
    return found


def test_a_lazy_collection_in_a_loop(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(engine) as session:
        for order in session.scalars(select(Order)).all():
            _ = order.items
    flagged = check(told, 1, 2, 3, 4, 5, 6)
    assert {each[semconv.QUERY_LAZY_LOADED_FROM] for each in flagged} == {"Order.items"}
    assert [each[semconv.N_PLUS_ONE_RULE] for each in flagged] == ["repeat"] * 3 + ["count"] * 2
    assert only(told).relationship == "Order.items"
    assert len(only(told).spans) == 6


def test_get_in_a_loop(engine: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), Session(engine) as session:
        for number in range(1, 7):
            session.get(Customer, number)
    check(told, 1, 2, 3, 4, 5, 6)


async def test_awaitable_attributes_in_a_loop(
    async_engine: AsyncEngine, told: Telemetry, request_: Request
) -> None:
    with request_():
        async with AsyncSession(async_engine) as session:
            for order in (await session.scalars(select(Order))).all():
                await order.awaitable_attrs.items
    flagged = check(told, 1, 2, 3, 4, 5, 6)
    assert flagged[0][semconv.CODE_FUNCTION_NAME].endswith("test_awaitable_attributes_in_a_loop")


async def load(engine: AsyncEngine, number: int) -> None:
    async with AsyncSession(engine) as session:
        order = await session.get_one(Order, number, options=[])
        await order.awaitable_attrs.items


async def test_gathered_queries_that_overlap(
    async_engine: AsyncEngine, told: Telemetry, request_: Request
) -> None:
    with request_():
        await asyncio.gather(*(load(async_engine, number) for number in range(1, 7)))
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 2
    flagged = [each for each in queries_of(told) if each.get(semconv.N_PLUS_ONE)]
    assert sorted(each[semconv.N_PLUS_ONE_POSITION] for each in flagged) == sorted(
        [2, 3, 4, 5, 6] * 2
    )
    assert len(find(recorded(told), 5, 10_000 * MS).n_plus_one) == 2


async def test_gathered_attributes_without_a_frame_of_the_app_s(
    async_engine: AsyncEngine, told: Telemetry, request_: Request
) -> None:
    sessions = [AsyncSession(async_engine) for _ in range(5)]
    orders = [await session.get_one(Order, number + 1) for number, session in enumerate(sessions)]
    with request_():
        await asyncio.gather(*(order.awaitable_attrs.items for order in orders))
    for session in sessions:
        await session.close()
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 1
    assert {each[semconv.CODE_FILE_PATH] for each in queries_of(told)} == {__file__}


def test_inlined_literals(engine: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), engine.connect() as connection:
        for number in range(6):
            connection.exec_driver_sql(
                f"SELECT name FROM items WHERE order_id = {number} AND name <> 'a{number}'"
            )
    check(told, 1, 2, 3, 4, 5, 6)


def test_refresh_of_expired_attributes(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with Session(engine) as session:
        customers = session.scalars(select(Customer)).all()
        session.commit()
        with request_():
            names = [customer.name for customer in customers]
    assert len(names) == 6
    check(told, 1, 2, 3, 4, 5, 6)


def test_other_spans_in_between(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    tracer = trace.get_tracer("test")
    with request_():
        for number in range(1, 7):
            with tracer.start_as_current_span(f"step {number}"), engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                connection.execute(select(Item).where(Item.order_id == number)).all()
                connection.rollback()
    check(told, 1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("eager", [selectinload, subqueryload, joinedload])
def test_eager_loading_is_none(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request, eager: Callable[..., Any]
) -> None:
    with request_(), Session(engine) as session:
        for order in session.scalars(select(Order).options(eager(Order.items))).unique().all():
            _ = order.items
    check(told, 0)


def test_eager_loading_in_chunks_is_none(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with Session(engine) as session:
        session.execute(
            insert(Order), [{"id": number, "customer_id": 1} for number in range(100, 3200)]
        )
        session.commit()
    with request_(), Session(engine) as session:
        eager = selectinload(Order.items), selectinload(Order.customer)
        session.scalars(select(Order).options(*eager)).all()
    check(told, 0)
    loads = [each.get(semconv.QUERY_EAGER_LOADED) for each in queries_of(told)]
    assert loads.count("Order.items") == 7
    assert loads.count("Order.customer") >= 1


def test_one_record_and_its_relation_is_none(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(engine) as session:
        order = session.get_one(Order, 1)
        assert len(order.items) == 2
        assert order.customer.name == "customer 1"
    check(told, 0)


def test_the_same_statement_at_two_lines_is_none(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(engine) as session:
        session.get(Customer, 1)
        session.get(Customer, 2)
    check(told, 0)


def test_batches_are_none(engine: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), Session(engine) as session:
        for number in range(10, 20):
            session.add(Customer(id=number, name="x"))
            session.scalar(select(Order.id).limit(1))  # autoflush
        session.execute(insert(Item), [{"order_id": 1, "name": "x"}] * 10)
        session.execute(insert(Item).returning(Item.id), [{"order_id": 1, "name": "x"}] * 10)
        session.commit()
    inserts = [each for each in queries_of(told) if each[semconv.DB_OPERATION_NAME] == "INSERT"]
    assert len(inserts) == 12
    assert not any(each.get(semconv.N_PLUS_ONE) for each in inserts)
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 0


def test_tables_with_names_alike_are_none(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with engine.begin() as connection:
        for table in ("users1", "orders2"):
            connection.exec_driver_sql(f'CREATE TABLE "{table}" (id INTEGER)')
    with request_(), engine.connect() as connection:
        for table in ("users1", "orders2"):
            connection.exec_driver_sql(f'SELECT id FROM "{table}"')
    check(told, 0)


def test_a_page_with_one_row_is_none(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(engine) as session:
        for order in session.scalars(select(Order).limit(1)).all():
            _ = order.items, order.customer
    check(told, 0)


async def test_a_background_task_is_none(
    async_engine: AsyncEngine, told: Telemetry, request_: Request
) -> None:
    done = asyncio.Event()

    async def later() -> None:
        await done.wait()
        async with AsyncSession(async_engine) as session:
            for order in (await session.scalars(select(Order))).all():
                await order.awaitable_attrs.items

    with request_():
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    done.set()
    await task
    queries = queries_of(told)
    assert len(queries) == 7
    assert all(each[semconv.DETACHED] for each in queries)
    assert summary_of(told)[semconv.QUERIES_COUNT] == 0
    check(told, 0)


# More of them.


def test_duplicates_are_none(engine: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), engine.connect() as connection:
        for _ in range(9):
            connection.execute(select(Customer.name).where(Customer.id == 1)).all()
    check(told, 0)
    flags = [each.get(semconv.QUERY_DUPLICATE) for each in queries_of(told)]
    assert flags == [None] + [True] * 8
    (duplicates,) = find(recorded(told), 5, 10_000 * MS).duplicates
    assert len(duplicates.spans) == 9


def test_masked_parameters_that_differ(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), engine.connect() as connection:
        for secret in ("a", "b", "c", "c", "d"):
            connection.execute(select(Customer.id).where(Customer.password == secret)).all()
    flagged = check(told, 1, 2, 3, 4, 5)
    assert [each.get(semconv.QUERY_DUPLICATE) for each in flagged] == [None, None, True, None]
    assert {each[semconv.DB_QUERY_PARAMETER + "password_1"] for each in flagged} == {"***"}


def test_lazy_loads_of_one_row_in_separate_sessions(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    """Three orders of one customer: the statement and the key are the same, the orders are not."""
    sessions = [Session(engine) for _ in range(3)]
    orders = [session.get_one(Order, number + 1) for number, session in enumerate(sessions)]
    with request_():
        for order in orders:
            assert order.customer.name == "customer 1"
    for session in sessions:
        session.close()
    flagged = check(told, 0, 2, 3)
    assert not any(each.get(semconv.QUERY_DUPLICATE) for each in flagged)


def test_an_order_loaded_again_is_a_duplicate(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_():
        for _ in range(3):
            with Session(engine) as session:
                _ = session.get_one(Order, 1).items
    check(told, 0)
    assert sum(each.get(semconv.QUERY_DUPLICATE, False) for each in queries_of(told)) == 4


def test_two_requests_are_two_scopes(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    for number in range(1, 4):
        with request_(), Session(engine) as session:
            session.get(Customer, number)
    assert not any(each.get(semconv.N_PLUS_ONE) for each in queries_of(told))


@pytest.mark.parametrize("run", [asyncio.create_task, asyncio.ensure_future])
async def test_tasks_of_a_loop(
    async_engine: AsyncEngine,
    told: Telemetry,
    request_: Request,
    run: Callable[[Any], Awaitable[None]],
) -> None:
    with request_():
        for number in range(1, 6):
            await run(load(async_engine, number))
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == 2
