"""The queries of the trace: what repeats first, then by statement, then all in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from otel_toolbar import semconv
from otel_toolbar.insights import hints, reading, repeats
from otel_toolbar.insights.hint import Figure
from otel_toolbar.insights.n_plus_one import NPlusOne as Repeated
from otel_toolbar.insights.n_plus_one import find, read_statement
from otel_toolbar.insights.sql_text import filled_in
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.panels.contract import Badge, Level
from otel_toolbar.panels.shared import (
    Field,
    Place,
    editor_link,
    exception,
    grouped,
    offset,
    place,
    seconds,
    stack,
    title,
)
from otel_toolbar.settings import Settings

from . import groups, listing, transactions
from .transactions import Boundary, Transaction

_DEEPEST = 12
"""Spans around a query that are named."""


@dataclass(frozen=True)
class Around:
    """A span that a query ran in: a template, a task, a dependency, the app's own."""

    id: str
    name: str
    kind: str
    """template, task, job, websocket, http or span."""


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
    around: tuple[Around, ...]
    """What it ran in within the request, nearest first."""
    process: str
    """Id of the process that made it, where that is told."""
    transaction: int
    """Number of its transaction, 0 where there was none or that is not known."""
    lazy: str
    """`Model.relationship` whose lazy load made it."""
    error: str
    error_code: str
    """The database's own code: a SQLSTATE, a number."""
    error_type: str
    """Class of the exception."""
    reads_only: bool
    """It changes nothing, and its plan can be asked for."""
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
        values = {field.name: field.value for field in self.parameters}
        return filled_in(self.statement, values, self.system)

    @property
    def searched(self) -> str:
        """In what a filter by text looks."""
        at = f"{self.place.path}:{self.place.line} {self.place.function}" if self.place else ""
        values = " ".join(field.value for field in self.parameters)
        within = " ".join(each.name for each in self.around)
        return f"{self.summary} {self.statement} {at} {values} {within} {self.error}".lower()


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
    process: str
    """Id of the process that made them, where that is told."""
    queries: tuple[int, ...]


@dataclass(frozen=True)
class Hint:
    """What could be better, with what shows it."""

    rule: str
    title: str
    severity: str
    """info or warn."""
    evidence: str
    figures: tuple[Figure, ...]
    fix: str
    link: str
    """A page that explains it."""
    place: Place | None
    process: str
    queries: tuple[int, ...]
    """Positions of the queries that it is about."""


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
    hints: tuple[Hint, ...]
    statements: tuple[StatementGroup, ...]
    queries: tuple[Query, ...]
    transactions: tuple[Transaction, ...]
    boundaries: tuple[Boundary, ...]
    """Where transactions begin and end, in order of start; they are no queries."""

    def listed(self, asked: Mapping[str, str]) -> listing.Listing:
        """The part of the list that a page's parameters ask for."""
        return listing.select(self.queries, self.boundaries, asked)


def view(trace: Trace, settings: Settings) -> QueriesView:
    spans = reading.queries(trace)
    whole = trace.main.duration_at(trace.now) if trace.main else 0
    findings = find(trace, settings.n_plus_one, settings.n_plus_one_duration * 1_000_000)
    sorted_ = transactions.sort(trace, spans)
    marks = _Marks(
        n_plus_one=repeats.groups(findings.n_plus_one),
        duplicates=groups.duplicates(findings),
        transactions=sorted_.of,
        around=_Surroundings(trace),
        whole=whole,
    )
    queries = tuple(
        _query(trace, span, position, marks, settings) for position, span in enumerate(spans, 1)
    )
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
        hints=_hints(trace, by_span, settings),
        statements=statements,
        queries=queries,
        transactions=transactions.shown(trace, sorted_),
        boundaries=tuple(sorted_.boundaries),
    )


def badge(view: QueriesView) -> Badge:
    warned = bool(view.slow) or any(group.level == "warn" for group in view.n_plus_one)
    return _badge(view.count, bool(view.errors), warned)


def glance(trace: Trace, settings: Settings) -> Badge:
    queries = reading.queries(trace)
    within = [span for span in queries if not span.flag(semconv.DETACHED)]
    limit = settings.slow_query * 1_000_000
    found = find(trace, settings.n_plus_one, settings.n_plus_one_duration * 1_000_000)
    return _badge(
        max(_told(trace.main), len(within)),
        any(map(reading.failed, queries)),
        any(span.duration_at(trace.now) >= limit for span in within)
        or any(group.warning for group in found.n_plus_one),
    )


def _badge(count: int, failed: bool, warned: bool) -> Badge:
    if not count:
        return Badge()
    return Badge(f"{count:,}", "error" if failed else "warn" if warned else "ok")


def _told(main: Span | None) -> int:
    return max(0, main.integer(semconv.QUERIES_COUNT) or 0) if main else 0


def _share(part: float, whole: int) -> float:
    return max(0.0, min(1.0, part / whole)) if whole > 0 else 0.0


class _Surroundings:
    """What queries ran in, found once for all that share a parent."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._known: dict[str, tuple[Around, ...]] = {}

    def of(self, span: Span) -> tuple[Around, ...]:
        parent = span.parent_id or ""
        if parent not in self._known:
            self._known[parent] = tuple(self._walk(span))
        return self._known[parent]

    def _walk(self, span: Span) -> Iterator[Around]:
        for above in islice(self._trace.ancestors(span), _DEEPEST):
            if above.kind is Kind.SERVER or above is self._trace.main:
                return
            yield Around(above.span_id, title(above), _kind_of(above))


def _kind_of(span: Span) -> str:
    category = reading.category(span)
    if category != "template" and semconv.ASYNCIO_TASK_NAME in span.attributes:
        return "task"
    return "span" if category in ("internal", "server", "db") else category


class _Marks(NamedTuple):
    """What the other queries say about one."""

    n_plus_one: Mapping[str, str]
    """Groups by span id."""
    duplicates: frozenset[str]
    transactions: Mapping[str, int]
    around: _Surroundings
    whole: int
    """ns of the request."""


def _query(trace: Trace, span: Span, position: int, marks: _Marks, settings: Settings) -> Query:
    statement = reading.statement(span)
    system, database = reading.database(span)
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
        system=system,
        database=database,
        parameters=_parameters(span),
        more_parameters=max(0, reading.integer(span, semconv.QUERY_PARAMETERS_MORE) or 0),
        batch=reading.integer(span, semconv.DB_OPERATION_BATCH_SIZE),
        rows=reading.integer(span, semconv.DB_RESPONSE_RETURNED_ROWS),
        affected=reading.integer(span, semconv.QUERY_AFFECTED_ROWS),
        place=place(span, settings),
        stack=stack(span, settings),
        around=marks.around.of(span),
        process=_process(span),
        transaction=marks.transactions.get(span.span_id, 0),
        lazy=reading.text(span, semconv.QUERY_LAZY_LOADED_FROM),
        error=exception(span),
        error_code=reading.text(span, semconv.DB_RESPONSE_STATUS_CODE),
        error_type=reading.text(span, semconv.ERROR_TYPE),
        reads_only=bool(statement) and read_statement(trace, span).reads_only,
        slow=duration >= settings.slow_query * 1_000_000,
        duplicate=span.span_id in marks.duplicates,
        n_plus_one=marks.n_plus_one.get(span.span_id, ""),
        statement_group=groups.fingerprint(trace, span),
    )


def _parameters(span: Span) -> tuple[Field, ...]:
    """In their order: those with names stand in the order of their placeholders."""
    values = span.below(semconv.DB_QUERY_PARAMETER)
    if not values:
        return ()
    ordered = sorted(values.items(), key=lambda item: _index(item[0]))
    return tuple(Field(name, reading.as_text(value)) for name, value in ordered)


def _index(name: str) -> int:
    return int(name) if name.isdecimal() and len(name) < 9 else 0


def _process(span: Span) -> str:
    told = span.resource.get(semconv.PROCESS_ID)
    return told if isinstance(told, str) else ""


def _hints(trace: Trace, by_span: Mapping[str, Query], settings: Settings) -> tuple[Hint, ...]:
    return tuple(
        Hint(
            rule=hint.rule,
            title=hint.title,
            severity=hint.severity,
            evidence=hint.evidence,
            figures=hint.figures,
            fix=hint.fix,
            link=hint.link,
            place=hint.place
            and Place(
                hint.place.file,
                hint.place.line,
                hint.place.function,
                editor_link(hint.place.file, hint.place.line, settings.editor),
            ),
            process=_process(trace.by_id[hint.spans[0]]),
            queries=tuple(by_span[span].position for span in hint.spans if span in by_span),
        )
        for hint in hints.find(trace)
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
    by_statement = grouped(queries, lambda query: query.statement_group)
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
        process=first.process,
        queries=tuple(query.position for query in like),
    )
