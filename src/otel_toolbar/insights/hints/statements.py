"""Statements whose text alone says that they do more work than they need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otel_toolbar import semconv
from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.model import Span, Trace

from . import sites, structure
from .sites import Site
from .structure import Parsed

if TYPE_CHECKING:
    from sqlglot import exp

SLOW: Final = 0.1
"""Seconds of one execution from which it is a warning."""

_RANDOM = re.compile(r"\b(RANDOM|RAND|NEWID)\s*\(", re.IGNORECASE)
_COUNT = re.compile(r"\bCOUNT\s*\(", re.IGNORECASE)
_SEVERAL = re.compile(r"\bFROM\b[^()]*,|\bFROM\b.*\)\s*(AS\s+)?\w*\s*,|\bJOIN\b", re.I | re.S)
_MEANT = re.compile(r"\bCROSS\s+JOIN\b|\bNATURAL\b", re.IGNORECASE)
_UNIQUE = frozenset({"id", "pk", "uuid"})
"""Columns by whose name one row is meant."""


def _slowest(site: Site) -> float:
    return max(span.duration_at(span.end or span.start) for span in site.spans) / 1e9


def _about(rule: Rule, site: Site, evidence: str, *figures: Figure, warn: bool = False) -> Hint:
    slowest = _slowest(site)
    rows = [] if site.rows is None else [Figure("rows", site.rows)]
    return rule.hint(
        site.spans,
        evidence,
        [*figures, *rows, Figure("time", slowest, "s")],
        severity="warn" if warn or slowest >= SLOW else "info",
    )


def _order_by_random(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        parsed = _RANDOM.search(site.statement.text) and structure.of(trace, site.first)
        if parsed and any(_sorts_at_random(select) for select in _selects(parsed)):
            yield _about(
                ORDER_BY_RANDOM,
                site,
                f"Every row of {site.statement.target or 'the table'} that matches gets a random number"
                f" and is sorted, to return {'a few' if site.rows is None else f'{site.rows:,}'};"
                f" it took {_slowest(site) * 1000:.1f} ms.",
            )


def _selects(parsed: Parsed) -> Iterator[exp.Select]:
    from sqlglot import exp

    return parsed.tree.find_all(exp.Select)


def _sorts_at_random(select: exp.Select) -> bool:
    """Only with a LIMIT: who shuffles all that is returned throws nothing away."""
    from sqlglot import exp

    order = select.args.get("order")
    if order is None or select.args.get("limit") is None:
        return False
    first = order.expressions[0].this
    random = isinstance(first, (exp.Rand, exp.Uuid))
    return random or (
        isinstance(first, exp.Anonymous) and first.name.lower() in ("random", "newid")
    )


def _count_for_existence(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        parsed = _COUNT.search(site.statement.text) and structure.of(trace, site.first)
        compared = parsed and _compared_count(parsed, site.first)
        if compared:
            yield _about(
                COUNT_FOR_EXISTENCE,
                site,
                f"`{compared}` counts all rows to learn whether there is one; it took"
                f" {_slowest(site) * 1000:.1f} ms.",
            )


def _compared_count(parsed: Parsed, span: Span) -> str:
    from sqlglot import exp

    for node in parsed.tree.find_all(exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ):
        left, right = structure.inner(node.this), structure.inner(node.expression)
        for counted, limit in ((left, right), (right, left)):
            if (
                _is_count(counted)
                and not node.find_ancestor(exp.Having)
                and _asks_for_any(node, counted is left, parsed.whole_number(limit, span))
            ):
                return re.sub(r":p_\d+", "?", node.sql())[:120]
    return ""


def _is_count(node: exp.Expr) -> bool:
    from sqlglot import exp

    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select):
        select = node.this
        grouped = select.args.get("group") is not None
        return not grouped and len(select.expressions) == 1 and _is_count(select.expressions[0])
    return isinstance(node.this if isinstance(node, exp.Alias) else node, exp.Count)


def _asks_for_any(node: exp.Expr, count_first: bool, limit: int | None) -> bool:
    """`count > 0`, `count >= 1`, `count = 0`, and the like in either order."""
    from sqlglot import exp

    above, from_ = (exp.GT, exp.GTE) if count_first else (exp.LT, exp.LTE)
    below, up_to = (exp.LT, exp.LTE) if count_first else (exp.GT, exp.GTE)
    if limit == 0:
        return isinstance(node, (above, up_to, exp.EQ, exp.NEQ))
    return limit == 1 and isinstance(node, (from_, below))


def _cartesian_product(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        text = site.statement.text
        if not _SEVERAL.search(text) or _MEANT.search(text):
            continue
        parsed = structure.of(trace, site.first)
        apart = parsed and _unrelated(parsed)
        if apart:
            rows = (
                ""
                if site.rows is None
                else f"; {site.rows:,} row{'s' * (site.rows != 1)} came back"
            )
            yield _about(
                CARTESIAN_PRODUCT,
                site,
                f"Nothing relates {apart[0]} with {apart[1]}: each row of one is paired with each of"
                f" the other{rows}.",
                warn=True,
            )


def _unrelated(parsed: Parsed) -> tuple[str, str] | None:
    """Two tables of one FROM that no condition relates."""
    single = _single_rows(parsed)
    for select in _selects(parsed):
        names = [name for name in _sources(select) if name not in single]
        if len(names) > 1:
            found = _apart(select, names)
            if found:
                return found
    return None


def _single_rows(parsed: Parsed) -> frozenset[str]:
    """CTEs that give one row."""
    from sqlglot import exp

    return frozenset(cte.alias for cte in parsed.tree.find_all(exp.CTE) if _is_single(cte.this))


def _is_single(query: exp.Expr) -> bool:
    from sqlglot import exp

    if not isinstance(query, exp.Select) or query.args.get("group") is not None:
        return False
    limit = query.args.get("limit")
    one = limit is not None and limit.expression is not None and limit.expression.name == "1"
    aggregates = bool(query.expressions) and all(
        each.find(exp.AggFunc) for each in query.expressions
    )
    return one or aggregates or query.args.get("from_") is None


def _sources(select: exp.Select) -> Iterator[str]:
    """What a FROM lists and nothing of its own relates: no USING, LATERAL, function, or single row."""
    from sqlglot import exp

    first = select.args.get("from_")
    joins: list[exp.Expr] = select.args.get("joins") or []
    for item in ([first] if first is not None else []) + joins:
        source = item.this
        table = isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier)
        query = isinstance(source, exp.Subquery) and not _is_single(source.this)
        if (table or query) and source.alias_or_name:
            yield source.alias_or_name


def _apart(select: exp.Select, names: list[str]) -> tuple[str, str] | None:
    from sqlglot import exp

    groups = {name: {name} for name in names}
    for condition in _conditions(select):
        columns = list(condition.find_all(exp.Column))
        meant = _pins(condition) or not columns  # `ON true` is no slip
        if meant or not all(column.table for column in columns):
            return None
        related = [column.table for column in columns if column.table in groups]
        merged = set[str]().union(*(groups[name] for name in related))
        for name in merged:
            groups[name] = merged
    return _joined(groups, names)


def _joined(groups: dict[str, set[str]], names: list[str]) -> tuple[str, str] | None:
    others = [name for name in names if name not in groups[names[0]]]
    return (names[0], others[0]) if others else None


def _conditions(select: exp.Select) -> Iterator[exp.Expr]:
    joins: list[exp.Expr] = select.args.get("joins") or []
    for join in joins:
        if join.args.get("using"):
            yield from join.args["using"]
        elif join.args.get("on") is not None:
            yield from structure.conjuncts(join.args["on"])
    where = select.args.get("where")
    if where is not None:
        yield from structure.conjuncts(where.this)


def _pins(condition: exp.Expr) -> bool:
    """`table.id = ?`: one row is meant, and a product with one row is a lookup."""
    from sqlglot import exp

    if not isinstance(condition, exp.EQ):
        return False
    columns = list(condition.find_all(exp.Column))
    return len(columns) == 1 and columns[0].name.lower() in _UNIQUE


def _write_without_where(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        if site.statement.operation not in ("UPDATE", "DELETE"):
            continue
        rows = max(
            (span.integer(semconv.QUERY_AFFECTED_ROWS) or 0 for span in site.spans), default=0
        )
        if rows > 1 and not re.search(r"\bWHERE\b", site.statement.normalized, re.IGNORECASE):
            yield _about(
                WRITE_WITHOUT_WHERE,
                site,
                f"{site.statement.summary} has no WHERE and changed all {rows:,} rows.",
                Figure("rows changed", rows),
                warn=True,
            )


ORDER_BY_RANDOM: Final = Rule(
    id="order-by-random",
    title="Sorted at random",
    when="`ORDER BY random()`, `rand()` or `newid()` with a LIMIT. Not: without one, or random() elsewhere.",
    evidence="Rows returned, time.",
    fix="Pick random keys in the app and fetch those, or let the database sample: PostgreSQL's"
    " `TABLESAMPLE`.",
    link="https://www.postgresql.org/docs/current/sql-select.html#SQL-FROM",
    find=_order_by_random,
)
COUNT_FOR_EXISTENCE: Final = Rule(
    id="count-for-existence",
    title="COUNT to see whether there is one",
    when="A count is compared so that only none or some matters: `count(*) > 0`, `(SELECT count(*) ...) = 0`."
    " Not: HAVING, other numbers, counts that are returned.",
    evidence="The comparison, time.",
    fix="Ask `EXISTS (SELECT ...)`, in SQLAlchemy `select(...).exists()`: it stops at the first row.",
    link="https://www.postgresql.org/docs/current/functions-subquery.html#FUNCTIONS-SUBQUERY-EXISTS",
    find=_count_for_existence,
)
CARTESIAN_PRODUCT: Final = Rule(
    id="cartesian-product",
    title="Cartesian product",
    when="A FROM has two tables that no ON, USING or WHERE relates. Not: CROSS JOIN or NATURAL in words,"
    " functions, LATERAL, queries of one row, `table.id = ?`, columns without their table.",
    evidence="The tables, rows, time.",
    fix="Join them: `.join(Other, ...)`, or take out the one that is not meant to be there.",
    link="https://www.postgresql.org/docs/current/queries-table-expressions.html#QUERIES-FROM",
    find=_cartesian_product,
)
WRITE_WITHOUT_WHERE: Final = Rule(
    id="write-without-where",
    title="UPDATE or DELETE of a whole table",
    when="An UPDATE or DELETE without WHERE changed more than one row.",
    evidence="Rows changed, time.",
    fix="Add the WHERE that is missing; to empty a table, say so with `TRUNCATE` where there is one.",
    link="https://www.postgresql.org/docs/current/sql-truncate.html",
    find=_write_without_where,
)

RULES: Final = (CARTESIAN_PRODUCT, WRITE_WITHOUT_WHERE, ORDER_BY_RANDOM, COUNT_FOR_EXISTENCE)
