"""EXPLAIN of queries that have run, against real databases, sync and async."""

from __future__ import annotations

import asyncio
import gc
import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool, StaticPool

from otel_toolbar.insights.plans import Plan, Refused
from otel_toolbar.signals.queries import explain, kept
from tests.databases import ASYNC, Database, missing
from tests.telemetry import Telemetry

from .conftest import Request

ORDERS = 20_000
CANARY = "canary-7f3a9"
ASYNC_DRIVERS = [(system, driver) for system, drivers in ASYNC.items() for driver in drivers]


def fill(connection: sa.Connection) -> None:
    """A table of 20,000 rows with an index and columns without one, and one of 100 rows."""
    run = connection.exec_driver_sql
    run("CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(50), password VARCHAR(50))")
    run(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL,"
        " status VARCHAR(20), total INTEGER, note VARCHAR(20))"
    )
    run("CREATE INDEX ix_total ON orders (total)")
    run("CREATE TABLE digits (d INTEGER)")
    run("INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
    numbers = (
        "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 1 AS n"
        " FROM digits a, digits b, digits c, digits e, digits f WHERE f.d < 2"
    )
    run(
        f"INSERT INTO orders SELECT n, n %% 4000, 's', n, 'n' FROM ({numbers}) AS x".replace(
            "%%", "%" if connection.dialect.paramstyle in ("qmark", "numeric_dollar") else "%%"
        )
    )
    name = "concat('c', n)" if connection.dialect.name != "sqlite" else "'c' || n"
    run(f"INSERT INTO customers SELECT n, {name}, 'x' FROM ({numbers}) AS x WHERE n <= 100")


@pytest.fixture
def shop(database: Database) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database.url())
    with engine.begin() as connection:
        fill(connection)
    analyze(engine, database.system)
    yield engine
    engine.dispose()


def analyze(engine: sa.Engine, system: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in ("customers", "orders"):
            words = "ANALYZE TABLE" if system == "mariadb" else "ANALYZE"
            connection.exec_driver_sql(f"{words} {table}")


@pytest.fixture
def ask(told: Telemetry, request_: Request) -> Callable[..., Plan]:
    """Make a query in a request, and explain it."""

    def run(engine: sa.Engine, text: str, analyze: bool = False, **parameters: Any) -> Plan:
        with request_(), engine.connect() as connection:
            connection.execute(sa.text(text), parameters)
        return explain(*last(told), analyze)

    return run


def statements(told: Telemetry) -> list[ReadableSpan]:
    """Queries; connects and the ends of transactions have no text."""
    return [span for span in told.exported() if "db.query.text" in (span.attributes or {})]


def last(told: Telemetry) -> tuple[str, str]:
    """Trace and span id of the query that was made last."""
    spans = statements(told)
    context = max(spans, key=lambda span: span.start_time or 0).context
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(Refused) as raised:
        yield
    assert raised.value.code == code, raised.value.message
    assert CANARY not in raised.value.message


def rules(plan: Plan) -> dict[str, str]:
    return {hint.rule: hint.level for hint in plan.hints}


def test_a_missing_index(shop: sa.Engine, ask: Callable[..., Plan]) -> None:
    plan = ask(shop, "SELECT * FROM orders WHERE customer_id = :one ORDER BY total", one=7)
    assert rules(plan)["full_scan"] == "warn"
    hint = next(hint for hint in plan.hints if hint.rule == "missing_index")
    assert dict(hint.code) == {
        "SQL": "CREATE INDEX ix_orders_customer_id_total ON orders (customer_id, total);",
        "SQLAlchemy": '__table_args__ = (Index("ix_orders_customer_id_total", "customer_id", "total"),)',
    }
    evidence = dict(hint.evidence)
    assert "ix_total (total)" in evidence["Existing indexes"]
    assert evidence["Rows in the table"].split()[0].replace(",", "").isdecimal()
    assert hint.link is not None
    scan = next(node for node in plan.walk() if node.kind == "scan")
    assert scan.table == "orders"
    # What it says is true: with the index the scan is gone.
    with shop.begin() as connection:
        connection.exec_driver_sql(dict(hint.code)["SQL"])
    analyze(shop, plan.system)
    better = ask(shop, "SELECT * FROM orders WHERE customer_id = :one ORDER BY total", one=7)
    assert "missing_index" not in rules(better)
    assert any(node.index == "ix_orders_customer_id_total" for node in better.walk())


def test_a_scan_that_is_right(shop: sa.Engine, ask: Callable[..., Plan]) -> None:
    small = ask(shop, "SELECT * FROM customers WHERE name = :name", name="c1")
    assert rules(small) == {"small_table": "ok"}
    assert "100 (" in dict(small.hints[0].evidence)["Rows in the table"]
    limited = ask(shop, "SELECT * FROM orders LIMIT 5")
    assert rules(limited) == {"limited_scan": "ok"}
    everything = ask(shop, "SELECT note FROM orders")
    assert rules(everything) == {"full_scan": "warn"}


def test_by_an_index_there_is_no_hint(shop: sa.Engine, ask: Callable[..., Plan]) -> None:
    plan = ask(shop, "SELECT * FROM orders WHERE total = :total", total=5)
    assert rules(plan) == {}
    assert [node.index for node in plan.walk() if node.index] == ["ix_total"]


def test_a_column_within_a_function(shop: sa.Engine, ask: Callable[..., Plan]) -> None:
    plan = ask(shop, "SELECT * FROM orders WHERE lower(note) = :note", note="x")
    assert rules(plan) == {"expression": "warn"}
    pattern = ask(shop, "SELECT * FROM orders WHERE note LIKE :note", note="%x")
    assert rules(pattern) == {"full_scan": "warn"}


def test_joins_groups_and_subqueries_have_a_tree(shop: sa.Engine, ask: Callable[..., Plan]) -> None:
    for text in (
        "SELECT c.name, count(*) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.name",
        "SELECT c.name, (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c",
        "SELECT id FROM orders WHERE total = 1 UNION SELECT id FROM customers WHERE id = 3",
        "WITH x AS (SELECT DISTINCT customer_id FROM orders) SELECT * FROM x WHERE customer_id > 5",
        "SELECT * FROM orders WHERE id IN (SELECT id FROM customers WHERE name = 'c3')",
    ):
        plan = ask(shop, text)
        tables = {node.table for node in plan.walk() if node.table}
        assert tables, text
        assert tables <= {"orders", "customers"}, text
        assert plan.raw


def test_bound_values_of_all_kinds(shop: sa.Engine, ask: Callable[..., Plan]) -> None:
    one = ask(
        shop,
        "SELECT * FROM orders WHERE status = :s AND total > :t AND note LIKE '%%x'",
        s="s1",
        t=3,
    )
    assert any(node.table == "orders" for node in one.walk())
    with shop.connect() as connection:
        table = sa.Table("orders", sa.MetaData(), autoload_with=connection)
    told_many = sa.select(table).where(table.c.total.in_([1, 2, 3])).limit(2)
    assert told_many is not None


def test_no_value_is_in_a_plan(shop: sa.Engine, ask: Callable[..., Plan]) -> None:
    plan = ask(
        shop, "SELECT * FROM customers WHERE name = :n AND password = :p", n=CANARY, p=CANARY
    )
    assert CANARY not in repr(plan)
    inlined = ask(
        shop, f"SELECT * FROM customers WHERE name = '{CANARY}' AND password > '{CANARY}'"
    )
    assert CANARY not in repr(inlined)


WRITES = [
    ("not_a_select", "INSERT INTO customers VALUES (200, 'x', 'y')"),
    ("not_a_select", "UPDATE customers SET name = 'gone'"),
    ("not_a_select", "DELETE FROM customers"),
    ("not_a_select", "DROP TABLE nothing"),
]


@pytest.mark.parametrize(("code", "text"), WRITES)
def test_what_writes_is_refused(
    shop: sa.Engine, told: Telemetry, request_: Request, code: str, text: str
) -> None:
    with request_(), shop.connect() as connection:
        transaction = connection.begin()
        try:
            connection.exec_driver_sql(text)
        except sa.exc.DBAPIError:
            assert "nothing" in text
        transaction.rollback()
    ids = last(told)
    with refused(code):
        explain(*ids)
    assert contents(shop) == (100, ORDERS)


def contents(engine: sa.Engine) -> tuple[int, int]:
    with engine.connect() as connection:
        return tuple(
            connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            for table in ("customers", "orders")
        )


def test_batches_are_refused(shop: sa.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), shop.connect() as connection:
        connection.execute(
            sa.text("INSERT INTO customers VALUES (:id, 'x', 'y')"), [{"id": 300}, {"id": 301}]
        )
    with refused("batch"):
        explain(*last(told))


def test_it_leaves_no_trace(
    shop: sa.Engine, ask: Callable[..., Plan], told: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    ask(shop, "SELECT * FROM customers WHERE name = :n", n=CANARY)
    spans = told.exported()
    names = [span.name for span in spans if span.kind is SpanKind.CLIENT]
    assert [name for name in names if name != "ROLLBACK"] == ["SELECT customers"]
    assert "EXPLAIN" not in repr([dict(span.attributes or {}) for span in spans])
    assert CANARY not in caplog.text


def test_the_pool_is_not_needed(
    database: Database, shop: sa.Engine, told: Telemetry, request_: Request
) -> None:
    """One connection is all there is, and the app holds it, in a transaction."""
    one = sa.create_engine(
        database.url(), poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=1
    )
    with request_(), one.connect() as connection:
        connection.execute(sa.text("SELECT * FROM customers WHERE id = :id"), {"id": 1}).all()
        ids = last_of(told)
        plan = explain(*ids)
        assert [node.table for node in plan.walk() if node.table] == ["customers"]
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
        assert one.pool.checkedout() == 1
    one.dispose()


def last_kept() -> kept.Kept:
    return kept.Kept._make(kept._queries[-1])


def last_of(told: Telemetry) -> tuple[str, str]:
    """Of a request that still runs: the ids are those that are kept."""
    found = last_kept()
    return f"{found.trace_id:032x}", f"{found.span_id:016x}"


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_lock_is_not_waited_for(
    database: Database, shop: sa.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), shop.connect() as connection:
        connection.execute(sa.text("SELECT * FROM orders WHERE note = 'x'"))
    ids = last(told)
    with shop.connect() as other:
        if database.system == "postgresql":
            other.exec_driver_sql("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        else:
            other.exec_driver_sql("LOCK TABLES orders WRITE")
        with refused("locked"):
            explain(*ids)
        if database.system == "mariadb":
            other.exec_driver_sql("UNLOCK TABLES")
        other.rollback()
    assert explain(*ids).nodes


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_lock_of_sqlite_is_not_waited_for(
    database: Database, shop: sa.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), shop.connect() as connection:
        connection.execute(sa.text("SELECT * FROM orders WHERE note = 'x'"))
    ids = last(told)
    with shop.connect() as other:
        other.exec_driver_sql("BEGIN EXCLUSIVE")
        with refused("locked"):
            explain(*ids)
        other.rollback()
    assert explain(*ids).nodes


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_what_planning_itself_runs_is_cut_off(
    shop: sa.Engine, ask: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB fills a derived table to plan with it."""
    monkeypatch.setattr("otel_toolbar.signals.queries.explaining.STATEMENT_SECONDS", 1)
    with shop.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (n INTEGER)")
        connection.exec_driver_sql("INSERT INTO numbers SELECT id FROM orders LIMIT 3000")
    heavy = (
        "SELECT * FROM (SELECT count(*) AS c FROM numbers a, numbers b, numbers c"
        " WHERE a.n + b.n + c.n = 7) AS x WHERE 1 = 0"
    )
    held = ask(shop, heavy)
    assert held.nodes


@pytest.mark.parametrize(("system", "driver"), ASYNC_DRIVERS)
async def test_async_engines(
    system: str, driver: str, told: Telemetry, request_: Request, request: pytest.FixtureRequest
) -> None:
    why = missing(system, driver)  # type: ignore[arg-type]
    if why is not None:
        pytest.skip(why)
    database: Database = request.getfixturevalue(system)
    engine = create_async_engine(database.async_url(driver), pool_size=1, max_overflow=0)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(fill)
        with request_():
            async with engine.connect() as connection:
                await connection.execute(
                    sa.text("SELECT * FROM orders WHERE note = :n AND id <> :t"),
                    {"n": CANARY, "t": 3},
                )
        ids, before = last(told), told.exported()
        async with engine.connect():  # the pool is empty now
            plan = await asyncio.to_thread(explain, *ids)
        assert [node.table for node in plan.walk() if node.table] == ["orders"]
        assert rules(plan) == {"full_scan": "warn", "missing_index": "warn"}
        assert CANARY not in repr(plan)
        assert told.exported() == before
        if system == "postgresql":
            assert (await asyncio.to_thread(explain, *ids, True)).analyzed
    finally:
        await engine.dispose()


async def test_the_loop_goes_on(postgresql: Database, told: Telemetry, request_: Request) -> None:
    """While a lock is waited for, the app's loop runs."""
    engine = create_async_engine(postgresql.async_url())
    async with engine.begin() as connection:
        await connection.run_sync(fill)
    with request_():
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT * FROM orders WHERE note = 'x'"))
    ids = last(told)
    turns = 0
    async with engine.connect() as other:
        await other.exec_driver_sql("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        asking = asyncio.create_task(asyncio.to_thread(explain, *ids))
        while not asking.done():
            turns += 1
            await asyncio.sleep(0.01)
        with refused("locked"):
            await asking
    assert turns > 20
    await engine.dispose()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("writes", "WITH gone AS (DELETE FROM customers RETURNING id) SELECT * FROM gone"),
        ("writes", "SELECT * INTO customers2 FROM customers"),
        ("locks", "SELECT * FROM customers FOR UPDATE"),
        ("function", "SELECT pg_sleep(0)"),
        ("function", "SELECT pg_advisory_lock(1)"),
        ("function", "SELECT nextval('numbers')"),
    ],
)
def test_selects_that_do_more(
    shop: sa.Engine, told: Telemetry, request_: Request, code: str, text: str
) -> None:
    with shop.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE numbers")
    with request_(), shop.connect() as connection:
        connection.exec_driver_sql(text)
        connection.rollback()
    ids = last(told)
    for analyze in (False, True):
        with refused(code):
            explain(*ids, analyze)
    assert contents(shop) == (100, ORDERS)
    with shop.connect() as connection:
        called = connection.exec_driver_sql("SELECT last_value FROM numbers").scalar()
        assert called == 1


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_analyze_measures_where_nothing_can_be_written(
    shop: sa.Engine, ask: Callable[..., Plan], told: Telemetry
) -> None:
    with shop.begin() as connection:
        run = connection.exec_driver_sql
        run("CREATE TABLE log (line TEXT)")
        run(
            "CREATE FUNCTION loud(i INTEGER) RETURNS INTEGER LANGUAGE plpgsql STABLE AS"
            " $$ BEGIN INSERT INTO log VALUES ('called'); RETURN i; END $$"
        )
        run("CREATE FUNCTION quiet(i INTEGER) RETURNS INTEGER LANGUAGE sql AS 'SELECT i'")
        run("CREATE VIEW behind AS SELECT id FROM customers")
    plan = ask(
        shop, "SELECT * FROM orders WHERE note = :note AND lower(status) = 's'", True, note="n"
    )
    assert plan.analyzed
    assert plan.duration
    scan = next(node for node in plan.walk() if node.table == "orders")
    assert scan.actual_rows == ORDERS
    assert scan.duration
    for text in (
        "SELECT quiet(id) FROM customers",
        "SELECT public.quiet(id) FROM customers",
        "SELECT * FROM behind",
    ):
        assert ask(shop, text).nodes
        with refused("cannot_analyze"):
            ask(shop, text, True)
    # PostgreSQL folds a stable function while it plans: what it writes is refused by the database.
    with shop.connect() as connection, pytest.raises(sa.exc.DBAPIError):
        connection.exec_driver_sql("SELECT * FROM customers WHERE id = loud(1)").all()
    with refused("database_error"):
        explain(*last_of(told))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_an_engine_in_autocommit_is_no_way_around(
    database: Database, shop: sa.Engine, ask: Callable[..., Plan]
) -> None:
    engine = sa.create_engine(database.url(), isolation_level="AUTOCOMMIT")
    assert ask(engine, "SELECT * FROM customers WHERE id = :id", id=1).nodes
    engine.dispose()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_slow_query_is_cut_off(
    shop: sa.Engine, ask: Callable[..., Plan], told: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_toolbar.signals.queries.explaining.STATEMENT_SECONDS", 1)
    slow = "SELECT count(*) FROM (SELECT * FROM orders LIMIT {n}) b, orders c WHERE b.total + c.total = 7"
    assert ask(shop, slow.format(n=1), True).analyzed
    with refused("timeout"), shop.connect() as connection:
        # The app itself needs not wait for it either.
        connection.exec_driver_sql("SET statement_timeout = 10")
        with pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql(slow.format(n=20_000))
        explain(*last_of(told), True)


def test_analyze_is_for_postgresql_only(
    database: Database, shop: sa.Engine, ask: Callable[..., Plan]
) -> None:
    if database.system != "postgresql":
        with refused("cannot_analyze"):
            ask(shop, "SELECT * FROM customers", True)


def test_sqlite_in_memory_keeps_the_apps_transaction(told: Telemetry, request_: Request) -> None:
    engine = sa.create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")
    with request_(), engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO customers VALUES (1, 'x')")
        connection.execute(sa.text("SELECT * FROM customers WHERE name = :n"), {"n": "x"}).all()
        plan = explain(*last_of(told))
        assert [hint.rule for hint in plan.hints] == ["small_table"]
        connection.exec_driver_sql("INSERT INTO customers VALUES (2, 'y')")  # not read-only
        connection.rollback()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM customers").scalar() == 0
    engine.dispose()


async def test_async_sqlite_in_memory(told: Telemetry, request_: Request) -> None:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)"
        )
    with request_():
        async with engine.connect() as connection:
            await connection.exec_driver_sql("INSERT INTO customers VALUES (1, 'x')")
            await connection.execute(sa.text("SELECT * FROM customers WHERE name = :n"), {"n": "x"})
            plan = await asyncio.to_thread(explain, *last_of(told))
            assert [hint.rule for hint in plan.hints] == ["small_table"]
            await connection.commit()
    async with engine.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM customers")).scalar() == 1
    await engine.dispose()


def test_sqlite_in_the_memory_of_a_thread(told: Telemetry, request_: Request) -> None:
    for more in ({}, {"poolclass": StaticPool}):
        engine = sa.create_engine("sqlite://", **more)
        with request_(), engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
        with refused("in_memory"):
            explain(*last(told))
        engine.dispose()


def test_an_engine_that_is_gone(tmp_path: Any, told: Telemetry, request_: Request) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with request_(), engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    engine.dispose()
    del engine, connection
    gc.collect()
    with refused("engine_gone"):
        explain(*last(told))


def test_a_loop_that_is_gone(tmp_path: Any, told: Telemetry, request_: Request) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'x.sqlite'}")

    async def ask() -> None:
        with request_():
            async with engine.connect() as connection:
                await connection.exec_driver_sql("SELECT 1")
        await engine.dispose()

    asyncio.run(ask())
    with refused("loop_gone"):
        explain(*last(told))
    with refused("loop_gone"):  # and nothing is left taken
        explain(*last(told))
    with refused("loop_gone"):
        explain(*last(told))


def test_a_server_that_is_gone(told: Telemetry, request_: Request, tmp_path: Any) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    engine = sa.create_engine(f"sqlite:///{folder / 'x.sqlite'}")
    with request_(), engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    engine.dispose()
    (folder / "x.sqlite").unlink(missing_ok=True)
    folder.rmdir()
    with refused("no_connection"):
        explain(*last(told))


def test_not_more_than_a_few_at_once(shop: sa.Engine, ask: Callable[..., Plan]) -> None:
    module = importlib.import_module("otel_toolbar.signals.queries.explaining")
    assert ask(shop, "SELECT * FROM customers").nodes
    with module._running, module._running, refused("busy"):
        ask(shop, "SELECT * FROM customers")
    assert ask(shop, "SELECT * FROM customers").nodes


@pytest.fixture
def lite(tmp_path: Any) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.sqlite'}")
    yield engine
    engine.dispose()


def test_what_is_kept_is_bounded(lite: sa.Engine, told: Telemetry, request_: Request) -> None:
    class Own(str):
        """Of the app: it could hold anything."""

    with request_(), lite.connect() as connection:
        for value, code in (
            ("x" * 40_000, "too_large"),
            (b"x" * 40_000, "too_large"),
            (Own("x"), "parameters"),
            (bytearray(b"x"), "parameters"),
        ):
            connection.exec_driver_sql("SELECT ?", (value,))
            with refused(code):
                explain(*last_of(told))
            assert last_kept().parameters is None
        connection.exec_driver_sql(f"SELECT '{'x' * 40_000}'")
        with refused("too_large"):
            explain(*last_of(told))
        for number in range(600):
            connection.exec_driver_sql("SELECT ?", (number,))
    assert len(kept._queries) == kept.MAX_QUERIES


def test_what_is_kept_is_not_the_apps(lite: sa.Engine, told: Telemetry, request_: Request) -> None:
    given: dict[str, Any] = {"a": 1}
    with request_(), lite.connect() as connection:
        connection.exec_driver_sql("SELECT :a", given)
    given["a"] = [object()]
    assert last_kept().parameters == {"a": 1}
    assert kept._taken("x", ([1, 2], "y")) == ("", ([1, 2], "y"))
    assert kept._taken("x", ([object()],)) == (kept.FOREIGN, None)
    assert kept._taken("x", (["y" * 40_000],)) == (kept.LARGE, None)
    assert kept._taken("x", (list(range(9000)),)) == (kept.FOREIGN, None)
    assert kept._taken("x", tuple(range(9000))) == (kept.LARGE, None)
    assert kept._taken("x", object()) == (kept.FOREIGN, None)


def test_after_five_minutes_it_is_gone(
    lite: sa.Engine, told: Telemetry, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    with request_(), lite.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    ids = last(told)
    assert explain(*ids).nodes
    import time

    later = time.monotonic() + kept.MAX_SECONDS + 1
    monkeypatch.setattr("otel_toolbar.signals.queries.kept.time.monotonic", lambda: later)
    with refused("expired"):
        explain(*ids)
    with request_(), lite.connect() as connection:
        connection.exec_driver_sql("SELECT 2")
    assert len(kept._queries) == 1


def test_the_app_is_as_without_it_when_keeping_fails(
    lite: sa.Engine, told: Telemetry, request_: Request, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(kept, "remember", broken)
    with request_(), lite.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        assert connection.exec_driver_sql("SELECT 2").scalar() == 2
    assert len(statements(told)) == 2
    assert caplog.text.count("keeping a query for EXPLAIN failed") == 1


def test_a_failure_of_ours_names_no_value(
    lite: sa.Engine, told: Telemetry, request_: Request, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def broken(*_: Any) -> None:
        raise RuntimeError(CANARY)

    with request_(), lite.connect() as connection:
        connection.exec_driver_sql("SELECT ?", (CANARY,))
    monkeypatch.setattr("otel_toolbar.insights.plans.sqlite.read", broken)
    with refused("failed"):
        explain(*last(told))
    assert "RuntimeError" in caplog.text
    assert CANARY not in caplog.text


def test_an_answer_comes_even_if_the_database_hangs(
    lite: sa.Engine, told: Telemetry, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    with request_(), lite.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    ids = last(told)

    def hangs(*_: Any) -> None:
        go_on.wait(20)
        raise RuntimeError

    sa.event.listen(lite.pool, "connect", hangs)
    monkeypatch.setattr("otel_toolbar.signals.queries.explaining.ANSWER_SECONDS", 0.2)
    with refused("timeout"):
        explain(*ids)
    go_on.set()
