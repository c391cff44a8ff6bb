"""Makes one small trace, sends it where OTEL_EXPORTER_OTLP_ENDPOINT says, and prints
what it made as JSON: the trace id and every span.

A stand-in for an app. It is a program of its own, so that the OpenTelemetry SDK's
global state stays out of the test process, as it does with a real app.
"""

import json
from contextlib import suppress

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

REQUEST = {
    "http.request.method": "GET",
    "http.route": "/orders",
    "http.response.status_code": 500,
    "toolbar.queries.count": 2,
    "toolbar.queries.duration": 0.00375,
    "toolbar.n_plus_one.count": 1,
    # A zero is a fact too: formats that leave out default values would lose it.
    "toolbar.blocking.count": 0,
    "toolbar.memory.rss.before": 2**40,
}
QUERY = {
    "db.system.name": "sqlite",
    "db.query.text": "SELECT name FROM customer WHERE id = ?",
    "db.query.parameter.0": "7",
    "code.file.path": "shop/orders.py",
    "code.line.number": 42,
}
REPEATED = QUERY | {
    "db.query.parameter.0": "8",
    "toolbar.n_plus_one": True,
    "toolbar.n_plus_one.position": 2,
}
TASK = {
    "asyncio.task.name": "Einkauf für 5 €",
    "asyncio.task.wait.duration": 1.5,
    "asyncio.task.cpu.duration": 0.0,
    "asyncio.task.timeline": [120, 4000, 35],
}


def main() -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    make_trace(provider.get_tracer("send_trace"))
    provider.shutdown()
    spans = kept.get_finished_spans()
    trace_id = trace.format_trace_id(context_of(spans[0]).trace_id)
    print(json.dumps({"trace_id": trace_id, "spans": [described(span) for span in spans]}))


def make_trace(tracer: trace.Tracer) -> None:
    # What is raised ends on the span, as an event and a status.
    with (
        suppress(ValueError),
        tracer.start_as_current_span("GET /orders", kind=SpanKind.SERVER, attributes=REQUEST),
    ):
        for query in (QUERY, REPEATED):
            tracer.start_span("SELECT customer", kind=SpanKind.CLIENT, attributes=query).end()
        tracer.start_span("task refresh", attributes=TASK).end()
        raise ValueError("sold out")


def described(span: ReadableSpan) -> dict[str, object]:
    return {
        "span_id": trace.format_span_id(context_of(span).span_id),
        "parent_id": trace.format_span_id(span.parent.span_id) if span.parent else None,
        "name": span.name,
        "kind": span.kind.name,
        "status": span.status.status_code.name,
        "start": span.start_time,
        "end": span.end_time,
        "attributes": dict(span.attributes or {}),
        "events": {event.name: dict(event.attributes or {}) for event in span.events},
    }


def context_of(span: ReadableSpan) -> trace.SpanContext:
    assert span.context is not None  # so it is for every span that a tracer made
    return span.context


if __name__ == "__main__":
    main()
