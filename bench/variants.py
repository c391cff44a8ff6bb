"""The table of variants: name -> (builder, the bare variant it is compared with).

A builder gets the engine and returns the app as a server would run it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

import apps

Builder = Callable[[Any], Any]


def _sdk() -> None:
    """The providers that stock `opentelemetry-instrument` makes: spans in batches, metrics aggregated.

    Nothing is sent: spans go to a bounded ring, and nobody collects the metrics.
    """
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Ring(SpanExporter):
        def __init__(self) -> None:
            self.kept: deque[Any] = deque(maxlen=20_000)

        def export(self, spans: Any) -> SpanExportResult:
            self.kept.extend(spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Ring(), max_queue_size=65_536))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))


def _toolbar(app: Any) -> Any:
    """As `opentelemetry-instrument` sets it up, with nothing exported."""
    from otel_toolbar.distro.asgi import wrapped
    from otel_toolbar.distro.configurator import ToolbarConfigurator
    from otel_toolbar.distro.distro import ToolbarDistro

    os.environ["OTEL_TOOLBAR_ALLOWED_HOSTS"] = "bench.local"
    ToolbarDistro().configure()
    ToolbarConfigurator().configure()
    return wrapped(app)


def fastapi_contrib(engine: Any) -> Any:
    """opentelemetry-instrumentation-fastapi and -sqlalchemy with their defaults."""
    _sdk()
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app = apps.fastapi_app(engine)
    FastAPIInstrumentor.instrument_app(app)
    return app


def fastapi_native(engine: Any) -> Any:
    """FastAPI's own spans: the maker of the SERVER span that ours builds on."""
    _sdk()
    return apps.fastapi_app(engine)


def starlette_contrib(engine: Any) -> Any:
    """opentelemetry-instrumentation-asgi with its defaults."""
    _sdk()
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(apps.starlette_app(engine))


VARIANTS: dict[str, tuple[Builder, str]] = {
    "fastapi bare": (apps.fastapi_app, "fastapi bare"),
    "fastapi + contrib": (fastapi_contrib, "fastapi bare"),
    "fastapi + its own spans": (fastapi_native, "fastapi bare"),
    "fastapi + otel-toolbar": (lambda engine: _toolbar(apps.fastapi_app(engine)), "fastapi bare"),
    "starlette bare": (apps.starlette_app, "starlette bare"),
    "starlette + contrib": (starlette_contrib, "starlette bare"),
    "starlette + otel-toolbar": (
        lambda engine: _toolbar(apps.starlette_app(engine)),
        "starlette bare",
    ),
}
