"""What a span takes in memory, about: the store's bound in bytes is kept by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

SPAN = 1000
"""Bytes of a span with some attributes, its long values apart."""

_ITEM = 50
"""Bytes of an item of an array or a map, what it holds apart."""

_MAX_DEPTH = 10
"""A value that holds itself is no reason to fail."""

_SMALL = frozenset({int, float, bool, type(None)})


def of(span: Any) -> int:
    """Estimated bytes of a span of any door: texts count, the rest is about the same for all."""
    total = SPAN + _all(span.attributes)
    for event in span.events:
        total += _ITEM + _all(event.attributes)
    return total


def _all(attributes: Any) -> int:
    if not attributes:
        return 0
    # A copy first: the SDK's own mapping takes a lock for each value.
    values = attributes.copy() if hasattr(attributes, "copy") else attributes
    total = 0
    for value in values.values():
        kind = value.__class__
        if kind is str:
            total += len(value)
        elif kind not in _SMALL:
            total += _value(value, 0)
    return total


def _value(value: Any, depth: int) -> int:
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    if depth == _MAX_DEPTH:
        return 0
    items: Iterable[Any] = ()
    if isinstance(value, dict):
        items = list(cast("dict[Any, Any]", value).values())
    elif isinstance(value, (list, tuple)):
        items = cast("Iterable[Any]", value)
    return sum([_ITEM + _value(item, depth + 1) for item in items])
