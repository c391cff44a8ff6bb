"""Conditions that no ordinary index can serve.

They only speak where nothing else in the WHERE narrows the rows down: with `customer_id = ? AND name
LIKE '%x%'` the index on the first is what counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.model import Span, Trace

from . import sites, structure
from .sites import Site
from .structure import Parsed

if TYPE_CHECKING:
    from sqlglot import exp

SLOW: Final = 0.1
"""Seconds of one execution from which a condition is a warning."""

_MAY_MATCH = re.compile(r"\bI?LIKE\b", re.IGNORECASE)
_MAY_COMPUTE = re.compile(
    r"\bWHERE\b.*(\b(?!IN\b|AND\b|OR\b|NOT\b|EXISTS\b|WHERE\b|ANY\b|ON\b)\w+\s?\(|\s[+*/-]\s|\|\|)",
    re.IGNORECASE | re.DOTALL,
)


def _leading_wildcard(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        if not _MAY_MATCH.search(site.statement.text):
            continue
        for span in site.variants:
            parsed = structure.of(trace, span)
            column = parsed and _scanned_pattern(parsed, span)
            if column:
                yield _of_condition(
                    LEADING_WILDCARD, site, span, f"The pattern for {column} begins"
                )
                break


def _of_condition(rule: Rule, site: Site, span: Span, what: str) -> Hint:
    said = {LEADING_WILDCARD.id: " with a wildcard", FUNCTION_ON_COLUMN.id: ""}[rule.id]
    rows = site.rows
    fetched = "" if rows is None else f" {rows:,} row{'s' * (rows != 1)} came back;"
    longest = max(each.duration_at(each.end or each.start) for each in site.spans) / 1e9
    figures = [Figure("time", longest, "s")]
    figures += [] if rows is None else [Figure("rows", rows)]
    return rule.hint(
        [span, *(each for each in site.spans if each is not span)],
        f"{what}{said}, and nothing else in the WHERE narrows the rows of"
        f" {site.statement.target or 'the table'} down:{fetched} it took {longest * 1000:.1f} ms.",
        figures,
        severity="warn" if longest >= SLOW else "info",
    )


def _scanned_pattern(parsed: Parsed, span: Span) -> str:
    """The column of a LIKE whose pattern begins with a wildcard, empty without one that matters."""
    from sqlglot import exp

    for where in parsed.tree.find_all(exp.Where):
        if _is_narrowed(where):
            continue
        for like in structure.own(where, exp.Like, exp.ILike):
            column = like.this.find(exp.Column)
            negated = like.args.get("negate") or isinstance(like.parent, exp.Not)
            if column is not None and not negated and _begins_with_wildcard(like, parsed, span):
                return column.name
    return ""


def _begins_with_wildcard(like: exp.Expr, parsed: Parsed, span: Span) -> bool:
    from sqlglot import exp

    node = structure.inner(like.expression)
    while isinstance(node, (exp.DPipe, exp.Lower, exp.Upper)):
        node = structure.inner(node.this)
    if isinstance(node, exp.Concat):
        node = structure.inner(node.expressions[0])
    value = parsed.value(node, span)
    return value is not None and value[:1] in ("%", "_")


def _function_on_column(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        if not _MAY_COMPUTE.search(site.statement.text):
            continue
        parsed = structure.of(trace, site.first)
        computed = parsed and _computed(parsed, site.first)
        if computed:
            yield _of_condition(
                FUNCTION_ON_COLUMN, site, site.first, f"`{computed}` is compared, not the column"
            )


def _computed(parsed: Parsed, span: Span) -> str:
    """The expression over a column that is compared with a value, empty without one that matters."""
    from sqlglot import exp

    for where in parsed.tree.find_all(exp.Where):
        if _is_narrowed(where):
            continue
        for part in structure.conjuncts(where.this):
            compared = part.this if isinstance(part, _comparisons()) else None
            if compared is None or (
                isinstance(part, exp.Binary) and structure.has_column(part.expression)
            ):
                continue
            wildcard = isinstance(part, (exp.Like, exp.ILike)) and _begins_with_wildcard(
                part, parsed, span
            )
            if _is_computed(compared) and not wildcard:
                return _readable(compared)
    return ""


def _readable(node: exp.Expr) -> str:
    return re.sub(r":p_\d+", "?", node.sql())[:80]


def _is_computed(node: exp.Expr) -> bool:
    """A function or a calculation over a column; not JSON's, whose indexes are expressions anyway."""
    from sqlglot import exp

    node = node.this if isinstance(node, exp.Paren) else node
    known = isinstance(node, (exp.Func, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.DPipe))
    other = (exp.JSONExtract, exp.JSONExtractScalar, exp.AggFunc, exp.Case, exp.Connector)
    return known and not isinstance(node, other) and structure.has_column(node)


def _comparisons() -> tuple[type[exp.Expr], ...]:
    from sqlglot import exp

    return (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between, exp.Like, exp.ILike)


def _is_narrowed(where: exp.Expr) -> bool:
    """True when an index on some column could serve one of the conditions that have to hold."""
    nested = where.find_ancestor(*_queries()) is not where.root()
    return any(_narrows(part, nested) for part in structure.conjuncts(where.this))


def _queries() -> tuple[type[exp.Expr], ...]:
    from sqlglot import exp

    return (exp.Select, exp.Update, exp.Delete)


def _narrows(part: exp.Expr, nested: bool) -> bool:
    from sqlglot import exp

    ranges = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between)
    if isinstance(part, exp.Exists):
        return True  # a semi-join may start from the other side
    if not isinstance(part, ranges) or part.args.get("negate"):
        return False
    sides = [part.this] + ([part.expression] if isinstance(part, exp.Binary) else [])
    columns = [structure.inner(side) for side in sides if isinstance(side, exp.Column)]
    # A column with a column joins; in a subquery that is what ties it to the outer row.
    return (len(columns) == 1 and not _computes_with_column(sides)) or (
        nested and len(columns) == 2
    )


def _computes_with_column(sides: list[exp.Expr]) -> bool:
    from sqlglot import exp

    return any(
        not isinstance(side, (exp.Column, exp.Subquery)) and structure.has_column(side)
        for side in sides
    )


LEADING_WILDCARD: Final = Rule(
    id="leading-wildcard",
    title="Pattern that begins with a wildcard",
    when="`LIKE '%x'` or `ILIKE '%x'`, in the text or as a bound parameter, and no other condition that"
    " an index could serve. Not: `NOT LIKE`, `LIKE 'x%'`.",
    evidence="Column, rows, time.",
    fix="Let the pattern begin with text, or use an index made for it: full text search, or"
    " PostgreSQL's `pg_trgm`.",
    link="https://use-the-index-luke.com/sql/where-clause/searching-for-ranges/like-performance-tuning",
    find=_leading_wildcard,
)
FUNCTION_ON_COLUMN: Final = Rule(
    id="function-on-column",
    title="Function on a column",
    when="A WHERE compares a function or calculation over a column with a value, and no other condition"
    " is one that an index could serve. Not: functions on the value, in SELECT, ORDER BY or HAVING; JSON.",
    evidence="Expression, rows, time.",
    fix="Compare the column itself, as with a range of dates, or create an index on that expression.",
    link="https://use-the-index-luke.com/sql/where-clause/functions/case-insensitive-search",
    find=_function_on_column,
)

RULES: Final = (LEADING_WILDCARD, FUNCTION_ON_COLUMN)
