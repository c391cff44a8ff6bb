"""The door for spans and log records of this process: a SpanExporter in front of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_toolbar import guard
from otel_toolbar.store.base import Store
from otel_toolbar.wire import packed


class StoreExporter(SpanExporter):
    """Puts what has ended into `store`. A store that fails costs the toolbar, never the app."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def export(self, spans: Sequence[ReadableSpan], logs: Sequence[Any] = ()) -> SpanExportResult:
        """Store spans and log records, light ones or the SDK's.

        What belongs to no trace is left out, but for the facts of a process.
        """
        try:
            if len(spans) == 1 and not logs:  # most requests are no more than that
                context: Any = spans[0].context
                self._store.add(f"{context.trace_id:032x}", packed.pack(spans))
                return SpanExportResult.SUCCESS
            for facts in packed.process_facts(logs):
                self._store.keep_process(facts)
            for trace_id, group in packed.by_trace(spans, logs).items():
                self._store.add(trace_id, packed.pack(group.items, group.logged))
        except Exception:
            guard.failed("store")
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS
