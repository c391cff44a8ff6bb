"""Sees the statements of every engine of the process, once SQLAlchemy is imported, by wrapping methods:
those in which a dialect hands a statement to its driver, those that fetch rows, that end transactions,
and that make connections or hand them out.

SQLAlchemy's events would tell of statements, too. As soon as anybody listens to one, it goes through all
the others of a statement as well, which takes a fifth of a small query's time (measured).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import wrapt

from otel_toolbar import guard
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import current

from . import database, patches, pool, raw, rows, transactions
from .query import Query
from .rows import QUERY

MODULE = "sqlalchemy.engine"

_SUPPRESSED = "suppress_instrumentation"

_options: Settings | None = None
_seen: set[type[Any]] = set()
"""Classes of dialects whose methods are wrapped, as far as they have any of their own."""


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
    _seen.clear()


def _hook(_module: Any) -> None:
    if _options is None or _seen:
        return
    try:
        from sqlalchemy.engine.default import DefaultDialect

        kinds: list[type[Any]] = [DefaultDialect]
        for kind in kinds:
            see(kind)
            kinds += kind.__subclasses__()
        rows.hook()
        pool.hook(_options, see)
        transactions.hook(_options)
    except Exception as error:
        guard.say_once(
            f"this version of SQLAlchemy is not one that the toolbar knows ({error}); queries are not"
            " seen. It has to be 2.0 or newer"
        )


_Given = Callable[..., tuple[Any, Any]]
"""Tells the parameters and the context from what a method is called with after the statement."""


def _with_parameters(parameters: Any, context: Any = None, *_: Any, **__: Any) -> tuple[Any, Any]:
    return parameters, context


def _without_parameters(context: Any = None, *_: Any, **__: Any) -> tuple[Any, Any]:
    return (), context


_METHODS: dict[str, _Given] = {
    "do_execute": _with_parameters,
    "do_executemany": _with_parameters,
    "do_execute_no_params": _without_parameters,
}
"""Of a dialect: those that hand a statement to the driver."""


def see(dialect: type[Any]) -> None:
    """Wrap what a class of dialects runs statements by, unless that is done."""
    if dialect in _seen:
        return
    for owner in dialect.__mro__:
        if owner not in _seen:
            _seen.add(owner)
            for method, given in _METHODS.items():
                patches.wrap(owner, method, functools.partial(_running, given=given))


def _running(real: Callable[..., Any], given: _Given) -> Callable[..., Any]:
    @functools.wraps(real)
    def run(self: Any, cursor: Any, statement: str, *args: Any, **kwargs: Any) -> Any:
        query = _start(statement, given, args, kwargs)
        if query is None:
            return real(self, cursor, statement, *args, **kwargs)
        try:
            result = real(self, cursor, statement, *args, **kwargs)
        except BaseException as error:
            _failed(query, error)
            raise
        _ended(query, cursor)
        return result

    return run


def _start(statement: str, given: _Given, args: Any, kwargs: Any) -> Query | None:
    """The query of a statement that is about to run; None when it is none of the app's."""
    options = _options
    if options is None:
        return None
    try:
        parameters, context = given(*args, **kwargs)
        if context is None:
            return None
        before: Query | None = getattr(context, QUERY, None)
        connection = context.root_connection
        if (
            (before is not None and before.running)  # a dialect's method may call its parent's
            # SQLAlchemy itself asks a database that it does not know yet.
            or not getattr(connection, "_allow_autobegin", True)
            or current.value(_SUPPRESSED)
            or transactions.is_ending(connection)
        ):
            return None
        many: bool = context.executemany
        text, compiled = statement, getattr(context, "statement", None)  # a default's has none
        if compiled and text is not compiled and not many and compiled in text:
            text = compiled  # a listener has put a comment to it
        query = Query(connection, text, parameters, context, many, options)
        # Of a batch in several statements all rows come together, after the last.
        query.fetching = many and before is not None
        setattr(context, QUERY, query)
    except Exception:
        guard.failed("start of a query")
        return None
    return query


def _ended(query: Query, cursor: Any) -> None:
    try:
        query.end(cursor)
    except Exception:
        guard.failed("end of a query")


def _failed(query: Query, error: BaseException) -> None:
    try:
        query.fail(error)
    except Exception:
        guard.failed("error of a query")
