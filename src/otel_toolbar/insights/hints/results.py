"""Results that are larger than what is needed of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.model import Span, Trace

from . import sites, structure
from .sites import Site

MANY_ROWS: Final = 500
"""Rows of a result without LIMIT that are worth knowing of."""
TOO_MANY_ROWS: Final = 5_000
"""As many are a warning."""

DEEP: Final = 1_000
"""Rows skipped by OFFSET that are worth knowing of."""
TOO_DEEP: Final = 10_000

LONG_LIST: Final = 300
"""Values of an IN list that are worth knowing of."""
TOO_LONG_LIST: Final = 1_000

WIDE: Final = 1_024
"""Bytes of a row from which `SELECT *` is worth knowing of."""
MANY_COLUMNS: Final = 20
ENOUGH_ROWS: Final = 50
HEAVY: Final = 2**20
"""Bytes of a result from which it is a warning."""

_BOUNDED = re.compile(r"\b(LIMIT|FETCH|TOP)\b", re.IGNORECASE)
_OFFSET = re.compile(r"\bOFFSET\b|\bLIMIT\b[^,]*,", re.IGNORECASE)
_STAR = re.compile(r"^\s*SELECT\s+(DISTINCT\s+)?(\w+\s*\.\s*)?\*\s*(,|FROM\b)", re.IGNORECASE)


def _missing_limit(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        rows = site.rows or 0
        if rows >= MANY_ROWS and _could_be_limited(site):
            yield MISSING_LIMIT.hint(
                [site.largest],
                f"{rows:,} rows of {site.statement.target or 'the result'} were fetched, and nothing"
                " in the statement bounds them.",
                [
                    Figure("rows", rows),
                    *_size(site.largest, rows),
                    Figure("time", site.seconds, "s"),
                ],
                severity="warn" if rows >= TOO_MANY_ROWS else "info",
            )


def _could_be_limited(site: Site) -> bool:
    selects = site.statement.operation == "SELECT" and not site.is_bulk
    return (
        selects and not site.loads_relationship and not _BOUNDED.search(site.statement.normalized)
    )


def _size(span: Span, rows: int) -> list[Figure]:
    width = span.integer(semconv.QUERY_ROW_SIZE)
    return [] if width is None else [Figure("size, from the first row", width * rows, "By")]


def _deep_offset(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        if not _OFFSET.search(site.statement.text):
            continue
        skipped = {span.span_id: _skipped(trace, span) for span in site.variants}
        deepest = max(site.variants, key=lambda span: skipped[span.span_id])
        rows = skipped[deepest.span_id]
        if rows >= DEEP:
            yield DEEP_OFFSET.hint(
                [deepest],
                f"OFFSET {rows:,}: so many rows are found, sorted and thrown away before the first one"
                f" that is returned; {_returned(deepest)}.",
                [Figure("rows skipped", rows), Figure("time", site.seconds, "s")],
                severity="warn" if rows >= TOO_DEEP else "info",
            )


def _returned(span: Span) -> str:
    rows = span.integer(semconv.DB_RESPONSE_RETURNED_ROWS)
    took = f"it took {span.duration_at(span.end or span.start) / 1e6:.1f} ms"
    return took if rows is None else f"{rows:,} were returned, {took}"


def _skipped(trace: Trace, span: Span) -> int:
    from sqlglot import exp

    parsed = structure.of(trace, span)
    if parsed is None:
        return 0
    offsets = (
        parsed.whole_number(each.expression, span) for each in parsed.tree.find_all(exp.Offset)
    )
    return max((rows for rows in offsets if rows is not None), default=0)


def _long_list(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        values = max(sites.statement(trace, span).longest_list for span in site.variants)
        if values >= LONG_LIST and site.statement.reads_only and not site.loads_relationship:
            yield LONG_IN_LIST.hint(
                site.spans,
                f"A list of {values:,} values is sent, parsed and planned each time; the statement is"
                f" {len(site.statement.text):,} characters long.",
                [Figure("values", values), Figure("time", site.seconds, "s")],
                severity="warn" if values >= TOO_LONG_LIST else "info",
            )


def _select_star(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        rows = site.rows or 0
        if rows < ENOUGH_ROWS or not _STAR.match(site.statement.text):
            continue
        columns = site.largest.integer(semconv.QUERY_COLUMNS) or 0
        width = site.largest.integer(semconv.QUERY_ROW_SIZE) or 0
        if columns >= MANY_COLUMNS or width >= WIDE:
            yield SELECT_STAR.hint(
                [site.largest],
                f"{rows:,} rows of {columns} columns were fetched with `*`, about {width:,} bytes each.",
                [Figure("rows", rows), Figure("columns", columns), *_size(site.largest, rows)],
                severity="warn" if width * rows >= HEAVY else "info",
            )


MISSING_LIMIT: Final = Rule(
    id="missing-limit",
    title="Result without a bound",
    when=f"{MANY_ROWS:,} rows or more came back (a warning from {TOO_MANY_ROWS:,}) and the statement"
    " has no LIMIT. Not: eager and lazy loads, lists of given keys.",
    evidence="Rows, bytes, time.",
    fix="Page it: `.limit(n)`, by a key that goes on where the last page ended; for an export,"
    " stream it with `yield_per`.",
    link="https://use-the-index-luke.com/sql/partial-results/top-n-queries",
    find=_missing_limit,
)
DEEP_OFFSET: Final = Rule(
    id="deep-offset",
    title="Deep OFFSET",
    when=f"OFFSET is {DEEP:,} or more, in the text or as a bound parameter (a warning from {TOO_DEEP:,}).",
    evidence="Rows skipped, time.",
    fix="Go on after the last row seen: `WHERE (created, id) < (?, ?) ORDER BY created DESC, id DESC"
    " LIMIT n`.",
    link="https://use-the-index-luke.com/no-offset",
    find=_deep_offset,
)
LONG_IN_LIST: Final = Rule(
    id="long-in-list",
    title="Long IN list",
    when=f"An IN list of a statement that reads has {LONG_LIST} values or more (a warning from"
    f" {TOO_LONG_LIST:,}). Not: SQLAlchemy's eager loads, rows of an INSERT.",
    evidence="Values, length of the statement, time.",
    fix="Join with the table or subquery that the values come from; on PostgreSQL pass one array:"
    " `= ANY(?)`.",
    link="https://www.postgresql.org/docs/current/functions-comparisons.html",
    find=_long_list,
)
SELECT_STAR: Final = Rule(
    id="select-star",
    title="All columns of wide rows",
    when=f"With `*`, {ENOUGH_ROWS} rows or more were fetched that have {MANY_COLUMNS} columns or"
    f" {WIDE:,} bytes (a warning from 1 MiB together). Not: narrow rows, `count(*)`.",
    evidence="Rows, columns, bytes.",
    fix="Name the columns that are used: fewer bytes, and an index may hold them all.",
    link="https://use-the-index-luke.com/sql/clustering/index-only-scan-covering-index",
    find=_select_star,
)

RULES: Final = (MISSING_LIMIT, DEEP_OFFSET, LONG_IN_LIST, SELECT_STAR)
