"""What a database's error is called, and how it is put on a span."""

from __future__ import annotations

from opentelemetry.trace import Span, StatusCode

from otel_toolbar import semconv
from otel_toolbar.signals.core import exceptions


def put(span: Span, error: BaseException) -> None:
    """Write an error down: its type, the database's code, and the exception itself."""
    # SQLAlchemy's own errors wrap the driver's.
    original = getattr(error, "orig", None)
    raised = original if isinstance(original, BaseException) else error
    span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(raised)))
    told = code(raised)
    if told:
        span.set_attribute(semconv.DB_RESPONSE_STATUS_CODE, told)
    span.set_status(StatusCode.ERROR)
    exceptions.record(span, raised)


def code(error: BaseException) -> str:
    """The database's own code of an error: MySQL's number, SQLSTATE, or SQLite's name."""
    first = error.args[0] if error.args else None
    if isinstance(first, int) and not isinstance(error, OSError):
        return str(first)
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        told = getattr(error, name, None)
        if isinstance(told, str):
            return told
    return ""
