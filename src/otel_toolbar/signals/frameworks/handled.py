"""Exceptions that a framework makes a response of: they never reach the outside.

Each framework has one place through which they go; there the exception is put on the SERVER span.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_toolbar import guard
from otel_toolbar.signals.core import exceptions, imports
from otel_toolbar.signals.core import record as records

Judge = Callable[[Any, Any], "tuple[BaseException, bool] | None"]
"""From an exception and what the place returned for it: what to note, and whether it was handled."""

_SERVER_ERROR = 500


def install() -> None:
    """Put the hooks in as soon as the framework's module is imported."""
    _see("starlette._exception_handler", "_lookup_exception_handler", 1, _starlette)
    _see(
        "litestar.middleware._internal.exceptions.middleware", "get_exception_handler", 1, _litestar
    )
    _see("quart.app", "Quart._find_error_handler", 0, _quart)
    _see("django.core.handlers.exception", "response_for_exception", 1, _django)


def _starlette(error: Any, handler: Any) -> tuple[BaseException, bool] | None:
    return None if handler is None else (error, True)  # without a handler it is raised on


def _litestar(error: Any, handler: Any) -> tuple[BaseException, bool] | None:
    status = getattr(error, "status_code", _SERVER_ERROR)
    return error, handler is not None or status < _SERVER_ERROR


def _quart(error: Any, handler: Any) -> tuple[BaseException, bool] | None:
    original = getattr(error, "original_exception", None)
    if original is not None:
        return original, False
    answered = handler is not None or getattr(error, "code", None) is not None
    return (error, True) if answered else None  # it comes again, as the original of a server error


def _django(error: Any, response: Any) -> tuple[BaseException, bool] | None:
    return error, response.status_code < _SERVER_ERROR


def _see(module_name: str, function: str, place: int, judge: Judge) -> None:
    """Note the exception that `function` is given as its argument number `place`."""

    def wrapper(
        real: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        result = real(*args, **kwargs)
        try:
            _note(judge(args[place], result))
        except Exception:
            guard.failed(f"an exception that {module_name} handles")
        return result

    lost = "exceptions that it makes responses of are not seen"
    imports.wrap(module_name, function, wrapper, lost)


def _note(told: tuple[BaseException, bool] | None) -> None:
    record = records.current()
    span = record.server if record is not None else None
    if told is not None and span is not None and span.is_recording():
        error, handled = told
        exceptions.record(span, error, handled=handled)
