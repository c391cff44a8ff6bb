"""How wide a row of a result is: what is free to learn when it comes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from opentelemetry.trace import Span

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import light

_SIZED = frozenset({str, bytes, bytearray, memoryview})
_OTHER = 8
"""Bytes that any other value is taken for."""


def first_fetched(span: Span, fetched: Any) -> None:
    """Note the size of the first row of a result: `fetched` is a row or a list of them."""
    try:
        row = cast("list[Any]", fetched)[0] if type(fetched) is list else fetched
        light.late(span, semconv.QUERY_ROW_SIZE, _size(row))
    except Exception:  # a driver's own kind of row
        guard.failed("size of a row")


def _size(row: Iterable[Any]) -> int:
    size, sized = 0, _SIZED
    for value in row:
        size += len(value) if type(value) in sized else _OTHER
    return size
