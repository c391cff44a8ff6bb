"""The door for spans of this process: an ordinary SpanExporter in front of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

from otel_toolbar import guard
from otel_toolbar.store.base import Store
from otel_toolbar.wire import sdk

_SPAN_BYTES = 1000
"""What a span with some attributes takes in memory beside its long texts, about."""


class StoreExporter(SpanExporter):
    """Puts ended spans into `store`. A store that fails costs the toolbar, never the app."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            for trace_id, group in _by_trace(spans).items():
                self._store.add(trace_id, group, sum(map(_size, group)))
        except Exception:
            guard.failed("store")
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


def _by_trace(spans: Sequence[ReadableSpan]) -> dict[str, list[ReadableSpan]]:
    groups: dict[str, list[ReadableSpan]] = {}
    for span in spans:
        groups.setdefault(sdk.trace_id(cast(SpanContext, span.context)), []).append(span)
    return groups


def _size(span: ReadableSpan) -> int:
    """Estimated bytes: texts count, the rest is about the same for every span."""
    attributes: Any = span.attributes or {}
    # A copy first: the SDK's own mapping takes a lock for each value.
    values = attributes.copy().values() if hasattr(attributes, "copy") else attributes.values()
    return _SPAN_BYTES + sum([len(value) for value in values if isinstance(value, str)])
