"""Listens to every engine of the process: events on the `Engine` class, put in when it is imported.

Nothing is patched but the methods that fetch rows, which are wrapped to count them: there is no event
for that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import wrapt
from opentelemetry import context as otel_context

from otel_toolbar import guard
from otel_toolbar.settings import Settings

from . import database

if TYPE_CHECKING:
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
_listening: list[tuple[Any, str, Callable[..., Any]]] = []
_wrapped: list[tuple[Any, str, Callable[..., Any]]] = []
"""Methods as they were, by class and name."""


@functools.cache
def _query_class() -> type[Query]:
    """Imported with the first query: an app without SQLAlchemy does not pay for a lexer of SQL."""
    from .query import Query

    return Query


def install(options: Settings) -> None:
    """Watch all queries from now on, once SQLAlchemy is imported."""
    global _options
    first, _options = _options is None, options
    database.forget()
    if first:
        wrapt.register_post_import_hook(_hook, MODULE)


def uninstall() -> None:
    """Watch none any more, and leave SQLAlchemy as it was."""
    global _options
    _options = None
    while _wrapped:
        owner, name, real = _wrapped.pop()
        setattr(owner, name, real)
    if _listening:
        from sqlalchemy import event

        for target, name, listener in _listening:
            event.remove(target, name, listener)
        _listening.clear()


def _hook(module: Any) -> None:
    if _options is None or _listening:
        return
    try:
        from sqlalchemy import event

        listeners: tuple[tuple[str, Callable[..., Any], dict[str, bool]], ...] = (
            ("before_cursor_execute", _before, {"retval": True}),
            ("after_cursor_execute", _after, {}),
            ("handle_error", _error, {}),
        )
        for name, listener, extra in listeners:
            # With retval SQLAlchemy calls it as it is, without a wrapper.
            event.listen(module.Engine, name, listener, **extra)
            _listening.append((module.Engine, name, listener))
        _count_rows()
    except Exception as error:
        guard.say_once(
            f"this version of SQLAlchemy is not one that the toolbar knows ({error}); queries are not"
            " seen. It has to be 2.0 or newer"
        )


def _before(
    conn: Any,
    cursor: Any,  # noqa: ARG001 - SQLAlchemy counts the arguments
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> tuple[str, Any]:
    try:
        options = _options
        if options is not None and context is not None and not otel_context.get_value(_SUPPRESSED):
            query = _query_class().start(conn, statement, parameters, context, executemany, options)
            setattr(context, _QUERY, query)
    except Exception:
        guard.failed("start of a query")
    return statement, parameters


def _after(_conn: Any, cursor: Any, _text: str, _given: Any, context: Any, _many: bool) -> None:
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
        strategy: Any = getattr(cursor, name)
        for method, count in (("fetchone", _one), ("fetchmany", len), ("fetchall", len)):
            if method in vars(strategy):
                real = cast("Callable[..., Any]", vars(strategy)[method])
                _wrapped.append((strategy, method, real))
                setattr(strategy, method, _counting(real, count))


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
            query.fetched(count(fetched), fetched)
        except Exception:
            guard.failed("counting rows")
        return fetched

    return fetch
