"""The queries of the trace: what repeats first, then by statement, then all in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.n_plus_one import Findings, find
from otel_toolbar.insights.n_plus_one import NPlusOne as Repeated
from otel_toolbar.insights.sql_text import filled_in
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.contract import Badge, Level
from otel_toolbar.panels.shared import (
    Field,
    Place,
    exception,
    fields,
    offset,
    place,
    seconds,
    stack,
)
from otel_toolbar.settings import Settings

from . import groups


@dataclass(frozen=True)
class Query:
    """One query. Times in s."""

    id: str
    """Of its span."""
    position: int
    """From 1, in order of start."""
    start: float
    """Since the start of the trace."""
    duration: float
    share: float
    """Of the request, 0 to 1."""
    running: bool
    detached: bool
    """Made after the response."""
    summary: str
    """`SELECT users`."""
    statement: str
    operation: str
    system: str
    database: str
    parameters: tuple[Field, ...]
    more_parameters: int
    """Parameters that were not kept."""
    batch: int | None
    """Parameter sets of a batch."""
    rows: int | None
    """Rows fetched."""
    affected: int | None
    """Rows changed."""
    place: Place | None
    stack: tuple[Place, ...]
    lazy: str
    """`Model.relationship` whose lazy load made it."""
    error: str
    slow: bool
    duplicate: bool
    """An earlier query had the same statement and the same parameters."""
    n_plus_one: str
    """Id of its N+1 group, else empty."""
    statement_group: str
    """Id of its group of like statements."""

    @property
    def filled_in(self) -> str:
        """The statement with its parameters, to paste into a database shell.

        No field: of thousands of queries only those on the page are worth the work.
        """
        return filled_in(self.statement, {field.name: field.value for field in self.parameters})


@dataclass(frozen=True)
class StatementGroup:
    """Queries that differ in their literals and parameters at most."""

    id: str
    statement: str
    """Of the first one."""
    summary: str
    count: int
    duplicates: int
    """Of them, repeats with the same parameters."""
    duration: float
    """Together."""
    longest: float
    share: float
    rows: int | None
    errors: int
    slow: int
    places: tuple[Place, ...]
    queries: tuple[int, ...]
    """Their positions."""


@dataclass(frozen=True)
class NPlusOne:
    """Like queries from one place in the code, where one query would do."""

    id: str
    count: int
    duration: float
    share: float
    level: Level
    """info, or warn when there are many or they take long."""
    rule: str
    """`repeat`, `count` or `duration`: what was reached."""
    distinct: int
    """Sets of parameters."""
    statement: str
    summary: str
    place: Place | None
    lazy: str
    hint: str
    """How to fix it."""
    code: str
    """The fix as code, where it can be told."""
    queries: tuple[int, ...]


@dataclass(frozen=True)
class QueriesView:
    """All of them; `found` is False without any."""

    found: bool
    running: bool
    count: int
    """Made before the response was complete; those that were not kept as spans included."""
    afterwards: int
    """Made by work after the response; no other figure counts them."""
    duration: float
    """In queries, together; more than the request's when they overlap."""
    share: float
    """Of the request that was spent waiting for at least one query."""
    rows: int
    slow: int
    duplicates: int
    similar: int
    """Repeats of a statement with other parameters."""
    errors: int
    dropped: int
    systems: tuple[str, ...]
    n_plus_one: tuple[NPlusOne, ...]
    statements: tuple[StatementGroup, ...]
    queries: tuple[Query, ...]


def view(trace: Trace, settings: Settings) -> QueriesView:
    spans = [span for span in trace.spans if reading.is_query(span)]
    whole = trace.main.duration_at(trace.now) if trace.main else 0
    findings = find(trace, settings.n_plus_one, settings.n_plus_one_duration * 1_000_000)
    queries = _queries(trace, spans, findings, whole, settings)
    by_span = dict(zip((span.span_id for span in spans), queries, strict=True))
    within = [query for query in queries if not query.detached]
    statements = _statements(queries, whole)
    told = _told(trace.main)
    return QueriesView(
        found=bool(queries) or told > 0,
        running=trace.running,
        count=max(told, len(within)),
        afterwards=len(queries) - len(within),
        duration=sum(query.duration for query in within),
        share=_share(groups.union(trace, spans), whole),
        rows=sum(query.rows or 0 for query in within),
        slow=sum(query.slow for query in within),
        duplicates=sum(query.duplicate for query in within),
        similar=_similar(within),
        errors=sum(bool(query.error) for query in queries),
        dropped=max(0, told - len(within)),
        systems=tuple(sorted({query.system for query in queries if query.system})),
        n_plus_one=tuple(_n_plus_one(found, by_span, whole) for found in findings.n_plus_one),
        statements=statements,
        queries=queries,
    )


def badge(view: QueriesView) -> Badge:
    if not view.count:
        return Badge()
    warned = view.slow or any(group.level == "warn" for group in view.n_plus_one)
    return Badge(f"{view.count:,}", "error" if view.errors else "warn" if warned else "ok")


def _told(main: Span | None) -> int:
    return max(0, main.integer(semconv.QUERIES_COUNT) or 0) if main else 0


def _share(part: float, whole: int) -> float:
    return max(0.0, min(1.0, part / whole)) if whole > 0 else 0.0


def _queries(
    trace: Trace, spans: Sequence[Span], findings: Findings, whole: int, settings: Settings
) -> tuple[Query, ...]:
    repeats = {span.span_id: found.group for found in findings.n_plus_one for span in found.spans}
    again = groups.duplicates(findings)
    marks = _Marks(repeats, again, whole)
    return tuple(
        _query(trace, span, position, marks, settings) for position, span in enumerate(spans, 1)
    )


class _Marks(NamedTuple):
    """What the other queries say about one."""

    n_plus_one: Mapping[str, str]
    """Groups by span id."""
    duplicates: frozenset[str]
    whole: int
    """ns of the request."""


def _query(trace: Trace, span: Span, position: int, marks: _Marks, settings: Settings) -> Query:
    statement = reading.statement(span)
    parameters = fields(span.below(semconv.DB_QUERY_PARAMETER))
    duration = span.duration_at(trace.now)
    return Query(
        id=span.span_id,
        position=position,
        start=offset(trace, span),
        duration=seconds(duration),
        share=_share(duration, marks.whole),
        running=span.running,
        detached=span.flag(semconv.DETACHED),
        summary=_summary(span),
        statement=statement,
        operation=reading.operation(span).upper(),
        system=reading.database_system(span),
        database=reading.text(span, semconv.DB_NAMESPACE, semconv.OLD_DB_NAME),
        parameters=parameters,
        more_parameters=max(0, reading.integer(span, semconv.QUERY_PARAMETERS_MORE) or 0),
        batch=reading.integer(span, semconv.DB_OPERATION_BATCH_SIZE),
        rows=reading.integer(span, semconv.DB_RESPONSE_RETURNED_ROWS),
        affected=reading.integer(span, semconv.QUERY_AFFECTED_ROWS),
        place=place(span, settings),
        stack=stack(span, settings),
        lazy=reading.text(span, semconv.QUERY_LAZY_LOADED_FROM),
        error=exception(span),
        slow=duration >= settings.slow_query * 1_000_000,
        duplicate=span.span_id in marks.duplicates,
        n_plus_one=marks.n_plus_one.get(span.span_id, ""),
        statement_group=groups.fingerprint(trace, span),
    )


def _similar(queries: Sequence[Query]) -> int:
    """Repeats of a statement that are no duplicates."""
    statements = {query.statement_group for query in queries}
    return len(queries) - len(statements) - sum(query.duplicate for query in queries)


def _summary(span: Span) -> str:
    told = reading.text(span, semconv.DB_QUERY_SUMMARY)
    table = reading.text(span, semconv.DB_COLLECTION_NAME, semconv.OLD_DB_SQL_TABLE)
    return told or f"{reading.operation(span).upper()} {table}".strip() or span.name


def _statements(queries: Iterable[Query], whole: int) -> tuple[StatementGroup, ...]:
    by_statement: dict[str, list[Query]] = {}
    for query in queries:
        by_statement.setdefault(query.statement_group, []).append(query)
    found = [_statement(group, like, whole) for group, like in by_statement.items()]
    return tuple(sorted(found, key=lambda group: -group.duration))


def _statement(group: str, like: Sequence[Query], whole: int) -> StatementGroup:
    first, duration = like[0], sum(query.duration for query in like)
    rows = [query.rows for query in like if query.rows is not None]
    return StatementGroup(
        id=group,
        statement=first.statement,
        summary=first.summary,
        count=len(like),
        duplicates=sum(query.duplicate for query in like),
        duration=duration,
        longest=max(query.duration for query in like),
        share=_share(duration * 1e9, whole),
        rows=sum(rows) if rows else None,
        errors=sum(bool(query.error) for query in like),
        slow=sum(query.slow for query in like),
        places=tuple(dict.fromkeys(query.place for query in like if query.place)),
        queries=tuple(query.position for query in like),
    )


def _n_plus_one(found: Repeated, by_span: dict[str, Query], whole: int) -> NPlusOne:
    like = sorted((by_span[span.span_id] for span in found.spans), key=lambda q: q.position)
    first = like[0]
    hint, code = groups.fix(found.relationship, first.operation)
    return NPlusOne(
        id=found.group,
        count=len(like),
        duration=seconds(found.duration),
        share=_share(found.duration, whole),
        level="warn" if found.warning else "info",
        rule=found.rule,
        distinct=found.distinct,
        statement=first.statement,
        summary=first.summary,
        place=first.place,
        lazy=found.relationship,
        hint=hint,
        code=code,
        queries=tuple(query.position for query in like),
    )
