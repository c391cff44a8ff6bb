"""The app's line that asks the database, on a span."""

from __future__ import annotations

from typing import Any, Final

from otel_toolbar import guard
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import callsite
from otel_toolbar.signals.core.callsite import Stack

_UNKNOWN: Final[tuple[dict[str, Any], str]] = {}, ""


def put(attributes: dict[str, Any], options: Settings) -> str:
    """Write the call site down; returns what the N+1 rule knows it by, empty when there is none."""
    told, where = find(options)
    attributes.update(told)
    return where


def find(options: Settings) -> tuple[dict[str, Any], str]:
    """The attributes of the call site, not to be written to, and what the N+1 rule knows it by.

    Both are empty when there is none.
    """
    try:
        stack = callsite.stack()
    except Exception:  # the query is worth more than its place
        guard.failed("call site of a query")
        return _UNKNOWN
    return _UNKNOWN if stack is None else told(stack, options)


def told(stack: Stack, options: Settings) -> tuple[dict[str, Any], str]:
    """The same of a stack that is known."""
    if options.stacks:
        return stack.attributes, stack.path
    return stack.innermost, stack.key
