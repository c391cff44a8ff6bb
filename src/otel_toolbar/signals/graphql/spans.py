"""The spans of operations and resolvers; what they say is put in words when somebody reads them."""

from __future__ import annotations

from functools import partial
from typing import Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind

from otel_toolbar import semconv
from otel_toolbar.signals.core import light
from otel_toolbar.version import VERSION

from . import document
from .field import Field, path_text

SCOPE = InstrumentationScope("otel_toolbar.signals.graphql", VERSION)
OPERATION = "GraphQL operation"
"""Name of an operation whose type is not known: not parsed yet, or not to be parsed."""


def start_operation(source: str | None, name: str | None) -> Span:
    """Start the span of an operation; it is not made current.

    `source` is the document's text, None where only its tree was given; `name` says which operation of
    it, None for the first.
    """
    told = None if source is None else partial(document.described, source, name or "")
    return light.start(OPERATION, SpanKind.INTERNAL, {}, SCOPE, deferred=told)


def start_resolver(field: Field, path: Any) -> Span:
    """Likewise for one call of a resolver."""
    return _start(field, partial(_place, path))


def start_rest(field: Field, path: Any) -> Span:
    """The span for all further calls of one place."""
    return _start(field, partial(_place, path, collapsed=True))


def _start(field: Field, told: partial[dict[str, Any]]) -> Span:
    return light.start(
        field.title, SpanKind.INTERNAL, {}, SCOPE, shared=(field.facts,), deferred=told
    )


def _place(path: Any, *, collapsed: bool = False) -> dict[str, Any]:
    return {semconv.GRAPHQL_FIELD_PATH: path_text(path, collapsed=collapsed)}
