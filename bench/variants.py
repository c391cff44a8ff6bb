"""The table of variants. To add one: a builder, which gets the app's `Parts` and returns the app, and a row.

What the others record goes to bounded lists in memory: nothing is encoded or sent. Ours is what a user
has: `opentelemetry-instrument`, the server's hook, the store in the process, all signals that are on by
default.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import apps
import floors
from apps import Parts


@dataclass
class Built:
    """An app, and how to hand on what waits and to see how many queries each request was credited with."""

    app: Any
    flush: Callable[[], Any] = lambda: None
    credited: Callable[[], list[int]] | None = None


Builder = Callable[[Parts], Built]


@dataclass(frozen=True)
class Variant:
    """`bare` names the variant that it is compared with. `environment` is set for its process.

    `toolbar`: started under `opentelemetry-instrument`. `needs`: a package without which it is left out;
    `venv`: where that is, as the Makefile names it. `whole` False: only part of ours, in no table of
    tools.
    """

    build: Builder
    bare: str
    environment: dict[str, str] = field(default_factory=dict)
    toolbar: bool = False
    needs: str = ""
    venv: str = "main"
    whole: bool = True


def plain(app: Callable[[Parts], Any]) -> Builder:
    return lambda parts: Built(app(parts))


# --- OpenTelemetry ---------------------------------------------------------------------------------


class Ring:
    """An exporter of spans or log records into a bounded list."""

    def __init__(self) -> None:
        self.kept: deque[Any] = deque(maxlen=20_000)

    def export(self, batch: Any) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.kept.extend(batch)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def _tracing() -> tuple[Any, Ring]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ring: Any = Ring()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ring, max_queue_size=65_536))
    trace.set_tracer_provider(provider)
    return provider, ring


def _stock(parts: Parts) -> tuple[Callable[[], Any], Ring]:
    """What stock `opentelemetry-instrument` sets up: spans and logs in batches, metrics aggregated.

    Its instrumentations for what the workloads use; asyncio's traces the tasks of workload d, which it
    does only when told their names.
    """
    from opentelemetry import metrics
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor
    from opentelemetry.instrumentation.jinja2 import Jinja2Instrumentor
    from opentelemetry.instrumentation.logging import LoggingInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    provider, ring = _tracing()
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    lines: Any = Ring()
    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(lines, max_queue_size=65_536))
    set_logger_provider(logs)
    SQLAlchemyInstrumentor().instrument(engine=parts.engine.sync_engine)
    AsyncioInstrumentor().instrument()
    Jinja2Instrumentor().instrument()
    LoggingInstrumentor().instrument()
    apps.log.propagate = True  # its handler stands at the root
    return (lambda: (provider.force_flush(), logs.force_flush())), ring


def queries_of_spans(spans: Any) -> list[int]:
    """Query spans of each trace that has a SERVER span."""
    kept = list(spans)
    found = Counter(
        span.context.trace_id
        for span in kept
        if span.attributes.keys() & {"db.statement", "db.query.text"}
    )
    return [found[span.context.trace_id] for span in kept if span.kind.name == "SERVER"]


def _with_stock(parts: Parts, make: Callable[[], Any]) -> Built:
    flush, ring = _stock(parts)
    return Built(make(), flush, lambda: queries_of_spans(ring.kept))


def starlette_stock(parts: Parts) -> Built:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return _with_stock(parts, lambda: OpenTelemetryMiddleware(apps.starlette(parts)))


def litestar_stock(parts: Parts) -> Built:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return _with_stock(parts, lambda: OpenTelemetryMiddleware(apps.litestar(parts)))


def fastapi_stock(parts: Parts) -> Built:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    def make() -> Any:
        app = apps.fastapi(parts)
        FastAPIInstrumentor.instrument_app(app)
        return app

    return _with_stock(parts, make)


def fastapi_native(parts: Parts) -> Built:
    """FastAPI's own telemetry, spans alone: the maker of the SERVER span that ours builds on."""
    provider, _ = _tracing()
    return Built(apps.fastapi(parts), provider.force_flush)


# --- others ----------------------------------------------------------------------------------------


def fastapi_logfire(parts: Parts) -> Built:
    import logfire
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ring: Any = Ring()
    logfire.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        additional_span_processors=[BatchSpanProcessor(ring, max_queue_size=65_536)],
    )
    app = apps.fastapi(parts)
    logfire.instrument_fastapi(app)
    logfire.instrument_sqlalchemy(engine=parts.engine.sync_engine)
    provider: Any = trace.get_tracer_provider()
    return Built(app, provider.force_flush, lambda: queries_of_spans(ring.kept))


def fastapi_sentry(parts: Parts) -> Built:
    import sentry_sdk
    from sentry_sdk.integrations.asyncio import AsyncioIntegration
    from sentry_sdk.transport import Transport

    kept: deque[Any] = deque(maxlen=200)

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            kept.extend(item for item in envelope.items if item.type == "transaction")

    sentry_sdk.init(
        dsn="https://key@sentry.invalid/1",
        transport=Kept,
        traces_sample_rate=1.0,
        integrations=[AsyncioIntegration()],
    )

    def credited() -> list[int]:
        return [
            sum((span.get("op") or "").startswith("db") for span in item.payload.json["spans"])
            for item in kept
        ]

    return Built(apps.fastapi(parts), credited=credited)


_PANELS = "debug_toolbar.core.panels."
LITESTAR_PANELS = [
    _PANELS + "headers.HeadersPanel",
    _PANELS + "settings.SettingsPanel",
    _PANELS + "templates.TemplatesPanel",
    "debug_toolbar.extras.advanced_alchemy.SQLAlchemyPanel",
    _PANELS + "cache.CachePanel",
    _PANELS + "websocket.WebSocketPanel",
    _PANELS + "alerts.AlertsPanel",
]
"""Its panels of requests beside the default ones; not those that profile every request."""


def _litestar_debug_toolbar(parts: Parts, **options: Any) -> tuple[Any, Any]:
    from debug_toolbar.litestar import DebugToolbarPlugin, LitestarDebugToolbarConfig

    plugin = DebugToolbarPlugin(
        LitestarDebugToolbarConfig(enabled=True, max_request_history=200, **options)
    )
    return apps.litestar(parts, plugins=[plugin]), plugin.toolbar.storage


def litestar_debug_toolbar(parts: Parts) -> Built:
    """Its default panels, none of which counts queries."""
    return Built(_litestar_debug_toolbar(parts)[0])


def litestar_debug_toolbar_panels(parts: Parts) -> Built:
    app, store = _litestar_debug_toolbar(
        parts, extra_panels=LITESTAR_PANELS, exclude_panels=["VersionsPanel"]
    )

    def credited() -> list[int]:
        return [
            kept["panel_data"].get("SQLAlchemyPanel", {}).get("query_count", 0)
            for _, kept in reversed(store.get_all())
        ]

    return Built(app, credited=credited)


def fastapi_debug_toolbar(parts: Parts) -> Built:
    """With its SQLAlchemy panel alone: with its default panels it may hang."""
    from debug_toolbar.middleware import DebugToolbarMiddleware
    from debug_toolbar.toolbar import DebugToolbar
    from sqlalchemy.ext.asyncio import AsyncSession

    async def session() -> Any:  # by a dependency it finds the engine
        async with AsyncSession(parts.engine) as opened:
            yield opened

    app = apps.fastapi(parts, session)
    app.add_middleware(
        DebugToolbarMiddleware,
        panels=["debug_toolbar.panels.sqlalchemy.SQLAlchemyPanel"],
        results_cache_size=200,
    )

    def credited() -> list[int]:
        return [
            len(toolbar.stats.get("SQLAlchemyPanel", {}).get("queries", []))
            for toolbar in DebugToolbar._store.values()
        ]

    return Built(app, credited=credited)


# --- ours ------------------------------------------------------------------------------------------


def toolbar(app: Callable[[Parts], Any]) -> Builder:
    """Set up by `opentelemetry-instrument`; the server's hook wraps the app, in `worker`."""

    def build(parts: Parts) -> Built:
        from otel_toolbar.distro.flush import flush
        from otel_toolbar.distro.runtime import install
        from otel_toolbar.store.base import Query

        store = install().store

        def credited() -> list[int]:
            found = store.list(Query(limit=500, kind="http")).traces
            return [summary.counts.queries for summary in reversed(found)]

        return Built(app(parts), flush, credited)

    return build


def without(signal: str) -> Variant:
    return Variant(
        toolbar(apps.starlette),
        "starlette",
        {"OTEL_TOOLBAR_SIGNALS": f"-{signal}"},
        toolbar=True,
        whole=False,
    )


# --- parts of ours, where the app runs -------------------------------------------------------------


def server_span(parts: Parts) -> Built:
    """The app in a SERVER span of the SDK's, by its API, with attributes like ours and nobody to get it."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanKind

    app, tracer = apps.starlette(parts), TracerProvider().get_tracer("bench")
    before, after = floors.server_attributes()

    async def within(scope: Any, receive: Any, send: Any) -> None:
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER, attributes=before) as span:
            await app(scope, receive, send)
            span.set_attributes(after)

    return Built(within)


def span_a_query(parts: Parts) -> Built:
    """A light span with the app's line around each query: no parameters, no rows, nothing judged."""
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanKind
    from sqlalchemy.engine.default import DefaultDialect

    from otel_toolbar.signals.core import callsite, light

    real, scope = DefaultDialect.do_execute, InstrumentationScope("bench")
    told = {"db.system.name": "sqlite", "db.query.text": "SELECT"}

    def do_execute(self: Any, *args: Any, **kwargs: Any) -> None:
        stack = callsite.stack()
        shared = (told, stack.attributes) if stack else (told,)
        span = light.start("SELECT", SpanKind.CLIENT, {}, scope, None, shared)
        try:
            real(self, *args, **kwargs)
        finally:
            span.end()

    DefaultDialect.do_execute = do_execute  # type: ignore[method-assign]
    return toolbar(apps.starlette)(parts)


def _stock_variant(build: Builder, bare: str) -> Variant:
    traced = {"OTEL_PYTHON_ASYNCIO_COROUTINE_NAMES_TO_TRACE": "leaf"}
    return Variant(build, bare, traced, needs="opentelemetry.instrumentation.sqlalchemy")


OURS, OWN_SPANS = "{} + otel-toolbar", "fastapi, its own spans"
OLDER = "fastapi 0.112"
"""The bare app where fastapi-debug-toolbar is."""

VARIANTS: dict[str, Variant] = {
    "starlette": Variant(plain(apps.starlette), "starlette"),
    "starlette + OpenTelemetry": _stock_variant(starlette_stock, "starlette"),
    "starlette + otel-toolbar": Variant(toolbar(apps.starlette), "starlette", toolbar=True),
    "fastapi": Variant(plain(apps.fastapi), "fastapi"),
    OWN_SPANS: Variant(fastapi_native, "fastapi"),
    "fastapi + OpenTelemetry": _stock_variant(fastapi_stock, "fastapi"),
    "fastapi + logfire": Variant(fastapi_logfire, "fastapi", needs="logfire"),
    "fastapi + sentry-sdk": Variant(fastapi_sentry, "fastapi", needs="sentry_sdk"),
    "fastapi + otel-toolbar": Variant(toolbar(apps.fastapi), "fastapi", toolbar=True),
    OLDER: Variant(plain(apps.fastapi), OLDER, venv="fastapi"),
    f"{OLDER} + fastapi-debug-toolbar": Variant(
        fastapi_debug_toolbar, OLDER, needs="debug_toolbar", venv="fastapi"
    ),
    "litestar": Variant(plain(apps.litestar), "litestar"),
    "litestar + OpenTelemetry": _stock_variant(litestar_stock, "litestar"),
    "litestar + litestar-debug-toolbar": Variant(
        litestar_debug_toolbar, "litestar", needs="debug_toolbar"
    ),
    "litestar + litestar-debug-toolbar, more panels": Variant(
        litestar_debug_toolbar_panels, "litestar", needs="debug_toolbar"
    ),
    "litestar + otel-toolbar": Variant(toolbar(apps.litestar), "litestar", toolbar=True),
}

SIGNALS: dict[str, tuple[str, str, int]] = {
    "queries": ("c", "query", apps.QUERIES),
    "tasks": ("d", "task", apps.TASKS),
    "websockets": ("e", "echoed message", 1),
    "templates": ("g", "include", apps.CARDS),
    "logs": ("h", "line", apps.LINES),
    "jobs": ("i", "job", 1),
    "cache": ("k", "call", apps.KEYS),
    "http": ("l", "call", apps.CALLS),
}
"""Signal: the workload that shows its cost, what is counted, and how many of them a unit has."""

VARIANTS |= {f"starlette + otel-toolbar -{signal}": without(signal) for signal in SIGNALS}

SERVER = "starlette, a SERVER span of the SDK"
QUERY_SPANS = "starlette + otel-toolbar, a span a query"

VARIANTS |= {
    SERVER: Variant(server_span, "starlette", whole=False),
    QUERY_SPANS: Variant(
        span_a_query, "starlette", {"OTEL_TOOLBAR_SIGNALS": "-queries"}, toolbar=True, whole=False
    ),
}
