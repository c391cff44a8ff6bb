"""What a span or log record of the model takes in memory, about; of a packed one it is known exactly."""

from __future__ import annotations

from otel_toolbar.model.log import Log
from otel_toolbar.model.span import Attributes, Span, Value

SPAN = 1000
"""Bytes of a span with some attributes, its long values apart."""

_ITEM = 50
"""Bytes of an item of an array or a map, what it holds apart."""

_MAX_DEPTH = 10
"""A value that holds itself is no reason to fail."""


def of(span: Span) -> int:
    """Estimated bytes: texts count, the rest is about the same for every span."""
    events = sum([_ITEM + _all(event.attributes) for event in span.events])
    return SPAN + _all(span.attributes) + events


def of_log(log: Log) -> int:
    """The same of a log record."""
    return SPAN + _value(log.body, 0) + _all(log.attributes)


def _all(attributes: Attributes) -> int:
    return sum([_value(value, 0) for value in attributes.values()])


def _value(value: Value, depth: int) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if depth == _MAX_DEPTH:
        return 0
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    return sum([_ITEM + _value(item, depth + 1) for item in items])
