"""The standard library's `logging`: every record that a logger lets pass, whatever its handlers do.

Seen in `Logger.callHandlers`. A handler of ours would change the app: `logging.basicConfig` does nothing
any more when the root logger has one, `dictConfig` removes it, and a logger without `propagate` never
reaches it. Levels, filters and handlers stay the app's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_toolbar import guard
from otel_toolbar.signals.core import logs
from otel_toolbar.version import VERSION

from .described import attributes, body, severity

SCOPE = InstrumentationScope("otel_toolbar.signals.logs", VERSION)

_OURS = ("otel_toolbar",)
"""Loggers of our own words: a fault in here must not log itself."""

_real: Callable[..., None] | None = None


def install() -> None:
    """See every log record from now on."""
    global _real
    if _real is None:
        _real = logging.Logger.callHandlers
        logging.Logger.callHandlers = _call_handlers


def uninstall() -> None:
    """See none any more. What others have put around the method meanwhile stays."""
    global _real
    if logging.Logger.callHandlers is _call_handlers and _real is not None:
        logging.Logger.callHandlers = _real
        _real = None


def _call_handlers(self: Any, record: logging.LogRecord) -> None:  # pragma: no cover
    before = logs.from_the_sdk()
    try:
        _real(self, record)  # pyright: ignore[reportOptionalCall]
    finally:
        # Afterwards: what a handler has formatted need not be formatted again.
        _see(record, before)


# Made a line of `logging` itself: the handlers' error reports leave such frames out of the stack that
# they print, and so it stays as it was. (Its coverage is counted there, too.)
_call_handlers.__code__ = _call_handlers.__code__.replace(co_filename=logging.__file__)


def _see(record: logging.LogRecord, before: int) -> None:
    try:
        if record.name.startswith(_OURS) or logs.from_the_sdk() != before:
            return  # our own words; or a handler of the SDK's has emitted it already
        if logs.wanted():
            logs.emit(
                logs.LightLog(
                    severity(record.levelno),
                    record.levelname,
                    body(record),
                    attributes(record),
                    SCOPE,
                    time=int(record.created * 1e9),
                )
            )
    except Exception:
        guard.failed("a log record")
