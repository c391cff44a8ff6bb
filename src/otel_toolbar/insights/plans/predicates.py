"""By which columns a statement looks for rows of each of its tables, told from its parse tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Columns = Callable[[str], tuple[str, ...]]
"""The columns of a table by its name, empty when it is unknown."""


@dataclass
class Use:
    """What a statement wants of one table, under one alias. Columns in the order of the text."""

    table: str
    schema: str
    alias: str
    equal: list[str] = field(default_factory=list[str])
    """Compared with a value by `=`, `IN` or `IS NULL`."""
    joined: list[str] = field(default_factory=list[str])
    """Compared with a column of another table by `=`."""
    ranged: list[str] = field(default_factory=list[str])
    """Compared by `<`, `>` or BETWEEN."""
    sorted: list[str] = field(default_factory=list[str])
    """Sorted by, when it is sorted by columns of this table alone, all in one direction."""
    patterns: list[str] = field(default_factory=list[str])
    """Compared by LIKE and the like."""
    wrapped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Within a function or an expression: `("name", "LOWER(name)")`."""
    filtered: bool = False
    """Something decides which of its rows are wanted."""
    limited: bool = False
    """The SELECT has a LIMIT and may stop early: it neither sorts nor groups."""


def uses(tree: Any, columns: Columns = lambda _: ()) -> list[Use]:
    """A `Use` for each table in each SELECT of the statement."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    found: list[Use] = []
    for scope in traverse_scope(tree):
        tables = {
            alias: Use(source.name, source.db, alias)
            for alias, source in scope.sources.items()
            if isinstance(source, exp.Table) and source.name
        }
        if isinstance(scope.expression, exp.Select):
            _Reader(tables, len(scope.sources), columns).read(scope.expression)
        found += tables.values()
    return found


class _Reader:
    """Reads one SELECT."""

    def __init__(self, tables: Mapping[str, Use], sources: int, columns: Columns) -> None:
        self._tables, self._sources, self._columns = tables, sources, columns

    def read(self, select: Any) -> None:
        where = select.args.get("where")
        joins: list[Any] = select.args.get("joins") or []
        for condition in [where.this if where else None, *(join.args.get("on") for join in joins)]:
            for part in _conjuncts(condition):
                self._condition(part)
        for join in joins:
            names: list[Any] = join.args.get("using") or []
            for name in names:
                self._using(name.name)
        self._order(select)
        ends = select.args.get("limit") or select.args.get("fetch")
        goes_on = any(select.args.get(name) for name in ("order", "group", "distinct", "having"))
        for use in self._tables.values():
            use.limited = bool(ends) and not goes_on

    def _condition(self, part: Any) -> None:
        from sqlglot import exp

        for column in part.find_all(exp.Column):
            use = self._use(column)
            if use is not None:
                use.filtered = True
        if isinstance(part, exp.EQ | exp.NullSafeEQ):
            self._equal(part.left, part.right)
        elif isinstance(part, exp.Or):
            self._either(part)
        elif isinstance(part, exp.GT | exp.GTE | exp.LT | exp.LTE):
            self._put(part.left, "ranged")
            self._put(part.right, "ranged")
        else:
            kinds = {exp.In: "equal", exp.Is: "equal", exp.Between: "ranged", exp.Like: "patterns",
                     exp.ILike: "patterns", exp.RegexpLike: "patterns"}  # fmt: skip
            if type(part) in kinds:
                self._put(part.this, kinds[type(part)])

    def _equal(self, left: Any, right: Any) -> None:
        from sqlglot import exp

        one, other = _bare(left), _bare(right)
        both = isinstance(one, exp.Column) and isinstance(other, exp.Column)
        if both and self._use(one) is not self._use(other):
            self._put(one, "joined")
            self._put(other, "joined")
        elif not both:
            self._put(left, "equal")
            self._put(right, "equal")

    def _either(self, part: Any) -> None:
        """`a = 1 OR a = 2` is an IN; of other ORs no one index serves."""
        from sqlglot import exp

        sides = list(part.flatten())
        places = {str(_bare(side.this)) for side in sides if isinstance(side, exp.EQ)}
        if len(places) == 1 and all(isinstance(side, exp.EQ) for side in sides):
            self._put(sides[0].this, "equal")

    def _put(self, expression: Any, kind: str) -> None:
        from sqlglot import exp

        bare = _bare(expression)
        if isinstance(bare, exp.Column):
            use = self._use(bare)
            if use is not None and bare.name not in getattr(use, kind):
                getattr(use, kind).append(bare.name)
            return
        if isinstance(bare, exp.Func | exp.Binary):
            inner = list(bare.find_all(exp.Column))
            use = self._use(inner[0]) if len(inner) == 1 else None
            if use is not None:
                use.wrapped.append((inner[0].name, bare.key.upper()))

    def _using(self, name: str) -> None:
        for use in self._tables.values():
            use.filtered = True
            use.joined.append(name)

    def _order(self, select: Any) -> None:
        from sqlglot import exp

        order = select.args.get("order")
        keys: list[Any] = order.expressions if order else []
        columns = [_bare(key.this) for key in keys]
        if not columns or not all(isinstance(column, exp.Column) for column in columns):
            return
        owners = [self._use(column) for column in columns]
        first = owners[0]
        directions = {bool(key.args.get("desc")) for key in keys}
        if first is not None and all(owner is first for owner in owners) and len(directions) == 1:
            first.sorted = [column.name for column in columns]

    def _use(self, column: Any) -> Use | None:
        """Whose column it is; None when that cannot be told."""
        if column.table:
            return self._tables.get(column.table)
        if self._sources == 1:
            return next(iter(self._tables.values()), None)
        owners = [use for use in self._tables.values() if column.name in self._columns(use.table)]
        return owners[0] if len(owners) == 1 else None


def _conjuncts(condition: Any) -> Iterator[Any]:
    from sqlglot import exp

    if condition is None:
        return
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        for part in condition.flatten():
            yield from _conjuncts(part)
    else:
        yield condition


def _bare(expression: Any) -> Any:
    """Without parentheses. A cast stays: an index on the column may not serve it."""
    return expression.unnest()
