"""What to do about an N+1: the loader, the relationship and the class by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from otel_toolbar import semconv
from otel_toolbar.model import Span

from . import reading

_ORM: Final = "https://docs.sqlalchemy.org/en/20/orm/queryguide/"
_RELATIONSHIPS: Final = _ORM + "relationships.html#relationship-loading-techniques"
_COLUMNS: Final = _ORM + "columns.html#limiting-which-columns-load-with-column-deferral"
_SUBCLASSES: Final = _ORM + "inheritance.html#using-selectin-polymorphic"
_EXPIRY: Final = "https://docs.sqlalchemy.org/en/20/orm/session_basics.html#session-committing"
_REFRESH: Final = (
    "https://docs.sqlalchemy.org/en/20/orm/session_state_management.html#refreshing-expiring"
)
_IN: Final = "https://docs.sqlalchemy.org/en/20/core/operators.html#in-comparisons"
_GROUP_BY: Final = (
    "https://docs.sqlalchemy.org/en/20/tutorial/data_select.html#tutorial-group-by-w-aggregates"
)


class Fix(NamedTuple):
    """What to do."""

    text: str
    """One sentence, which ends in a colon when there is code."""
    code: str
    """What to write; empty when that cannot be told."""
    link: str
    """Documentation that explains it."""


def fix_of(spans: Sequence[Span]) -> Fix:
    """The fix for queries that are alike."""
    span = spans[0]
    lazy = reading.text(span, semconv.QUERY_LAZY_LOADED_FROM)
    if "." in lazy:
        return _relationship(lazy, reading.text(span, semconv.QUERY_RELATIONSHIP_DIRECTION))
    refreshed = reading.text(span, semconv.QUERY_REFRESHED)
    if refreshed:
        return _refresh(refreshed, reading.text(span, semconv.QUERY_REFRESH_REASON))
    return _loop(span)


def _relationship(name: str, direction: str) -> Fix:
    model, _, relationship = name.rpartition(".")
    model = model.rpartition(".")[2]
    # One row each fits into a join; a collection would repeat its parents.
    loader = "joinedload" if direction in ("many_to_one", "one_to_one") else "selectinload"
    return Fix(
        f"Each {model} loads its `{relationship}` alone. Load them with the {model} objects:",
        f"select({model}).options({loader}({model}.{relationship}))",
        _RELATIONSHIPS,
    )


def _refresh(name: str, reason: str) -> Fix:
    model = name.partition(".")[0]
    if reason == "expired":
        return Fix(
            f"Each {model} is loaded again, because a commit has expired it. Keep what was loaded:",
            "async_sessionmaker(engine, expire_on_commit=False)",
            _EXPIRY,
        )
    if reason == "deferred":
        return Fix(
            f"Each {model} loads its deferred column alone. Load it with the {model} objects:",
            f"select({model}).options(undefer({name}))",
            _COLUMNS,
        )
    if reason == "subclass":
        return Fix(
            f"Each {model} loads the columns of its own table alone. Load them for all at once:",
            f"select(Base).options(selectin_polymorphic(Base, [{model}]))",
            _SUBCLASSES,
        )
    return Fix(
        f"Each {model} is refreshed alone. Load all of them again in one query:",
        f"select({model}).where({model}.id.in_(ids)).execution_options(populate_existing=True)",
        _REFRESH,
    )


_AGGREGATE: Final = re.compile(r"SELECT\s+(?:count|sum|min|max|avg)\s*\(", re.IGNORECASE)
_ONE_COLUMN: Final = re.compile(
    r"""\bWHERE\s+(?P<column>[\w."`]+)\s*=\s*(?:\?|%s|%\(\w+\)s|\$\d+|:\w+|'[^']*'|[\d.]+)""",
    re.IGNORECASE,
)


def _loop(span: Span) -> Fix:
    statement = reading.statement(span)
    found = _ONE_COLUMN.search(statement)
    column = found["column"].replace('"', "").replace("`", "") if found else ""
    model = reading.text(span, semconv.QUERY_ENTITY)
    name = column.rpartition(".")[2]
    if _AGGREGATE.match(statement.lstrip()):
        return Fix(
            "It counts or sums up once for each item of a loop. Do it for all in one query:",
            f"SELECT {column}, ... GROUP BY {column}" if column else "",
            _GROUP_BY,
        )
    if model:
        key = name or "id"
        code = f"select({model}).where({model}.{key}.in_({key}s))"
    else:
        code = (
            f"... WHERE {column} IN (...)" if column else "select(Model).where(Model.id.in_(ids))"
        )
    return Fix(
        "It runs once for each item of a loop. Fetch all rows before the loop, in one query:",
        code,
        _IN,
    )
