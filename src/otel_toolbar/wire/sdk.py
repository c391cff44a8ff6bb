"""From the values of the OpenTelemetry SDK to those of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from otel_toolbar.model import Value


def attributes(given: Mapping[str, Any] | None) -> dict[str, Value]:
    """Attributes with arrays as tuples."""
    return {key: value(item) for key, item in (given or {}).items()}


def value(item: Any) -> Value:
    """One attribute value in the model's types."""
    if isinstance(item, (list, tuple)):
        return tuple(value(each) for each in cast("Sequence[Any]", item))
    if isinstance(item, Mapping):
        return attributes(cast("Mapping[str, Any]", item))
    return item
