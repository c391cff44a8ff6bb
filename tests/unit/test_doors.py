"""Doors test: one trace through the SDK's own door and through an OTLP file shows the same panels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from otel_toolbar import panels
from otel_toolbar.insights.summary import summarize
from otel_toolbar.intake import importer
from otel_toolbar.model import Trace
from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from otel_toolbar.store.base import Query
from otel_toolbar.store.memory import MemoryStore
from tests.telemetry import exchange, http_scope, made_global, telemetry, watched


async def page(request: Any) -> JSONResponse:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.connect() as connection:
        for number in range(6):
            await connection.execute(text("SELECT :number, 'ä'"), {"number": number})
        try:
            await connection.execute(text("SELECT broken FROM nowhere"))
        except Exception as error:
            found = type(error).__name__
    await engine.dispose()
    return JSONResponse({"error": found})


async def test_the_sdk_and_an_otlp_file_give_the_same_views(tmp_path: Path) -> None:
    options = Settings()
    file = tmp_path / "traces.json"
    signals = telemetry(options)
    signals.provider.add_span_processor(SimpleSpanProcessor(FileSpanExporter(file)))
    queries.install(options)
    app = Starlette(routes=[Route("/orders/{id}", page)])
    scope = http_scope("/orders/7", query_string=b"a=1", headers=[(b"host", b"h"), (b"x-a", b"1")])
    with made_global(signals.provider):
        assert (await exchange(watched(app), scope)).status == 200
    signals.provider.shutdown()

    imported = MemoryStore(options)
    (trace_id,) = importer.load(imported, file.read_bytes())
    direct = _at_one_time(signals.store.get(trace_id))
    from_file = _at_one_time(imported.get(trace_id))

    assert len(direct.spans) == 9
    assert summarize(direct, options) == summarize(from_file, options)
    assert summarize(direct, options).counts.n_plus_one == 1
    for panel in panels.load():
        assert panel.view(direct, options) == panel.view(from_file, options), panel.id
    (listed,) = signals.store.list(Query()).traces
    assert listed == imported.list(Query()).traces[0]


def _at_one_time(trace: Trace | None) -> Trace:
    assert trace is not None
    spans = tuple(sorted(trace.spans, key=lambda span: (span.start, span.span_id)))
    return dataclasses.replace(trace, spans=spans, now=spans[-1].start + 1)
