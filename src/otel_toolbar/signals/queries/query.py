"""One query while it runs: its span, its rows, and whether it repeats another of its request."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, cast

from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import semconv
from otel_toolbar.insights.fingerprint import Statement, Statements
from otel_toolbar.insights.n_plus_one import Detector, is_bulk
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import callsite, light, masking
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.light import exception_type
from otel_toolbar.version import VERSION

from . import database
from .loading import relationship_load
from .parameters import described, identity

SCOPE = InstrumentationScope("otel_toolbar.signals.queries", VERSION)
SUBJECT = "queries"
_MYSQL = ("mysql", "mariadb")
_statements = Statements(masking.is_secret)


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
        "_attributes", "_identity", "_options", "_place", "_rows", "_running", "_span",
        "_statement", "fetching",
    )  # fmt: skip

    def __init__(
        self,
        span: Span,
        attributes: dict[str, Any],
        statement: Statement,
        place: str,
        same_as: Hashable | None,
        options: Settings,
    ) -> None:
        self._span = span
        self._attributes = attributes
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
        known = database.attributes(connection.engine)
        statement = _statements.analyze(text, known[semconv.DB_SYSTEM_NAME] in _MYSQL)
        attributes: dict[str, Any] = {**known, **_of_statement(statement)}
        if executemany and isinstance(parameters, list):
            attributes[semconv.DB_OPERATION_BATCH_SIZE] = len(cast("list[Any]", parameters))
        else:
            described(attributes, parameters, context, statement)
        load = relationship_load(context)
        if load is not None:
            attributes[load.attribute] = load.relationship
        place = _put_place(attributes, callsite.stack(), options)
        same_as = identity(text, parameters, load.loaded_for if load is not None else 0)
        span = light.start(statement.summary or "query", SpanKind.CLIENT, attributes, SCOPE)
        return cls(span, attributes, statement, place, same_as, options)

    def end(self, cursor: Any) -> None:
        """The statement has been executed; rows may still be fetched."""
        if not self._running:
            return
        affected = getattr(cursor, "rowcount", -1)
        if not self._statement.reads_only and isinstance(affected, int) and affected >= 0:
            light.late(self._span, semconv.QUERY_AFFECTED_ROWS, affected)
        self._finish()

    def fail(self, error: BaseException) -> None:
        """The statement, or fetching from it, has raised."""
        if not self._running:
            return
        self._span.set_attribute(semconv.ERROR_TYPE, exception_type(type(error)))
        code = database.error_code(error)
        if code:
            self._span.set_attribute(semconv.DB_RESPONSE_STATUS_CODE, code)
        self._span.set_status(StatusCode.ERROR)
        light.record_exception(self._span, error)
        self._finish()

    def fetched(self, rows: int) -> None:
        """Count rows that the app has got."""
        self._rows += rows
        light.late(self._span, semconv.DB_RESPONSE_RETURNED_ROWS, self._rows)

    def _finish(self) -> None:
        self._running = False
        self._span.end()
        record = records.current()
        if not isinstance(self._span, light.LightSpan) or record is None or record.closed:
            return
        nanoseconds = (self._span.end_time or 0) - self._span.start_time
        queries = Queries.of(record, self._options)
        queries.count += 1
        queries.nanoseconds += nanoseconds
        if self._statement.reads_only and not is_bulk(self._attributes, self._statement):
            self._judge(queries.detector, nanoseconds)

    def _judge(self, detector: Detector, nanoseconds: int) -> None:
        alike = self._statement.fingerprint, self._place, self._identity
        attributes = self._attributes
        if detector.is_duplicate(*alike):
            attributes[semconv.QUERY_DUPLICATE] = True
        repeat = detector.observe(*alike, nanoseconds)
        if repeat is not None:
            attributes[semconv.N_PLUS_ONE] = True
            attributes[semconv.N_PLUS_ONE_GROUP] = repeat.group
            attributes[semconv.N_PLUS_ONE_POSITION] = repeat.position
            attributes[semconv.N_PLUS_ONE_RULE] = repeat.rule


def _of_statement(statement: Statement) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        semconv.DB_QUERY_TEXT: statement.text,
        semconv.DB_QUERY_SUMMARY: statement.summary,
        semconv.QUERY_FINGERPRINT: statement.fingerprint,
        semconv.DB_OPERATION_NAME: statement.operation,
        semconv.DB_COLLECTION_NAME: statement.target,
    }
    return {key: value for key, value in attributes.items() if value}


def _put_place(
    attributes: dict[str, Any], stack: Sequence[callsite.Place], options: Settings
) -> str:
    """Write the call site down; returns it as the N+1 rule's key."""
    if not stack:
        return ""
    innermost = stack[0]
    attributes[semconv.CODE_FILE_PATH] = innermost.file
    attributes[semconv.CODE_LINE_NUMBER] = innermost.line
    attributes[semconv.CODE_FUNCTION_NAME] = innermost.function
    if options.stacks:
        attributes[semconv.CODE_STACKTRACE] = "\n".join([place.text for place in stack])
    return f"{innermost.file}:{innermost.line}"
