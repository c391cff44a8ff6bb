"""The app's line that asks the database, on a span."""

from __future__ import annotations

from typing import Any

from otel_toolbar import guard, semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import callsite
from otel_toolbar.signals.core.callsite import Stack


def put(attributes: dict[str, Any], options: Settings) -> str:
    """Write the call site down; returns what the N+1 rule knows it by, empty when there is none."""
    try:
        stack = callsite.stack()
    except Exception:  # the query is worth more than its place
        guard.failed("call site of a query")
        return ""
    return "" if stack is None else describe(attributes, stack, options)


def describe(attributes: dict[str, Any], stack: Stack, options: Settings) -> str:
    """Write a stack down; returns what the N+1 rule knows it by."""
    innermost = stack.places[0]
    attributes[semconv.CODE_FILE_PATH] = innermost.file
    attributes[semconv.CODE_LINE_NUMBER] = innermost.line
    attributes[semconv.CODE_FUNCTION_NAME] = innermost.function
    if not options.stacks:
        return stack.key
    attributes[semconv.CODE_STACKTRACE] = stack.text
    return stack.path
