"""The queries of a trace by what ran from where: what a rule looks at once, not once for each query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.insights.hint import place
from otel_toolbar.insights.n_plus_one import is_bulk, read_statement
from otel_toolbar.model import Span, Trace

MAX_VARIANTS: Final = 50
"""Executions of one site that are told apart by their values."""


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
    def variants(self) -> tuple[Span, ...]:
        """The executions whose values are looked at."""
        return self.spans[:MAX_VARIANTS]

    @cached_property
    def rows(self) -> int | None:
        """Rows that the largest execution returned; None when no span says."""
        return self.largest.integer(semconv.DB_RESPONSE_RETURNED_ROWS)

    @cached_property
    def largest(self) -> Span:
        """The execution that returned most rows."""
        return max(self.spans, key=_rows)

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


def _rows(span: Span) -> int:
    rows = span.integer(semconv.DB_RESPONSE_RETURNED_ROWS)
    return -1 if rows is None else rows


def statement(trace: Trace, span: Span) -> Statement:
    """The statement of a query."""
    return read_statement(trace, span)


def of(trace: Trace) -> tuple[Site, ...]:
    """All sites of a trace, in order of their first query. Failed queries are not in them."""
    if of not in trace.memo:
        trace.memo[of] = _sites(trace)
    return trace.memo[of]


def _sites(trace: Trace) -> tuple[Site, ...]:
    groups: dict[object, list[Span]] = {}
    for span in queries(trace):
        owner = trace.owners.get(span.span_id)
        # Of several requests or messages that were not kept, each had its own.
        within = owner.span_id if owner else span.parent_id
        key = (within, statement(trace, span).fingerprint, place(span))
        groups.setdefault(key, []).append(span)
    return tuple(Site(tuple(spans), statement(trace, spans[0])) for spans in groups.values())


def queries(trace: Trace) -> tuple[Span, ...]:
    """The queries of a trace that have ended well, in order of start."""
    if queries not in trace.memo:
        trace.memo[queries] = tuple(
            span
            for span in trace.spans
            if not span.running and not reading.failed(span) and reading.is_query(span)
        )
    return trace.memo[queries]
