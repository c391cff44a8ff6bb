"""A field that the app resolves itself, at one place of an operation's result."""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import Span

from otel_toolbar import semconv

_MAX_DEPTH = 100
Place = tuple[str, ...]
"""Type that has the field, and the path without list indexes, innermost first."""


class Field:
    """What all calls of a resolver at one place have in common, and how many there were."""

    __slots__ = ("calls", "facts", "last", "more", "nanoseconds", "rest", "title")

    def __init__(self, info: Any) -> None:
        self.title = f"resolve {info.parent_type.name}.{info.field_name}"
        self.facts = _facts(info)
        """The attributes that all calls have in common."""
        self.calls = 0
        self.rest: Span | None = None
        """For the calls beyond those that have a span of their own."""
        self.more = 0
        self.nanoseconds = 0
        self.last = 0
        """Their number, time, and when the last one ended."""

    def end_rest(self) -> None:
        """Sum up the calls that have no span of their own."""
        if self.rest is not None:
            self.rest.set_attribute(semconv.GRAPHQL_RESOLVER_COUNT, self.more)
            self.rest.set_attribute(semconv.GRAPHQL_RESOLVER_DURATION, self.nanoseconds / 1e9)
            self.rest.end(self.last or None)


def _facts(info: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        semconv.GRAPHQL_FIELD_NAME: info.field_name,
        semconv.GRAPHQL_PARENT_NAME: info.parent_type.name,
        semconv.GRAPHQL_FIELD_TYPE: str(info.return_type),
    }
    function = _function(info.parent_type.fields.get(info.field_name))
    code = getattr(function, "__code__", None)
    if code is not None:
        facts[semconv.CODE_FUNCTION_NAME] = f"{function.__module__}.{function.__qualname__}"
        facts[semconv.CODE_FILE_PATH] = code.co_filename
        facts[semconv.CODE_LINE_NUMBER] = code.co_firstlineno
    return facts


def _function(definition: Any) -> Any:
    """The app's function behind a field of the schema; None where it is not known."""
    known: dict[str, Any] = getattr(definition, "extensions", None) or {}
    resolver = getattr(known.get("strawberry-definition"), "base_resolver", None)
    return getattr(resolver, "wrapped_func", None)


def place(info: Any) -> Place:
    """Where in the result, for all items of a list the same."""
    path = info.path
    keys: list[str] = [info.parent_type.name]
    while path is not None and len(keys) < _MAX_DEPTH:
        key = path.key
        if type(key) is not int:
            keys.append(key)
        path = path.prev
    return tuple(keys)


def path_text(path: Any, *, collapsed: bool = False) -> str:
    """`orders.3.customer`; collapsed `orders.*.customer`."""
    keys: list[str] = []
    while path is not None and len(keys) < 2 * _MAX_DEPTH:
        keys.append("*" if collapsed and isinstance(path.key, int) else str(path.key))
        path = path.prev
    return ".".join(reversed(keys))


def is_resolved_by_app(info: Any) -> bool:
    """False for what Strawberry or GraphQL itself resolves: attributes, introspection, an event's value."""
    definition = info.parent_type.fields.get(info.field_name)
    function = getattr(definition, "resolve", None)
    if function is None or getattr(function, "_is_default", False):
        return False
    if info.parent_type.name.startswith("__") or info.field_name.startswith("__"):
        return False
    if info.path.prev is None:
        return info.operation.operation.value != "subscription"
    # Below the root, Strawberry's own functions only read attributes: the ids of nodes.
    return not str(getattr(_function(definition), "__module__", "")).startswith("strawberry.")
