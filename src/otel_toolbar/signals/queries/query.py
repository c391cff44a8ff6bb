"""One query while it runs: its span, its rows, and whether it repeats another of its request."""

from __future__ import annotations

from typing import Any, cast

from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.insights.n_plus_one import Detector, is_bulk
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import callsite, exceptions, light
from otel_toolbar.signals.core import record as records
from otel_toolbar.version import VERSION

from . import database, kept, loading, loads, results
from .parameters import batch_size, described, identity

SCOPE = InstrumentationScope("otel_toolbar.signals.queries", VERSION)
SUBJECT = "queries"
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"})


class Queries:
    """A request's queries together: the subject `queries` of its record."""

    def __init__(self, options: Settings) -> None:
        self.count = 0
        self.nanoseconds = 0
        self.detector = Detector(options.n_plus_one, options.n_plus_one_duration * 1_000_000)

    def summary(self) -> dict[str, int | float]:
        return {
            semconv.QUERIES_COUNT: self.count,
            semconv.QUERIES_DURATION: self.nanoseconds / 1e9,
            semconv.N_PLUS_ONE_COUNT: self.detector.warnings,
        }

    @classmethod
    def of(cls, record: records.Record, options: Settings) -> Queries:
        """The request's, made with its first query."""
        found = record.subjects.get(SUBJECT)
        if found is None:
            found = record.subjects[SUBJECT] = cls(options)
        return cast(Queries, found)


class Query:
    """One execution of a statement. `fetching` is true while rows of it are being fetched."""

    __slots__ = (
        "_identity", "_options", "_place", "_rows", "_running", "_span", "_statement", "fetching",
    )  # fmt: skip

    def __init__(
        self, span: Span, statement: Statement, place: str, same_as: int | None, options: Settings
    ) -> None:
        self._span = span
        self._statement = statement
        self._place = place
        self._identity = same_as
        self._options = options
        self._rows = 0
        self._running = True
        self.fetching = False

    @classmethod
    def start(
        cls,
        connection: Any,
        text: str,
        parameters: Any,
        context: Any,
        executemany: bool,
        options: Settings,
    ) -> Query:
        """Start the span of a statement that is about to be executed."""
        statement, known = database.of(connection.engine).statement(text)
        attributes = known.copy()
        if executemany:
            attributes[semconv.DB_OPERATION_BATCH_SIZE] = batch_size(parameters, context)
        else:
            described(attributes, parameters, context, statement)
        load = loading.of(context)
        if load.lazy:
            attributes[semconv.QUERY_LAZY_LOADED_FROM] = load.lazy
        elif load.eager:
            attributes[semconv.QUERY_EAGER_LOADED] = load.eager
        place = _put_place(attributes, options)
        same_as = identity(text, parameters, load.state) if statement.reads_only else None
        span = light.start(statement.summary or "query", SpanKind.CLIENT, attributes, SCOPE)
        loads.started(span, context)
        _keep(span, connection, text, parameters, context, executemany)
        return cls(span, statement, place, same_as, options)

    def end(self, cursor: Any) -> None:
        """The statement has been executed; rows may still be fetched."""
        if not self._running:
            return
        results.executed(self._span, cursor)
        # A statement that returns rows has not changed all of them yet.
        if self._statement.operation in _CHANGES and cursor.description is None:
            affected = getattr(cursor, "rowcount", -1)
            if isinstance(affected, int) and affected >= 0:
                self._span.set_attribute(semconv.QUERY_AFFECTED_ROWS, affected)
        self._finish()

    def fail(self, error: BaseException) -> None:
        """The statement, or fetching from it, has raised."""
        if not self._running:
            return
        self._span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
        code = database.error_code(error)
        if code:
            self._span.set_attribute(semconv.DB_RESPONSE_STATUS_CODE, code)
        self._span.set_status(StatusCode.ERROR)
        exceptions.record(self._span, error)
        self._finish()

    def fetched(self, rows: int, fetched: Any = None) -> None:
        """Count rows that the app has got: one, or a list of them."""
        if rows and not self._rows:
            results.first_fetched(self._span, fetched)
        self._rows += rows
        light.late(self._span, semconv.DB_RESPONSE_RETURNED_ROWS, self._rows)

    def __del__(self) -> None:
        # Another listener raised, or SQLAlchemy met an error within an error: no event told the end.
        try:
            if self._running:
                self._span.end()
        except Exception:
            guard.failed("end of a query that nobody ended")

    def _finish(self) -> None:
        self._running = False
        span = self._span
        span.end()
        record = records.current()
        if not isinstance(span, light.LightSpan) or record is None or record.closed:
            return
        nanoseconds = (span.end_time or 0) - span.start_time
        queries = Queries.of(record, self._options)
        queries.count += 1
        queries.nanoseconds += nanoseconds
        if self._statement.reads_only and not is_bulk(span.attributes, self._statement):
            self._flag(span.attributes, queries.detector, nanoseconds)

    def _flag(self, attributes: dict[str, Any], detector: Detector, nanoseconds: int) -> None:
        fingerprint = self._statement.fingerprint
        if detector.is_duplicate(fingerprint, self._place, self._identity):
            attributes[semconv.QUERY_DUPLICATE] = True
        repeat = detector.observe(fingerprint, self._place, self._identity, nanoseconds)
        if repeat is not None:
            attributes[semconv.N_PLUS_ONE] = True
            attributes[semconv.N_PLUS_ONE_GROUP] = repeat.group
            attributes[semconv.N_PLUS_ONE_POSITION] = repeat.position
            attributes[semconv.N_PLUS_ONE_RULE] = repeat.rule


def _keep(
    span: Span, connection: Any, text: str, parameters: Any, context: Any, executemany: bool
) -> None:
    """Keep the query as it is bound, for EXPLAIN."""
    try:
        if span.is_recording():
            where = span.get_span_context()
            kept.remember(where, connection.engine, text, parameters, context, executemany)
    except Exception:  # the query is worth more than its plan
        guard.failed("keeping a query for EXPLAIN")


def _put_place(attributes: dict[str, Any], options: Settings) -> str:
    """Write the call site down; returns it as the N+1 rule's key, empty when there is none."""
    try:
        stack = callsite.stack()
    except Exception:  # the query is worth more than its place
        guard.failed("call site of a query")
        return ""
    if stack is None:
        return ""
    innermost = stack.places[0]
    attributes[semconv.CODE_FILE_PATH] = innermost.file
    attributes[semconv.CODE_LINE_NUMBER] = innermost.line
    attributes[semconv.CODE_FUNCTION_NAME] = innermost.function
    if options.stacks:
        attributes[semconv.CODE_STACKTRACE] = stack.text
    return stack.key
