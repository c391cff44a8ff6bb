"""The queries of a trace by what ran from where: what a rule looks at once, not once for each query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.insights.hint import place
from otel_toolbar.insights.n_plus_one import is_bulk, read_statement
from otel_toolbar.model import Span, Trace


@dataclass(frozen=True)
class Site:
    """Executions of like statements from one line of the app, within one request."""

    spans: tuple[Span, ...]
    """In order of start; none of them runs."""
    statement: Statement
    """Of the first one."""

    @property
    def first(self) -> Span:
        return self.spans[0]

    @property
    def system(self) -> str:
        """`postgresql`, `mysql`, ...; empty when it is not known."""
        return reading.database_system(self.first)

    @cached_property
    def rows(self) -> int | None:
        """Rows that the largest execution returned; None when no span says."""
        counts = [span.integer(semconv.DB_RESPONSE_RETURNED_ROWS) for span in self.spans]
        return max((count for count in counts if count is not None), default=None)

    @cached_property
    def largest(self) -> Span:
        """The execution that returned most rows."""
        return max(
            self.spans, key=lambda span: span.integer(semconv.DB_RESPONSE_RETURNED_ROWS) or 0
        )

    @cached_property
    def seconds(self) -> float:
        """Spent in them, together."""
        return sum(span.duration_at(span.end or span.start) for span in self.spans) / 1e9

    @property
    def loads_relationship(self) -> bool:
        """The ORM made it, for a relationship."""
        marks = (semconv.QUERY_EAGER_LOADED, semconv.QUERY_LAZY_LOADED_FROM)
        return any(mark in self.first.attributes for mark in marks)

    @property
    def is_bulk(self) -> bool:
        """It is about many given items at once."""
        return is_bulk(self.first.attributes, self.statement)


def of(trace: Trace) -> tuple[Site, ...]:
    """All sites of a trace, in order of their first query. Failed queries are not in them."""
    if of not in trace.memo:
        trace.memo[of] = _sites(trace)
    return trace.memo[of]


def _sites(trace: Trace) -> tuple[Site, ...]:
    groups: dict[object, list[Span]] = {}
    statements: dict[object, Statement] = {}
    for span in trace.spans:
        if span.running or reading.failed(span) or not reading.is_query(span):
            continue
        statement = read_statement(trace, span)
        owner = trace.owners.get(span.span_id)
        key = (owner and owner.span_id, statement.fingerprint, place(span))
        groups.setdefault(key, []).append(span)
        statements.setdefault(key, statement)
    return tuple(Site(tuple(spans), statements[key]) for key, spans in groups.items())
