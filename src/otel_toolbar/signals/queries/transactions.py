"""Transactions: a span for what ends one, with its length, and for savepoints.

SQLAlchemy begins a transaction without a word to the database; it is open from the first statement
on. Where none came there is nothing to end, and no span says so.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import Span, SpanKind

from otel_toolbar import guard, semconv
from otel_toolbar.insights.transactions import savepoint
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import light

from . import database, errors, patches, place
from .scope import SCOPE, has_parent

_TRANSACTION = "_otel_toolbar_transaction"
"""Attribute of a Connection: its transaction."""

_ENDS = {
    "_rollback_impl": "ROLLBACK",
    "_commit_impl": "COMMIT",
    "_prepare_twophase_impl": "PREPARE TRANSACTION",
    "_rollback_twophase_impl": "ROLLBACK PREPARED",
    "_commit_twophase_impl": "COMMIT PREPARED",
}


class Transaction:
    """What has been done in a transaction so far. `ending` while SQLAlchemy ends it."""

    __slots__ = ("began", "ending", "savepoints", "statements")

    def __init__(self, began: int) -> None:
        self.began = began
        self.statements = 0
        self.ending = False
        self.savepoints: dict[str, int] = {}


def hook(options: Settings) -> None:
    """Wrap what ends transactions; `patches.undo` takes it out."""
    from sqlalchemy.engine import Connection

    for name, operation in _ENDS.items():
        patches.wrap(
            Connection, name, functools.partial(_ending, operation=operation, options=options)
        )


def is_ending(connection: Any) -> bool:
    """True for the statements by which SQLAlchemy itself ends a transaction: they have their span."""
    transaction: Transaction | None = getattr(connection, _TRANSACTION, None)
    return transaction is not None and transaction.ending


def takes_part(connection: Any, began: int) -> Transaction:
    """Count a statement that began at `began`, ns."""
    transaction: Transaction | None = getattr(connection, _TRANSACTION, None)
    if transaction is None:
        transaction = Transaction(began)
        setattr(connection, _TRANSACTION, transaction)
    transaction.statements += 1
    return transaction


def describe_control(transaction: Transaction, span: Span, text: str) -> None:
    """Write down what a SAVEPOINT, RELEASE or ROLLBACK TO does."""
    transaction.statements -= 1
    found = savepoint(text)
    if found is None:
        return
    operation, name = found
    span.set_attribute(semconv.DB_OPERATION_NAME, operation)
    span.set_attribute(semconv.TRANSACTION_SAVEPOINT, name)
    span.update_name(operation)
    now = time.time_ns()
    began = transaction.savepoints.setdefault(name, now)
    if operation != "SAVEPOINT":
        span.set_attribute(semconv.TRANSACTION_DURATION, (now - began) / 1e9)
    if operation == "RELEASE SAVEPOINT":
        transaction.savepoints.pop(name, None)


def _ending(real: Callable[..., Any], operation: str, options: Settings) -> Callable[..., Any]:
    @functools.wraps(real)
    def end(self: Any, *args: Any, **kwargs: Any) -> Any:
        span = _start(self, operation, options)
        if span is None:
            return real(self, *args, **kwargs)
        try:
            result = real(self, *args, **kwargs)
        except BaseException as error:
            _end(self, span, error, operation)
            raise
        _end(self, span, None, operation)
        return result

    return end


def _start(connection: Any, operation: str, options: Settings) -> Span | None:
    """The span of what ends a transaction; None when there is nothing to end or to show."""
    try:
        transaction: Transaction | None = getattr(connection, _TRANSACTION, None)
        if transaction is None or transaction.ending:
            return None
        if not has_parent() or not _is_open(connection):
            setattr(connection, _TRANSACTION, None)
            return None
        attributes = database.of(connection.engine).attributes | {
            semconv.DB_OPERATION_NAME: operation,
            semconv.TRANSACTION_STATEMENTS: transaction.statements,
        }
        place.put(attributes, options)
        span = light.start(operation, SpanKind.CLIENT, attributes, SCOPE)
        transaction.ending = True
        return span
    except Exception:
        guard.failed("end of a transaction")
        return None


def _end(connection: Any, span: Span, error: BaseException | None, operation: str) -> None:
    try:
        transaction: Transaction = getattr(connection, _TRANSACTION)
        transaction.ending = False
        if operation != "PREPARE TRANSACTION":  # it is open until it is committed or rolled back
            setattr(connection, _TRANSACTION, None)
        if error is not None:
            errors.put(span, error)
        length = (time.time_ns() - transaction.began) / 1e9
        span.set_attribute(semconv.TRANSACTION_DURATION, length)
        span.end()
    except Exception:
        guard.failed("end of a transaction")


def _is_open(connection: Any) -> bool:
    """False where the statements have opened none: in autocommit, and for SQLite's reads."""
    if connection.invalidated or connection.closed:
        return False
    if getattr(connection, "_is_autocommit_isolation", bool)():
        return False
    told = getattr(connection.connection.driver_connection, "in_transaction", None)
    return told if isinstance(told, bool) else True
