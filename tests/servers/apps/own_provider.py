"""An app that sets up OpenTelemetry itself, at import, with an exporter of its own."""

import os

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider(
    resource=Resource({"service.name": "mine", **eval(os.environ.get("APP_RESOURCE", "{}"))})
)
provider.add_span_processor(SimpleSpanProcessor(exporter))
app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    with provider.get_tracer("mine").start_as_current_span("work"):
        return {"hello": "world"}


@app.get("/exported")
async def exported() -> list[list[str]]:
    return [[span.name, span.kind.name] for span in exporter.get_finished_spans()]


if os.environ.get("WRAP") == "before":
    import otel_toolbar

    app = otel_toolbar.wrap(app)
trace.set_tracer_provider(provider)
if os.environ.get("WRAP") == "after":
    import otel_toolbar

    app = otel_toolbar.wrap(otel_toolbar.wrap(app))
