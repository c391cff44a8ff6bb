"""Queries of drivers without SQLAlchemy, as opentelemetry-instrumentation-asyncpg, -psycopg, -sqlite3 and
-pymysql record them.

Their spans get what ours have: fingerprint, call site, the flags of the N+1 rule, the database's code of
an error; and the request's summary counts them. Where SQLAlchemy is who calls the driver, ours is the
span, and they are told to make none: by the stack, so that nothing has to be set and taken back.
"""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import wrapt
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.insights.n_plus_one import FETCHES
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import callsite, exceptions, foreign, light, masking
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.callsite import Stack

from . import database, errors, place
from .judge import Queries, flag, is_judged

DBAPI = "opentelemetry.instrumentation.dbapi"
ASYNCPG = "opentelemetry.instrumentation.asyncpg"
AIOSQLITE = "aiosqlite.core"
_ENABLED = "is_instrumentation_enabled"
_DEPTH = 25
"""Frames between an instrumentation and who called the driver, at most."""

_BETWEEN = (
    "/opentelemetry/", "/otel_toolbar/signals/queries/", "/wrapt/", "/psycopg/", "/psycopg_pool/",
    "/asyncpg/", "/pymysql/", "/aiosqlite/", "/contextlib.py",
)  # fmt: skip
"""Files of instrumentations and drivers: who called them comes after."""


class _Asker(NamedTuple):
    """Who asked aiosqlite, whose own thread runs the query."""

    stack: Stack | None


_asker: ContextVar[_Asker | None] = ContextVar("otel_toolbar_asker", default=None)
_options: Settings | None = None
_installed = False


def install(options: Settings) -> None:
    """Make the instrumentations of drivers, once imported, leave SQLAlchemy's queries to us."""
    global _options, _installed
    _options = options
    foreign.watch(_ended)
    if not _installed:
        _installed = True
        wrapt.register_post_import_hook(_hook_instrumentation, DBAPI)
        wrapt.register_post_import_hook(_hook_dbapi, DBAPI)
        wrapt.register_post_import_hook(_hook_instrumentation, ASYNCPG)
        wrapt.register_post_import_hook(_hook_asyncpg, ASYNCPG)


def uninstall() -> None:
    """Leave them alone again. What has been put in only passes on then."""
    global _options
    _options = None
    foreign.watch(None)


# No span where SQLAlchemy calls the driver.


def _hook_instrumentation(module: Any) -> None:
    real: Callable[[], bool] | None = getattr(module, _ENABLED, None)
    if real is None:
        guard.say_once(
            f"this version of {module.__name__} is not one that the toolbar knows: queries of SQLAlchemy"
            " may have two spans. Install the version that otel-toolbar's extra asks for"
        )
        return

    @functools.wraps(real)
    def enabled() -> bool:
        return real() and (_options is None or not _is_sqlalchemy_s())

    setattr(module, _ENABLED, enabled)
    if module.__name__ == DBAPI:
        wrapt.register_post_import_hook(_hook_aiosqlite, AIOSQLITE)


def _is_sqlalchemy_s() -> bool:
    """True when SQLAlchemy is who calls the driver: the first frame that is not the driver's tells."""
    try:
        frame: Any = sys._getframe(2)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        for _ in range(_DEPTH):
            if frame is None:
                return False
            code = frame.f_code
            whose = _whose(code.co_filename)
            if whose == _AIOSQLITE and code.co_name.endswith("thread"):
                return _asker.get() is None
            if whose >= _SQLALCHEMY:
                return whose == _SQLALCHEMY
            frame = frame.f_back
    except Exception:
        guard.failed("who calls a driver")
    return False


_DRIVER, _AIOSQLITE, _SQLALCHEMY, _OTHER = range(4)
"""Whose a file is, in a stack from a driver outward; what is a driver's or an instrumentation's goes on."""


@functools.lru_cache(1024)
def _whose(filename: str) -> int:
    file = filename.replace("\\", "/")
    if file.endswith("/aiosqlite/core.py"):
        return _AIOSQLITE
    if "/sqlalchemy/" in file:
        return _SQLALCHEMY
    return _DRIVER if any(part in file for part in _BETWEEN) else _OTHER


# What the instrumentations do not see.


def _hook_dbapi(module: Any) -> None:
    """`sqlite3.Connection.execute` and the like make a cursor where no instrumentation sees it."""
    proxy, real = module.TracedConnectionProxy, module.get_traced_connection_proxy

    class Connection(proxy):  # type: ignore[misc]
        def execute(self, *args: Any) -> Any:
            return self.cursor().execute(*args)

        def executemany(self, *args: Any) -> Any:
            return self.cursor().executemany(*args)

    @functools.wraps(real)
    def traced(connection: Any, *args: Any, **kwargs: Any) -> Any:
        sqlite: Any = sys.modules.get("sqlite3")
        if _options is not None and sqlite and isinstance(connection, sqlite.Connection):
            return Connection(connection, *args, **kwargs)
        return real(connection, *args, **kwargs)

    module.get_traced_connection_proxy = traced


def _hook_asyncpg(module: Any) -> None:
    """Only the first row that is iterated over asks the database a question: one span, not one a row."""
    owner = module.AsyncPGInstrumentor
    real = owner._do_cursor_execute  # noqa: SLF001

    @functools.wraps(real)
    async def do_cursor_execute(
        self: Any, function: Any, instance: Any, args: Any, kwargs: Any
    ) -> Any:
        iterates = type(instance).__name__ == "CursorIterator"
        if _options is not None and iterates and getattr(instance, "_state", None) is not None:
            return await function(*args, **kwargs)
        return await real(self, function, instance, args, kwargs)

    owner._do_cursor_execute = do_cursor_execute  # noqa: SLF001


def _hook_aiosqlite(module: Any) -> None:
    """Carry the context into aiosqlite's thread, and who asked: there neither can be told."""
    real = module.Connection._execute  # noqa: SLF001

    @functools.wraps(real)
    def execute(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        if _options is None:
            return real(self, function, *args, **kwargs)
        if "execute" in getattr(function, "__name__", "") and not _is_sqlalchemy_s():
            function = _in_this_context(function)
        return real(self, function, *args, **kwargs)

    module.Connection._execute = execute  # noqa: SLF001


def _in_this_context(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        context = contextvars.copy_context()
        context.run(_asker.set, _Asker(callsite.stack()))
    except Exception:
        guard.failed("context of a query in a thread")
        return function
    return functools.partial(context.run, function)


# What their spans lack.


def _ended(span: ReadableSpan) -> dict[str, Any] | None:
    """What the span of a driver's query gets; None for any other span."""
    scope, options = span.instrumentation_scope, _options
    if options is None or span.kind is not SpanKind.CLIENT or scope is None:
        return None
    given = span.attributes or {}
    text = given.get(semconv.DB_QUERY_TEXT) or given.get(semconv.OLD_DB_STATEMENT)
    if not isinstance(text, str) or semconv.QUERY_FINGERPRINT in given:
        return None
    system = given.get(semconv.DB_SYSTEM_NAME) or given.get(semconv.OLD_DB_SYSTEM) or ""
    if system in reading.CACHES:
        return None
    statement = database.read(text, str(system))
    found = database.of_statement(statement)
    if not given.get(semconv.DB_QUERY_TEXT):
        found[semconv.OLD_DB_STATEMENT] = found.pop(semconv.DB_QUERY_TEXT, "")
    where = _put_place(found, options)
    found |= _error(span)
    # The parameters are not told: with any, each execution is taken for different.
    same_as = None if statement.placeholders else hash(text)
    _judge(span, found, statement, where, same_as, options)
    return found


def _put_place(found: dict[str, Any], options: Settings) -> str:
    asker = _asker.get()
    if asker is None:
        return place.put(found, options)
    if asker.stack is None:
        return ""
    told, where = place.told(asker.stack, options)
    found.update(told)
    return where


def _judge(
    span: ReadableSpan,
    found: dict[str, Any],
    statement: Statement,
    where: str,
    same_as: int | None,
    options: Settings,
) -> None:
    record = records.current()
    if record is None or record.closed:
        return
    if span.name.startswith(FETCHES):
        found[semconv.QUERY_FETCH] = True
    nanoseconds = (span.end_time or 0) - (span.start_time or 0)
    queries = Queries.of(record, options)
    queries.add(statement, nanoseconds)
    if is_judged(statement, found):
        detector = queries.detector(getattr(span, light.UNIT, 0))
        flag(found, detector, statement, where, same_as, same_as, nanoseconds)


def _error(span: ReadableSpan) -> dict[str, Any]:
    """The database's code, and who raised: the span ends while its exception is on its way."""
    error = sys.exc_info()[1]
    if error is None or span.status.status_code is not StatusCode.ERROR:
        return {}
    code = errors.code(error)
    told = {semconv.ERROR_TYPE: exceptions.type_name(type(error))}
    return told | ({semconv.DB_RESPONSE_STATUS_CODE: masking.text(code)} if code else {})
