"""Queries that are too many or too slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import n_plus_one, reading
from otel_toolbar.insights.hint import Figure, Hint, Rule, place
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.settings import Settings


def _n_plus_one(trace: Trace, settings: Settings) -> Iterator[Hint]:
    limit = settings.n_plus_one_duration * 1_000_000
    groups = [
        group
        for group in n_plus_one.find(trace, settings.n_plus_one, limit).n_plus_one
        if group.warning
    ]
    for group in groups:
        what = group.relationship or n_plus_one.read_statement(trace, group.spans[0]).summary
        yield N_PLUS_ONE.hint(
            group.spans,
            f"{what}: {len(group.spans):,} queries from one place, {group.duration / 1e6:.1f} ms"
            " together.",
            [Figure("queries", len(group.spans)), Figure("time", group.duration / 1e9, "s")],
            severity="warn",
            fix=_eager(group.relationship),
        )
    counted = [span for span in trace.spans if _told(span)]
    more = sum(map(_told, counted)) - len(groups)
    if more > 0:
        yield N_PLUS_ONE.hint(
            counted,
            f"{more:,} more were counted, whose queries are not in the trace.",
            [Figure("groups", more)],
            severity="warn",
        )


def _told(span: Span) -> int:
    """What an entry span itself says: it counts what was not kept, too."""
    entry = span.kind in (Kind.SERVER, Kind.CONSUMER)
    return max(0, span.integer(semconv.N_PLUS_ONE_COUNT) or 0) if entry else 0


def _eager(relationship: str) -> str:
    return f"Load it with the query above: `selectinload({relationship})`." if relationship else ""


def _slow(trace: Trace, settings: Settings) -> Iterator[Hint]:
    limit = settings.slow_query * 1_000_000
    groups: dict[object, list[Span]] = {}
    for span in reading.queries(trace):
        if span.duration_at(trace.now) >= limit and not span.flag(semconv.DETACHED):
            statement = n_plus_one.read_statement(trace, span)
            groups.setdefault((statement.fingerprint, place(span)), []).append(span)
    for spans in groups.values():
        slowest = max(span.duration_at(trace.now) for span in spans) / 1e9
        what = n_plus_one.read_statement(trace, spans[0]).summary or spans[0].name
        times = f", the slowest of {len(spans):,} slow ones" if len(spans) > 1 else ""
        yield SLOW_QUERY.hint(
            spans,
            f"{what} took {slowest * 1000:.0f} ms{times}; the limit is {settings.slow_query} ms.",
            [Figure("time", slowest, "s"), Figure("queries", len(spans))],
            severity="warn",
        )


N_PLUS_ONE: Final = Rule(
    id="n-plus-one",
    title="N+1 queries",
    when="Like queries with different parameters from one place reached `OTEL_TOOLBAR_N_PLUS_ONE`"
    " in number or `OTEL_TOOLBAR_N_PLUS_ONE_DURATION` in time. Not: eager loads, batches, exact"
    " repeats alone, work after the response.",
    evidence="Relationship or statement, queries, time.",
    fix="Fetch for all items at once: `WHERE key IN (...)`, or load the relationship eagerly.",
    link="https://docs.sqlalchemy.org/en/20/orm/queryguide/relationships.html",
    find=_n_plus_one,
)
SLOW_QUERY: Final = Rule(
    id="slow-query",
    title="Slow query",
    when="A query took `OTEL_TOOLBAR_SLOW_QUERY` or longer; like ones from one line are one alert."
    " Not: work after the response, transactions, connecting.",
    evidence="Statement, the longest time, how many.",
    fix="Look at its plan with EXPLAIN: an index, fewer rows or fewer columns make it quick.",
    link="https://use-the-index-luke.com/sql/explain-plan",
    find=_slow,
)

RULES: Final = (N_PLUS_ONE, SLOW_QUERY)
