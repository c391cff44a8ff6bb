"""What to know about a plan: each hint with its evidence, a fix, and where it is explained.

A full scan is no fault by itself. It is right for a small table, when all rows are wanted, and when it
stops early; the hint says so then. It is a fault when a few of many rows are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from . import sqlite
from .model import Hint, Index, Link, Node, Plan, Table
from .predicates import Use, uses

LARGE = 10_000
"""Rows from which reading a whole table is worth a warning."""

SMALL = 1_000
"""Rows up to which an index hardly helps: the table is a few pages."""

SELECTIVE = 0.2
"""Part of a table up to which an index is the better way to its rows."""

_MISJUDGED = 10
"""Times by which a measured number of rows may differ from the estimate."""

_LINKS = {
    "postgresql": {
        "scan": Link("Using EXPLAIN", "https://www.postgresql.org/docs/current/using-explain.html"),
        "index": Link("Indexes", "https://www.postgresql.org/docs/current/indexes-intro.html"),
        "expression": Link(
            "Indexes on Expressions",
            "https://www.postgresql.org/docs/current/indexes-expressional.html",
        ),
        "sort": Link(
            "Indexes and ORDER BY", "https://www.postgresql.org/docs/current/indexes-ordering.html"
        ),
        "statistics": Link(
            "Statistics Used by the Planner",
            "https://www.postgresql.org/docs/current/planner-stats.html",
        ),
    },
    "mariadb": {
        "scan": Link("EXPLAIN", "https://mariadb.com/kb/en/explain/"),
        "index": Link(
            "Getting Started with Indexes",
            "https://mariadb.com/kb/en/getting-started-with-indexes/",
        ),
        "expression": Link("Generated Columns", "https://mariadb.com/kb/en/generated-columns/"),
        "sort": Link("Compound Indexes", "https://mariadb.com/kb/en/compound-composite-indexes/"),
        "statistics": Link("ANALYZE TABLE", "https://mariadb.com/kb/en/analyze-table/"),
    },
    "mysql": {
        "scan": Link(
            "Avoiding Full Table Scans",
            "https://dev.mysql.com/doc/refman/8.4/en/table-scan-avoidance.html",
        ),
        "index": Link(
            "How MySQL Uses Indexes", "https://dev.mysql.com/doc/refman/8.4/en/mysql-indexes.html"
        ),
        "expression": Link(
            "Functional Key Parts", "https://dev.mysql.com/doc/refman/8.4/en/create-index.html"
        ),
        "sort": Link(
            "ORDER BY Optimization",
            "https://dev.mysql.com/doc/refman/8.4/en/order-by-optimization.html",
        ),
        "statistics": Link(
            "ANALYZE TABLE", "https://dev.mysql.com/doc/refman/8.4/en/analyze-table.html"
        ),
    },
    "sqlite": {
        "scan": Link("EXPLAIN QUERY PLAN", "https://www.sqlite.org/eqp.html"),
        "index": Link("Query Planning", "https://www.sqlite.org/queryplanner.html"),
        "expression": Link("Indexes On Expressions", "https://www.sqlite.org/expridx.html"),
        "sort": Link("Sorting by index", "https://www.sqlite.org/queryplanner.html#_sorting"),
        "statistics": Link("ANALYZE", "https://www.sqlite.org/lang_analyze.html"),
    },
}


def find(plan: Plan, tree: Any) -> tuple[Hint, ...]:
    """Hints of a plan, warnings first. `tree` is the statement as `admission.admit` gives it."""
    known = {table.name: table for table in plan.tables}
    columns = {table.name: table.columns for table in plan.tables}
    wanted = uses(tree, lambda name: columns.get(name, ()))
    hints = list(_of_scans(plan, known, wanted))
    hints += _of_sorts(plan, known, wanted)
    hints += _of_temporary_tables(plan, known, tree)
    hints += _of_estimates(plan)
    order = {"warn": 0, "info": 1, "ok": 2}
    unique = {(hint.rule, hint.table, hint.code): hint for hint in reversed(hints)}
    first = [*unique.values()][::-1]
    return tuple(sorted(first, key=lambda hint: order[hint.level]))


def _of_scans(plan: Plan, known: dict[str, Table], wanted: Sequence[Use]) -> Iterator[Hint]:
    for node in plan.walk():
        builds = sqlite.AUTOMATIC in node.notes
        table = known.get(node.table)
        if table is None or not (node.kind == "scan" or builds):
            continue
        for use in _of_node(node, wanted):
            yield from _Scan(plan, node, table, use, builds).hints()


def _of_node(node: Node, wanted: Sequence[Use]) -> list[Use]:
    """What the statement wants of the table that a node reads: its alias may stand in several SELECTs."""
    same = [use for use in wanted if use.table == node.table]
    # PostgreSQL tells an alias that comes twice apart by a number: orders_1.
    exact = [use for use in same if use.alias == node.alias]
    return exact or same[:1]


class _Scan:
    """A table that is read from end to end."""

    def __init__(self, plan: Plan, node: Node, table: Table, use: Use, builds: bool) -> None:
        self._plan, self._node, self._table, self._use = plan, node, table, use
        self._builds = builds
        self._links = _LINKS[plan.system]

    def hints(self) -> Iterator[Hint]:
        rows = self._table.rows
        if self._node.index and not self._use.filtered:
            return  # all of it in order, or an index that has all that is wanted
        if rows is None:
            yield self._hint(
                "full_scan", "info", "is read in full; how large it is, is not known",
                "Let the database count: " + _analyze(self._plan.system, self._table.name) + ".",
                "statistics",
            )  # fmt: skip
        elif rows <= SMALL:
            yield self._hint(
                "small_table", "ok", "is read in full, which is right: it is small",
                "Nothing to do: an index would not be faster while the table is this small.", "scan",
            )  # fmt: skip
        elif not self._use.filtered:
            yield self._unfiltered(rows)
        else:
            yield from self._filtered(rows)

    def _unfiltered(self, rows: int) -> Hint:
        if self._use.limited:
            return self._hint(
                "limited_scan", "ok", "is read from its start, until LIMIT is reached",
                "Nothing to do: nothing filters it, so the first rows will do.", "scan",
            )  # fmt: skip
        return self._hint(
            "full_scan", "warn" if rows >= LARGE else "info", "is read in full: nothing filters it",
            "If not all rows are needed, filter (`WHERE`) or page (`LIMIT`) them.", "scan",
        )  # fmt: skip

    def _filtered(self, rows: int) -> Iterator[Hint]:
        level = "warn" if rows >= LARGE else "info"
        share = self._kept(rows)
        wanted = self._index_columns()
        if wanted and not self._served(wanted):
            if share is not None and share > SELECTIVE and not self._builds:
                yield self._hint(
                    "unselective_scan", "ok", f"is read in full: {share:.0%} of its rows are wanted",
                    "Nothing to do for the plan: for so large a part an index would be slower.", "scan",
                )  # fmt: skip
                return
            yield self._hint(
                "full_scan", level, "is read in full, to find some of its rows",
                "Give the database a way to them: the index below.", "scan",
            )  # fmt: skip
            yield self._missing(wanted, level)
        elif wanted:
            yield self._unused(wanted)
        elif self._use.wrapped:
            yield self._wrapped(level)
        elif self._use.patterns:
            yield self._hint(
                "full_scan", level, "is read in full, to compare a pattern with each row",
                "A pattern that begins with `%` is found by no ordinary index; a full-text or trigram"
                " index can.", "index",
            )  # fmt: skip
        else:
            yield self._hint(
                "full_scan", level, "is read in full: its conditions fit no one index",
                "Conditions joined by `OR`, `<>` and `NOT IN` do not lead to a place in an index;"
                " a `UNION` of two queries can.", "scan",
            )  # fmt: skip

    def _index_columns(self) -> list[str]:
        """First what is equal, then the one range, or else what is sorted by."""
        use = self._use
        first = [*dict.fromkeys([*use.equal, *use.joined])]
        ranged = [name for name in use.ranged if name not in first][:1]
        rest = ranged or [name for name in use.sorted if name not in first and first]
        return (first + rest)[:4]

    def _served(self, wanted: list[str]) -> Index | None:
        """An index that leads to the rows: it begins with a column that is looked for."""
        return next(
            (
                index
                for index in self._table.indexes
                if index.columns and not index.partial and index.columns[0] in wanted
                and (index.columns[0] in self._use.equal + self._use.joined
                     or not (self._use.equal or self._use.joined))
            ),
            None,
        )  # fmt: skip

    def _kept(self, rows: int) -> float | None:
        """Which part of the table is wanted, as the database estimates or has measured it."""
        node = self._node
        got = node.rows if node.actual_rows is None else node.actual_rows
        if got is None or self._plan.system != "postgresql" or not rows:
            return None  # the others tell how many rows are read, not how many stay
        return min(1.0, got / rows)

    def _missing(self, wanted: list[str], level: Any) -> Hint:
        name = self._table.name
        index = f"ix_{name}_{'_'.join(wanted)}"[:60]
        quoted = ", ".join(f'"{column}"' for column in wanted)
        return self._hint(
            "missing_index", level, f"has no index on `{', '.join(wanted)}`",
            "Create it, and look whether the plan gets better: every index makes writing slower.",
            "index",
            (
                ("SQL", f"CREATE INDEX {index} ON {self._name()} ({', '.join(wanted)});"),
                ("SQLAlchemy", _sqlalchemy(index, wanted, quoted)),
            ),
            ("Existing indexes", _indexes(self._table)),
        )  # fmt: skip

    def _unused(self, wanted: list[str]) -> Hint:
        index = self._served(wanted)
        assert index is not None
        return self._hint(
            "unused_index", "info", f"is read in full although there is the index `{index.name}`",
            "The planner thinks that too many rows match, or its statistics are old: "
            + _analyze(self._plan.system, self._table.name) + " renews them.",
            "statistics", (),
            ("Index", f"{index.name} ({', '.join(index.columns)})"),
        )  # fmt: skip

    def _wrapped(self, level: Any) -> Hint:
        column, function = self._use.wrapped[0]
        return self._hint(
            "expression", level, f"is read in full: `{column}` is compared within {function}",
            f"An index on `{column}` does not serve `{function}(...)`. Compare the column itself, or"
            " index the expression.", "expression",
        )  # fmt: skip

    def _hint(
        self,
        rule: str,
        level: Any,
        what: str,
        fix: str,
        link: str,
        code: tuple[tuple[str, str], ...] = (),
        *more: tuple[str, str],
    ) -> Hint:
        return Hint(
            rule=rule, level=level, title=f"`{self._table.name}` {what}", table=self._table.name,
            evidence=tuple(self._evidence()) + more, fix=fix, code=code, link=self._links[link],
        )  # fmt: skip

    def _evidence(self) -> Iterator[tuple[str, str]]:
        table, node = self._table, self._node
        yield "Plan", node.operation
        if table.rows is not None:
            more = "at least " if table.at_least else ""
            yield "Rows in the table", f"{more}{table.rows:,} ({table.rows_from})"
        if node.rows is not None:
            yield "Rows expected", f"{node.rows:,.0f}"
        if node.actual_rows is not None:
            yield "Rows found", f"{node.actual_rows:,.0f}"
        if node.share is not None:
            yield "Share of the cost", f"{node.share:.0%}"
        yield from node.conditions

    def _name(self) -> str:
        default = self._table.schema in ("", "public") or self._plan.system != "postgresql"
        return self._table.name if default else f"{self._table.schema}.{self._table.name}"


def _of_sorts(plan: Plan, known: dict[str, Table], wanted: Sequence[Use]) -> Iterator[Hint]:
    """A sort of many rows of one table."""
    for node in plan.walk():
        if node.kind == "sort":
            yield from _sort(plan, node, known, wanted)


def _of_temporary_tables(plan: Plan, known: dict[str, Table], tree: Any) -> Iterator[Hint]:
    """GROUP BY and DISTINCT that are done in a table built for them."""
    from sqlglot import exp

    if plan.system == "postgresql" or not tree.find(exp.Group, exp.Distinct):
        return
    for node in plan.walk():
        table = _largest(node, plan, known) if node.kind == "temporary" else None
        if table is not None and (table.rows or 0) >= LARGE:
            yield Hint(
                "temporary_table", "info", f"`{table.name}` goes through a temporary table",
                table.name, (("Plan", node.operation), _rows(table)),
                "An index on the columns of `GROUP BY` or `DISTINCT` lets the database read them in"
                " order.", link=_LINKS[plan.system]["sort"],
            )  # fmt: skip


def _sort(plan: Plan, node: Node, known: dict[str, Table], wanted: Sequence[Use]) -> Iterator[Hint]:
    table = _largest(node, plan, known)
    use = next((use for use in wanted if table and use.table == table.name and use.sorted), None)
    if table is None or use is None:
        return
    rows = node.rows if plan.system == "postgresql" else table.rows
    served = any(i.columns[: len(use.sorted)] == tuple(use.sorted) for i in table.indexes)
    if rows is None or rows < LARGE or served or use.equal or use.joined:
        return  # an index that leads to the rows as well is hinted at with their scan
    name = f"ix_{table.name}_{'_'.join(use.sorted)}"[:60]
    quoted = ", ".join(f'"{column}"' for column in use.sorted)
    yield Hint(
        "sort", "info", f"{rows:,.0f} rows of `{table.name}` are sorted for this query", table.name,
        (("Plan", node.operation), _rows(table), ("Existing indexes", _indexes(table))),
        f"An index on `{', '.join(use.sorted)}` has them in order, and with `LIMIT` only the first are"
        " read.",
        (("SQL", f"CREATE INDEX {name} ON {table.name} ({', '.join(use.sorted)});"),
         ("SQLAlchemy", _sqlalchemy(name, use.sorted, quoted))),
        _LINKS[plan.system]["sort"],
    )  # fmt: skip


def _largest(node: Node, plan: Plan, known: dict[str, Table]) -> Table | None:
    """The table that a sort is about. SQLite has the sort beside the tables, the others above."""
    below = plan.walk() if plan.system == "sqlite" else node.walk()
    tables = [known[each.table] for each in below if each.table in known]
    return max(tables, key=lambda table: table.rows or 0, default=None)


def _of_estimates(plan: Plan) -> Iterator[Hint]:
    for node in plan.walk():
        if node.actual_rows is None or node.rows is None or not node.table or not node.loops:
            continue
        more, less = max(node.actual_rows, node.rows), max(1.0, min(node.actual_rows, node.rows))
        if more >= 100 and more / less >= _MISJUDGED:
            yield Hint(
                "estimate", "warn", f"The planner misjudges `{node.table}`", node.table,
                (("Plan", node.operation), ("Rows expected", f"{node.rows:,.0f}"),
                 ("Rows found", f"{node.actual_rows:,.0f}")),
                _analyze(plan.system, node.table) + " renews the statistics that it plans with.",
                link=_LINKS[plan.system]["statistics"],
            )  # fmt: skip


def _sqlalchemy(name: str, columns: Sequence[str], quoted: str) -> str:
    if len(columns) == 1:
        return f"{columns[0]} = mapped_column(index=True)"
    return f'__table_args__ = (Index("{name}", {quoted}),)'


def _indexes(table: Table) -> str:
    return "; ".join(f"{i.name} ({', '.join(i.columns)})" for i in table.indexes) or "none"


def _rows(table: Table) -> tuple[str, str]:
    more = "at least " if table.at_least else ""
    return "Rows in the table", f"{more}{table.rows:,} ({table.rows_from})"


def _analyze(system: str, table: str) -> str:
    return f"`ANALYZE {'TABLE ' if system in ('mysql', 'mariadb') else ''}{table}`"
