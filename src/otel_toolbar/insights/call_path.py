"""The way through the app's code that led to a query."""

from __future__ import annotations

from collections.abc import Iterable


def call_path(lines: Iterable[str]) -> str:
    """The lines of an app's stack, each once: however deep a recursion is, it is one path."""
    return "\n".join(dict.fromkeys(lines))
