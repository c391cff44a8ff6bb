"""Writes down where in the app's own code a call comes from."""

from __future__ import annotations

from typing import Any

from otel_toolbar import guard, semconv
from otel_toolbar.settings import Settings

from . import callsite


class _Options:
    stacks = Settings().stacks


def configure(options: Settings) -> None:
    """Take `STACKS` from the settings."""
    _Options.stacks = options.stacks


def of_the_app() -> dict[str, Any]:
    """The attributes `code.*` of the app's innermost frame; empty when no frame is the app's."""
    try:
        stack = callsite.stack()
    except Exception:  # the call is worth more than its place
        guard.failed("call site")
        return {}
    if stack is None:
        return {}
    innermost = stack.places[0]
    found: dict[str, Any] = {
        semconv.CODE_FILE_PATH: innermost.file,
        semconv.CODE_LINE_NUMBER: innermost.line,
        semconv.CODE_FUNCTION_NAME: innermost.function,
    }
    if _Options.stacks:
        found[semconv.CODE_STACKTRACE] = stack.text
    return found
