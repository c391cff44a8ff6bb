"""Counts the rows that an app gets, while it reads them: there is no event for that.

Wrapped are the methods through which every row of a result goes, of buffered and streamed ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from otel_toolbar import guard

from . import patches

if TYPE_CHECKING:
    from .query import Query

QUERY = "_otel_toolbar_query"
"""Attribute of an ExecutionContext: the query that it runs."""

_STRATEGIES = (
    "CursorFetchStrategy",
    "BufferedRowCursorFetchStrategy",
    "FullyBufferedCursorFetchStrategy",
)


def hook() -> None:
    """Wrap them; `patches.undo` takes them out."""
    from sqlalchemy.engine import cursor

    for name in _STRATEGIES:
        strategy: Any = getattr(cursor, name)
        for method in ("fetchone", "fetchmany", "fetchall"):
            patches.wrap(strategy, method, _counting)


def _counting(real: Callable[..., Any]) -> Callable[..., Any]:
    # A plain function: it runs once a row where an app iterates over a Core result.
    one, last = real.__name__ == "fetchone", real.__name__ == "fetchall"

    @functools.wraps(real)
    def fetch(self: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        query: Query | None = getattr(result.context, QUERY, None)
        if query is None or query.fetching:
            return real(self, result, *args, **kwargs)
        query.fetching = True  # one of these methods may call another
        try:
            fetched = real(self, result, *args, **kwargs)
        finally:
            query.fetching = False
        try:
            count = fetched is not None if one else len(fetched)
            query.fetched(count, fetched, over=last or not fetched)
        except Exception:
            guard.failed("counting rows")
        return fetched

    return fetch
