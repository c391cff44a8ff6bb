"""One query of SQLAlchemy while it runs: its span and its rows."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from opentelemetry.trace import Span, SpanKind

from otel_toolbar import guard, semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import light

from . import database, errors, kept, loading, loads, parameters, place, results, transactions
from .judge import Queries, flag, is_judged
from .scope import SCOPE

_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"})


class Query:
    """One execution of a statement: `running` until that is done, `fetching` while rows of it are fetched."""

    __slots__ = (
        "_anchor", "_ended", "_identity", "_is_judged", "_options", "_place", "_rows", "_span",
        "_statement", "fetching", "running",
    )  # fmt: skip

    def __init__(
        self,
        connection: Any,
        text: str,
        given: Any,
        context: Any,
        executemany: bool,
        options: Settings,
    ) -> None:
        """Start the span of a statement that is about to be executed."""
        self._rows = self._ended = 0
        """`_ended`: when it ended, ns, of a span that is kept open for its rows."""
        self.running = self.fetching = False
        self._options = options
        engine = connection.engine
        statement, name, known = database.of(engine).statement(text)
        self._statement = statement
        attributes: dict[str, Any] = {}
        deferred: light.Deferred | None = None
        names, values, plain = parameters.bound(given, context, executemany)
        if executemany:
            attributes[semconv.DB_OPERATION_BATCH_SIZE] = parameters.batch_size(given, context)
        elif not plain:
            attributes = parameters.described(names, values, statement)  # the app may change them
        elif values:
            deferred = partial(parameters.described, names, values, statement)
        state = loading.describe(attributes, context)
        site, self._place = place.find(options)
        self._identity = self._anchor = None
        self._is_judged = is_judged(statement, attributes)
        if self._is_judged and plain:
            self._anchor = self._identity = parameters.identity(text, values, state)
            if statement.paging is not None:
                self._anchor = parameters.anchor(statement, names, values, state)
        span = self._span = light.start(
            name, SpanKind.CLIENT, attributes, SCOPE, None, (known, site), deferred
        )
        self.running = True
        transaction = transactions.takes_part(connection, getattr(span, "start_time", 0))
        if statement.transaction:
            transactions.describe_control(transaction, span, text)
        loads.started(span, context)
        _keep(span, engine, text, given, context, executemany)

    def end(self, cursor: Any) -> None:
        """The statement has been executed; rows may still be fetched."""
        if not self.running:
            return
        description = cursor.description
        returns = description is not None
        if description:
            self._span.set_attribute(semconv.QUERY_COLUMNS, len(description))
        # A statement that returns rows has not changed all of them yet.
        if self._statement.operation in _CHANGES and not returns:
            affected = getattr(cursor, "rowcount", -1)
            if isinstance(affected, int) and affected >= 0:
                self._span.set_attribute(semconv.QUERY_AFFECTED_ROWS, affected)
        self._finish(returns)

    def fail(self, error: BaseException) -> None:
        """The statement, or fetching from it, has raised."""
        if not self.running:
            return
        errors.put(self._span, error)
        self._finish(returns=False)

    def fetched(self, rows: int, fetched: Any = None, over: bool = False) -> None:
        """Count rows that the app has got: one, or a list of them. `over` when these were the last."""
        before = self._rows
        if rows or not before:  # that there are no more says nothing new
            if rows and not before:
                results.first_fetched(self._span, fetched)
            self._rows = before + rows
            light.late(self._span, semconv.DB_RESPONSE_RETURNED_ROWS, self._rows)
        if over and self._ended:
            self._close()

    def __del__(self) -> None:
        # The result is not needed any more; or telling its end has failed.
        try:
            if self.running:
                self._span.end()
            elif self._ended:
                self._close()
        except Exception:
            guard.failed("end of a query that nobody ended")

    def _close(self) -> None:
        """End a span that was kept open for its rows, as of when the statement had been executed."""
        ended, self._ended = self._ended, 0
        self._span.end(ended)

    def _finish(self, returns: bool) -> None:
        self.running = False
        span = self._span
        if not isinstance(span, light.StoredSpan):
            # Outside of a request, where nothing can be added to an ended span.
            self._ended = time.time_ns()
            if not returns:
                self._close()
            return
        span.end()
        record = span.record
        if record is None or record.closed_at:
            return
        nanoseconds = (span.end_time or 0) - span.start_time
        statement = self._statement
        queries = Queries.of(record, self._options)
        queries.add(statement, nanoseconds)
        if self._is_judged:
            flag(
                span.own, queries.detector(span.otel_toolbar_unit), statement, self._place,
                self._identity, self._anchor, nanoseconds,
            )  # fmt: skip


def _keep(
    span: Span, engine: Any, text: str, parameters: Any, context: Any, executemany: bool
) -> None:
    """Keep the query as it is bound, for EXPLAIN."""
    try:
        if isinstance(span, light.StoredSpan):
            kept.remember(
                span.trace_id, span.span_id, engine, text, parameters, context, executemany
            )
        elif span.is_recording():
            where = span.get_span_context()
            kept.remember(
                where.trace_id, where.span_id, engine, text, parameters, context, executemany
            )
    except Exception:  # the query is worth more than its plan
        guard.failed("keeping a query for EXPLAIN")
