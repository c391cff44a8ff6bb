"""The door for spans of this process: an ordinary SpanExporter in front of a store."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_toolbar import guard
from otel_toolbar.store.base import Store
from otel_toolbar.wire import packed


class StoreExporter(SpanExporter):
    """Puts ended spans into `store`. A store that fails costs the toolbar, never the app."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            for trace_id, group in packed.by_trace(spans).items():
                self._store.add(trace_id, packed.pack(group))
        except Exception:
            guard.failed("store")
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS
