"""Listens to every engine of the process: events on the `Engine` class, put in when it is imported.

Where there is no event, methods are wrapped: those that fetch rows, that end transactions, and that make
connections or hand them out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import wrapt
from opentelemetry import context as otel_context

from otel_toolbar import guard
from otel_toolbar.settings import Settings

from . import database, patches, pool, raw, rows, transactions
from .rows import QUERY

if TYPE_CHECKING:
    from .query import Query

MODULE = "sqlalchemy.engine"

_SUPPRESSED = "suppress_instrumentation"

_options: Settings | None = None
_listening: list[tuple[Any, str, Callable[..., Any]]] = []


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
        raw.install(options)


def uninstall() -> None:
    """Watch none any more, and leave SQLAlchemy as it was."""
    global _options
    _options = None
    raw.uninstall()
    patches.undo()
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
        rows.hook()
        pool.hook(_options)
        transactions.hook(_options)
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
        if (
            options is not None
            and context is not None
            and not otel_context.get_value(_SUPPRESSED)
            and not transactions.is_ending(conn)
        ):
            query = _query_class()(conn, statement, parameters, context, executemany, options)
            # Of a batch in several statements all rows come together, after the last.
            query.fetching = executemany and hasattr(context, QUERY)
            setattr(context, QUERY, query)
    except Exception:
        guard.failed("start of a query")
    return statement, parameters


def _after(_conn: Any, cursor: Any, _text: str, _given: Any, context: Any, _many: bool) -> None:
    try:
        query: Query | None = getattr(context, QUERY, None)
        if query is not None:
            query.end(cursor)
    except Exception:
        guard.failed("end of a query")


def _error(raised: Any) -> None:
    try:
        query: Query | None = getattr(raised.execution_context, QUERY, None)
        if query is not None:
            query.fail(raised.original_exception)
    except Exception:
        guard.failed("error of a query")
