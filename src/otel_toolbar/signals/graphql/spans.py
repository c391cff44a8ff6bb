"""The spans of operations and resolvers; what is not needed while the request runs is made when read."""

from __future__ import annotations

import time
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind

from otel_toolbar import semconv
from otel_toolbar.signals.core import lazy, light
from otel_toolbar.signals.core import record as records
from otel_toolbar.version import VERSION

from . import document
from .field import Field, path_text

SCOPE = InstrumentationScope("otel_toolbar.signals.graphql", VERSION)
OPERATION = "GraphQL operation"
"""Name of an operation whose type is not known: not parsed yet, or not to be parsed."""


class Asked:
    """What an operation was asked for, put in words when somebody reads it."""

    __slots__ = ("name", "source")

    def __init__(self, source: str | None, name: str | None) -> None:
        self.source = source
        """The document's text; None where only its tree was given."""
        self.name = name

    def facts(self) -> dict[str, Any]:
        return {} if self.source is None else document.described(self.source, self.name or "")


class OperationSpan(lazy.LazySpan):
    """The span of an operation in a request that still runs."""

    __slots__ = ("_asked", "_told")

    def __init__(self, asked: Asked, above: Span, record: records.Record) -> None:
        super().__init__(SpanKind.INTERNAL, above, record, time.time_ns())
        self.instrumentation_scope = SCOPE
        self.name = OPERATION
        self._asked = asked
        self._told: dict[str, Any] = {}

    def tell(self, key: str, value: Any) -> None:
        """Add a fact without making the others."""
        self._told[key] = value

    @property
    def attributes(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        facts = self._facts
        if facts is None or self._told:
            with lazy.making:
                facts = self._facts = self._facts or self._asked.facts()
                told, self._told = self._told, {}
                facts.update(told)
        return facts


class ResolverSpan(lazy.LazySpan):
    """The span of one call of a resolver in a request that still runs."""

    __slots__ = ("_field", "_path")

    def __init__(self, field: Field, path: Any, above: Span, record: records.Record) -> None:
        super().__init__(SpanKind.INTERNAL, above, record, time.time_ns())
        self.instrumentation_scope = SCOPE
        self.name = field.title
        self._field = field
        self._path = path

    def _new_facts(self) -> dict[str, Any]:
        return _of_call(self._field, self._path)


def start_operation(asked: Asked) -> Span:
    """Start the span of an operation; it is not made current."""
    record = _record()
    if record is None:
        return light.start(OPERATION, SpanKind.INTERNAL, asked.facts(), SCOPE)
    span = OperationSpan(asked, trace.get_current_span(), record)
    record.keep(span)
    return span


def start_resolver(field: Field, path: Any) -> Span:
    """Likewise for one call of a resolver."""
    record = _record()
    if record is None:
        return light.start(field.title, SpanKind.INTERNAL, _of_call(field, path), SCOPE)
    span = ResolverSpan(field, path, trace.get_current_span(), record)
    record.keep(span)
    return span


def start_rest(field: Field, path: Any) -> Span:
    """The span for all further calls of one path."""
    facts = field.facts() | {semconv.GRAPHQL_FIELD_PATH: path_text(path, collapsed=True)}
    return light.start(field.title, SpanKind.INTERNAL, facts, SCOPE)


def tell(span: Span, key: str, value: Any) -> None:
    """Set an attribute, at once or when somebody reads the span."""
    if isinstance(span, OperationSpan):
        span.tell(key, value)
    else:
        span.set_attribute(key, value)


def _record() -> records.Record | None:
    """The request that keeps lazy spans; None where the span has to be made whole at once."""
    record = records.current()
    if record is None or record.server is None or record.closed_at or record.told_of_starts:
        return None
    return record


def _of_call(field: Field, path: Any) -> dict[str, Any]:
    return field.facts() | {semconv.GRAPHQL_FIELD_PATH: path_text(path)}
