"""EXPLAIN of a query that has run, on a connection of its own, in a transaction that only reads.

The statement is the one that the app sent, found by its span; it runs only as `admission` lets it. The
connection is a new one, made as the engine's pool makes them, and closed afterwards: an exhausted
pool, the app's transactions and its settings are not touched. For a database in memory that is one
connection there is no other; on that nothing but EXPLAIN and reads of the schema run.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from otel_toolbar import guard
from otel_toolbar.insights.plans import (
    Node,
    Plan,
    Refused,
    admission,
    hints,
    mysql,
    postgresql,
    predicates,
    redact,
    sqlite,
)

from . import catalogue, errors, kept

STATEMENT_SECONDS = 5
"""Time limit that the database keeps for each statement."""

LOCK_SECONDS = 1
"""How long to wait for a lock that another transaction holds."""

ANSWER_SECONDS = 12
"""After this the one who asked gets an answer, whatever the database does."""

MAX_RAW = 100_000
"""Characters of the database's own answer that are shown."""

_MAX_TABLES = 20
_AT_ONCE = 2
_running = threading.BoundedSemaphore(_AT_ONCE)

_WHY_NOT = {
    kept.BATCH: "It ran for many sets of parameters at once. Only a single SELECT can be explained.",
    kept.LARGE: f"Its text and parameters have more than {kept.MAX_BYTES // 1024} KiB, which is not kept.",
    kept.FOREIGN: "A parameter of it is of a type that is not kept (an object of the app or the driver).",
}
_TIMED_OUT = frozenset({"57014", "1969", "3024", "SQLITE_INTERRUPT"})
_LOCKED = frozenset({"55P03", "1205", "SQLITE_BUSY", "SQLITE_LOCKED"})


def _start_afresh() -> None:
    global _running
    _running = threading.BoundedSemaphore(_AT_ONCE)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def explain(trace_id: str, span_id: str, analyze: bool = False) -> Plan:
    """The plan of the query of a span, with hints. `Refused` says why there is none.

    It waits for the database: call it in a thread. `analyze` runs the query, to measure it; that is for
    PostgreSQL only, where it cannot write.
    """
    query = kept.find(int(trace_id, 16), int(span_id, 16))
    if query is None:
        raise Refused(
            "expired",
            f"This query is no longer known as it was bound: the last {kept.MAX_QUERIES} are, for"
            f" {kept.MAX_SECONDS // 60} minutes, in the process that made them, and if SQLAlchemy did."
            " Repeat the request, and ask again.",
        )
    if query.why_not:
        raise Refused(query.why_not, _WHY_NOT[query.why_not])
    engine = query.engine()
    if engine is None:
        raise Refused("engine_gone", "The app has let go of the engine that made this query.")
    system = _system(engine)
    style = "" if query.plain else str(engine.dialect.paramstyle)
    tree = admission.admit(query.text, system, style)
    if analyze and system != "postgresql":
        raise Refused("cannot_analyze", "ANALYZE runs the query; that is done on PostgreSQL only.")
    job = _Job(query, engine, system, tree, analyze)
    if not _running.acquire(blocking=False):
        raise Refused("busy", f"{_AT_ONCE} are being explained already. Ask again in a moment.")
    try:
        waiting = job.start()
    except BaseException:
        _running.release()
        raise
    try:
        return waiting.result(ANSWER_SECONDS)
    except OutOfTime:  # Python 3.10's own is another class
        waiting.cancel()
        raise Refused("timeout", f"No answer within {ANSWER_SECONDS} s.") from None


def _system(engine: Any) -> str:
    """`db.system.name` of the databases that are known here."""
    dialect = engine.dialect
    return "mariadb" if getattr(dialect, "is_mariadb", False) else str(dialect.name)


@dataclass
class _Job:
    """One EXPLAIN."""

    query: kept.Kept
    engine: Any
    system: str
    tree: Any
    analyze: bool

    def start(self) -> Future[Plan]:
        """Begin, where the engine's connections live: on its event loop, or in a thread."""
        if self.query.loop is None:
            future: Future[Plan] = Future()
            threading.Thread(
                target=self._in_thread, args=(future,), name="otel-toolbar-explain", daemon=True
            ).start()
            return future
        loop = self.query.loop()
        if loop is None or loop.is_closed() or not loop.is_running():
            raise Refused("loop_gone", "The event loop on which this query ran has ended.")
        future = asyncio.run_coroutine_threadsafe(self._on_loop(), loop)
        future.add_done_callback(lambda _: _running.release())
        return future

    def _in_thread(self, future: Future[Plan]) -> None:
        future.set_running_or_notify_cancel()
        try:
            with (
                self._safely(),
                _own_engine(self.engine, self.system) as own,
                own.connect() as connection,
            ):
                plan = self._ask(connection)
            future.set_result(plan)
        except BaseException as error:  # it goes to the one who waits
            future.set_exception(error)
        finally:
            _running.release()

    async def _on_loop(self) -> Plan:
        from sqlalchemy.ext.asyncio import AsyncEngine

        with self._safely(), _own_engine(self.engine, self.system, dispose=False) as own:
            over = AsyncEngine(own)
            try:
                async with over.connect() as connection:
                    return await connection.run_sync(self._ask)
            finally:
                if not isinstance(own.pool, _one_connection()):
                    await over.dispose()

    @contextmanager
    def _safely(self) -> Generator[None]:
        """Nothing of it is seen by instrumentations; a database's error names no value."""
        from opentelemetry.instrumentation.utils import suppress_instrumentation
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            with suppress_instrumentation():
                yield
        except Refused:
            raise
        except DBAPIError as error:
            raise _refused(error.orig or error) from None
        except SQLAlchemyError as error:
            raise Refused("database_error", f"SQLAlchemy: {type(error).__name__}.") from None
        except Exception as error:
            # Its text may hold a value of the query.
            guard.say_once(f"EXPLAIN failed with {type(error).__name__}; the app is not affected")
            raise Refused("failed", f"EXPLAIN failed with {type(error).__name__}.") from None

    def _ask(self, connection: Any) -> Plan:
        return _ASKS[self.system](self, connection)

    def send(self, connection: Any, prefix: str) -> Any:
        """The answer to EXPLAIN, with the parameters as they were bound."""
        if self.query.plain:
            connection = connection.execution_options(no_parameters=True)
        given = self.query.parameters
        text = self.query.text.strip().removesuffix(";")
        return connection.exec_driver_sql(f"{prefix} {text}", given)

    def plan(
        self,
        connection: Any,
        nodes: tuple[Node, ...],
        raw: str,
        duration: float | None = None,
    ) -> Plan:
        """The nodes with what the catalog says of their tables, and with hints."""
        nodes = _named(nodes, predicates.uses(self.tree))
        names = {(n.schema, n.table) for node in nodes for n in node.walk() if n.table}
        tables = [
            catalogue.table(connection, self.system, schema, name)
            for schema, name in sorted(names)[:_MAX_TABLES]
        ]
        plan = Plan(
            system=self.system,
            version=".".join(map(str, connection.dialect.server_version_info or ())),
            analyzed=duration is not None,
            may_analyze=self.system == "postgresql",
            nodes=nodes,
            cost=next((node.cost for node in nodes if node.cost is not None), None),
            duration=duration,
            tables=tuple(table for table in tables if table is not None),
            raw=raw[:MAX_RAW],
        )
        return replace(plan, hints=hints.find(plan, self.tree))


def _ask_postgresql(job: _Job, connection: Any) -> Plan:
    # An engine may be in AUTOCOMMIT, where there is no transaction that could be read-only.
    connection.execution_options(isolation_level="READ COMMITTED")
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000}")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_SECONDS * 1000}")
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar() != "on":
        raise Refused("not_read_only", "PostgreSQL did not make the transaction read-only.")
    if job.analyze:
        _may_analyze(job.tree, connection)
    options = "ANALYZE, VERBOSE, FORMAT JSON" if job.analyze else "VERBOSE, FORMAT JSON"
    answer = _decoded(job.send(connection, f"EXPLAIN ({options})").scalar())
    nodes, duration = postgresql.read(answer)
    return job.plan(connection, nodes, _written(answer), duration)


def _ask_mysql(job: _Job, connection: Any) -> Plan:
    mariadb = bool(connection.dialect.is_mariadb)
    limit = f"max_statement_time = {STATEMENT_SECONDS}"
    if not mariadb:
        limit = f"max_execution_time = {STATEMENT_SECONDS * 1000}"
    connection.exec_driver_sql(f"SET SESSION {limit}")
    connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
    connection.exec_driver_sql("START TRANSACTION READ ONLY")
    name = "tx_read_only" if mariadb else "transaction_read_only"
    if connection.exec_driver_sql(f"SELECT @@SESSION.{name}").scalar() != 1:
        raise Refused("not_read_only", "The database did not make the transaction read-only.")
    answer = _decoded(job.send(connection, "EXPLAIN FORMAT=JSON").scalar())
    nodes, _ = mysql.read(answer)
    return job.plan(connection, nodes, _written(answer, mysql_=True))


def _ask_sqlite(job: _Job, connection: Any) -> Plan:
    if not isinstance(connection.engine.pool, _one_connection()):
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
        connection.exec_driver_sql("PRAGMA query_only = ON")
    rows = [tuple(row) for row in job.send(connection, "EXPLAIN QUERY PLAN")]
    raw = "\n".join(f"{row[0]:>4} {row[1]:>4}  {redact.condition(row[3])}" for row in rows)
    return job.plan(connection, sqlite.read(rows), raw)


_ASKS: dict[str, Callable[[_Job, Any], Plan]] = {
    "postgresql": _ask_postgresql,
    "mariadb": _ask_mysql,
    "mysql": _ask_mysql,
    "sqlite": _ask_sqlite,
}


def _may_analyze(tree: Any, connection: Any) -> None:
    """Refuse what could have effects that a read-only transaction does not hold back.

    Those are functions that are volatile or somebody's own, also within views and foreign tables.
    """
    from sqlalchemy import text
    from sqlglot import exp

    for name in sorted({name for name, known in admission.called(tree) if not known}):
        volatile = connection.execute(
            text(
                "SELECT coalesce(bool_or(p.provolatile = 'v' OR n.nspname <> 'pg_catalog'), true)"
                " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
                " WHERE p.proname = :name"
            ),
            {"name": name.rpartition(".")[2]},
        ).scalar()
        if volatile:
            raise Refused(
                "cannot_analyze", f"ANALYZE would run `{name}()`, which may have effects."
            )
    for table in tree.find_all(exp.Table):
        found = connection.execute(
            text(
                "SELECT relkind IN ('r', 'p', 'm') AND NOT relrowsecurity FROM pg_class"
                " WHERE oid = to_regclass(:name)"
            ),
            {
                "name": ".".join(
                    f'"{p.name}"' if p.args.get("quoted") else p.name for p in table.parts
                )
            },
        ).scalar()
        if found is False:
            raise Refused(
                "cannot_analyze",
                f"`{table.name}` is a view or a foreign table, or has row security: ANALYZE would run"
                " what stands behind it.",
            )


class _Shared:
    """A connection of the app's that is the database itself: never ended, committed or rolled back."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def close(self) -> None:
        pass

    terminate = commit = rollback = close


def _one_connection() -> Any:
    from sqlalchemy.pool import StaticPool

    return StaticPool


@contextmanager
def _own_engine(engine: Any, system: str, dispose: bool = True) -> Generator[Any]:
    """An engine like the app's, with a pool of its own and without its listeners."""
    from sqlalchemy.engine import Engine

    if system == "sqlite" and _in_memory(engine):
        pool = _shared_pool(engine)
        dispose = False
    else:
        pool = engine.pool.recreate()
    own = Engine(pool, engine.dialect, engine.url, hide_parameters=True)
    try:
        yield own
    finally:
        if dispose:
            own.dispose()


def _shared_pool(engine: Any) -> Any:
    pool_class = _one_connection()
    if not isinstance(engine.pool, pool_class):
        raise Refused(
            "in_memory",
            "This SQLite database is in memory and belongs to one thread. Use a file, or poolclass=StaticPool"
            " with check_same_thread=False.",
        )
    real = engine.pool.connection.dbapi_connection
    return pool_class(lambda: _Shared(real), reset_on_return=None, dialect=engine.dialect)


def _in_memory(engine: Any) -> bool:
    name = str(engine.url.database or "")
    shared = "cache=shared" in name or engine.url.query.get("cache") == "shared"
    memory = not name or ":memory:" in name or engine.url.query.get("mode") == "memory"
    return (memory or "mode=memory" in name) and not shared


def _refused(error: Any) -> Refused:
    code = errors.code(error)
    name = type(error).__name__
    codes = {code, *map(str, error.args[:1])}  # MySQL's drivers have a number beside the SQLSTATE
    if codes & _TIMED_OUT:
        return Refused("timeout", f"The database gave up after {STATEMENT_SECONDS} s.")
    if codes & _LOCKED or "database is locked" in str(error):
        return Refused(
            "locked", f"A table is locked by another transaction for more than {LOCK_SECONDS} s."
        )
    if "thread" in str(error) and name == "ProgrammingError":
        return Refused("in_memory", "This SQLite connection may be used in its own thread only.")
    if name in ("OperationalError", "InterfaceError") or isinstance(error, OSError):
        return Refused(
            "no_connection", f"The database could not be asked: {name} {code}".rstrip() + "."
        )
    return Refused("database_error", f"The database refused: {name} {code}".rstrip() + ".")


def _named(nodes: tuple[Node, ...], wanted: list[predicates.Use]) -> tuple[Node, ...]:
    """With the tables' names where the plan tells only what the statement calls them."""
    known = {use.alias: use for use in wanted}

    def named(node: Node) -> Node:
        use = known.get(node.alias) if not node.table else None
        children = tuple(named(child) for child in node.children)
        if use is None:
            return replace(node, children=children)
        return replace(node, table=use.table, schema=use.schema, children=children)

    return tuple(named(node) for node in nodes)


def _decoded(answer: Any) -> Any:
    return json.loads(answer) if isinstance(answer, (str, bytes)) else answer


def _written(answer: Any, mysql_: bool = False) -> str:
    return json.dumps(redact.whole(answer, mysql_), indent=2, default=str)
