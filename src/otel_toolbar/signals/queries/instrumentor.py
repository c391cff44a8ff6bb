"""Listens to every engine of the process: events on the `Engine` class, put in when it is imported.

Nothing is patched but the methods that fetch rows, which are wrapped to count them: there is no event
for that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import wrapt
from opentelemetry import context as otel_context

from otel_toolbar import guard
from otel_toolbar.settings import Settings

from .query import Query

MODULE = "sqlalchemy.engine"
_QUERY = "_otel_toolbar_query"
"""Attribute of an ExecutionContext: the query that it runs."""

_SUPPRESSED = "suppress_instrumentation"
_STRATEGIES = (
    "CursorFetchStrategy",
    "BufferedRowCursorFetchStrategy",
    "FullyBufferedCursorFetchStrategy",
)

_options: Settings | None = None
_listening: list[tuple[Any, str, Callable[..., None]]] = []


def install(options: Settings) -> None:
    """Watch all queries from now on, once SQLAlchemy is imported."""
    global _options
    first, _options = _options is None, options
    if first:
        wrapt.register_post_import_hook(_hook, MODULE)


def uninstall() -> None:
    """Watch none any more; the wrapped methods stay and count for nobody."""
    global _options
    _options = None
    if _listening:
        from sqlalchemy import event

        for target, name, listener in _listening:
            event.remove(target, name, listener)
        _listening.clear()


def _hook(module: Any) -> None:
    if _options is None:
        return  # uninstalled before SQLAlchemy was imported
    try:
        from sqlalchemy import event

        for name, listener in (
            ("before_cursor_execute", _before),
            ("after_cursor_execute", _after),
            ("handle_error", _error),
        ):
            event.listen(module.Engine, name, listener)
            _listening.append((module.Engine, name, listener))
        _count_rows()
    except Exception as error:
        guard.say_once(
            f"this version of SQLAlchemy is not one that the toolbar knows ({error}); queries are not"
            " seen. It has to be 2.0 or newer"
        )


# SQLAlchemy tells the arguments of a listener by their names, so all stand there.


def _before(
    conn: Any,
    cursor: Any,  # noqa: ARG001
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> None:
    try:
        if _options is None or context is None or otel_context.get_value(_SUPPRESSED):
            return
        query = Query.start(conn, statement, parameters, context, executemany, _options)
        setattr(context, _QUERY, query)
    except Exception:
        guard.failed("start of a query")


def _after(
    conn: Any,  # noqa: ARG001
    cursor: Any,
    statement: str,  # noqa: ARG001
    parameters: Any,  # noqa: ARG001
    context: Any,
    executemany: bool,  # noqa: ARG001
) -> None:
    try:
        query: Query | None = getattr(context, _QUERY, None)
        if query is not None:
            query.end(cursor)
    except Exception:
        guard.failed("end of a query")


def _error(raised: Any) -> None:
    try:
        query: Query | None = getattr(raised.execution_context, _QUERY, None)
        if query is not None:
            query.fail(raised.original_exception)
    except Exception:
        guard.failed("error of a query")


def _count_rows() -> None:
    """Wrap the methods through which every row of a result goes."""
    from sqlalchemy.engine import cursor

    for name in _STRATEGIES:
        strategy = getattr(cursor, name)
        for method, count in (("fetchone", _one), ("fetchmany", len), ("fetchall", len)):
            if method in vars(strategy):
                setattr(strategy, method, _counting(vars(strategy)[method], count))


def _one(row: Any) -> int:
    return row is not None


def _counting(real: Callable[..., Any], count: Callable[[Any], int]) -> Callable[..., Any]:
    # A plain function: it runs once a row where an app iterates over a Core result.
    @functools.wraps(real)
    def fetch(self: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        query: Query | None = getattr(result.context, _QUERY, None)
        if query is None or query.fetching:
            return real(self, result, *args, **kwargs)
        query.fetching = True  # one of these methods may call another
        try:
            fetched = real(self, result, *args, **kwargs)
        finally:
            query.fetching = False
        try:
            query.fetched(count(fetched))
        except Exception:
            guard.failed("counting rows")
        return fetched

    return fetch
