"""Drives ASGI apps in process with the real SDK, and writes telemetry down for whole snapshots.

Ids, times and paths of this machine are left out or made stable; everything else is in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanKind

from otel_toolbar.intake.exporter import StoreExporter
from otel_toolbar.settings import Settings
from otel_toolbar.signals import frameworks
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.processor import RecordEverything, ToolbarProcessor
from otel_toolbar.signals.server import Exchange, WebsocketExchange, detect
from otel_toolbar.signals.websockets import Connection, Connections
from otel_toolbar.store.memory import MemoryStore

ROOT = Path(__file__).parents[1]

VOLATILE = {
    "toolbar.cpu.time",
    "toolbar.queries.duration",
    "toolbar.response.first_byte",
    "code.line.number",
    "code.stacktrace",
    "exception.stacktrace",
    "transaction.duration",
    "pool.wait.duration",
}
"""Attributes that differ from run to run, or with every edit of a test."""


@cache
def hook_frameworks() -> None:
    """Put the frameworks' hooks in as `distro` does, once a process."""
    frameworks.install()


@dataclass
class Telemetry:
    """A provider as the distro sets it up, with a store and an exporter of others."""

    provider: TracerProvider
    exporter: InMemorySpanExporter
    store: MemoryStore
    processor: ToolbarProcessor

    def exported(self) -> list[ReadableSpan]:
        """What an exporter got: sampled spans only."""
        self.processor.force_flush()
        return list(self.exporter.get_finished_spans())

    def snapshot(self) -> list[dict[str, Any]]:
        return written_down(self.exported())

    def clear(self) -> None:
        self.exporter.clear()
        self.store.clear()


def telemetry(options: Settings | None = None, sampler: Sampler | None = None) -> Telemetry:
    options = options or Settings()
    store = MemoryStore(options)
    processor = ToolbarProcessor(StoreExporter(store).export)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "test"}), sampler=sampler)
    provider.sampler = RecordEverything(provider.sampler)
    provider.add_span_processor(processor)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Telemetry(provider, exporter, store, processor)


@contextmanager
def made_global(provider: TracerProvider) -> Iterator[None]:
    """Make a provider the global one for a while, which the API allows only once."""
    from opentelemetry import trace

    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = provider
    try:
        yield
    finally:
        trace._TRACER_PROVIDER = before


@contextmanager
def in_request(told: Telemetry) -> Iterator[records.Record]:
    """A request, as the server's hook makes it."""
    record = records.Record(5000)
    token = records.enter(record)
    try:
        tracer = told.provider.get_tracer("test")
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER):
            yield record
    finally:
        records.leave(token)


def written_down(spans: Sequence[ReadableSpan]) -> list[dict[str, Any]]:
    """Spans in order of start: names, parents by name, kinds, attributes, events, status."""
    names = {span.context.span_id: span.name for span in spans}
    return [
        {
            "name": span.name,
            "kind": span.kind.name,
            "parent": names.get(span.parent.span_id, "?") if span.parent else None,
            "attributes": {
                key: _stable(key, value) for key, value in sorted((span.attributes or {}).items())
            },
            **({"status": span.status.status_code.name} if span.status.status_code.value else {}),
            **(
                {
                    "events": [
                        (
                            event.name,
                            {k: _stable(k, v) for k, v in (event.attributes or {}).items()},
                        )
                        for event in span.events
                    ]
                }
                if span.events
                else {}
            ),
        }
        for span in sorted(spans, key=lambda span: span.start_time or 0)
    ]


def _stable(key: str, value: Any) -> Any:
    if key in VOLATILE:
        return "..."
    if isinstance(value, str):
        return value.replace(str(ROOT), "")
    return list(value) if isinstance(value, tuple) else value


@dataclass
class Exchanged:
    """What a server would have got from an app, and whether the app raised."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])


def http_scope(path: str = "/", **more: Any) -> dict[str, Any]:
    """A scope as uvicorn makes it, for a client on this machine."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost:8000")],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    } | more


def websocket_scope(path: str = "/", **more: Any) -> dict[str, Any]:
    """Likewise for a websocket connection."""
    scope = http_scope(path, **({"type": "websocket", "scheme": "ws", "subprotocols": []} | more))
    del scope["method"]
    return scope


CONNECT = {"type": "websocket.connect"}


def said(*texts: str | bytes) -> list[dict[str, Any]]:
    """What a server gives of a client that says `texts` and goes."""
    return [
        CONNECT,
        *(
            {"type": "websocket.receive", "text" if isinstance(text, str) else "bytes": text}
            for text in texts
        ),
        {"type": "websocket.disconnect", "code": 1000, "reason": ""},
    ]


async def converse(
    app: Callable[..., Any], scope: dict[str, Any], incoming: Sequence[dict[str, Any]]
) -> Exchanged:
    """One websocket connection; what the app raises is kept, not raised."""
    done = Exchanged()
    waiting = list(incoming)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return waiting.pop(0) if waiting else dict(incoming[-1])

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        done.messages.append(message)

    try:
        await app(scope, receive, send)
    except BaseException as error:
        done.error = error
    return done


async def exchange(
    app: Callable[..., Any], scope: dict[str, Any], body: Sequence[bytes] = (b"",)
) -> Exchanged:
    """One HTTP exchange; what the app raises is kept, not raised."""
    done = Exchanged()
    incoming = [
        {"type": "http.request", "body": part, "more_body": place < len(body) - 1}
        for place, part in enumerate(body)
    ]

    complete = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not incoming:
            await complete.wait()  # as a server: the client is there until it has its answer
            return {"type": "http.disconnect"}
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        done.messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            complete.set()

    try:
        await app(scope, receive, send)
    except BaseException as error:
        done.error = error
    return done


def watched(app: Any, options: Settings | None = None) -> Callable[..., Any]:
    """`app` with the emitting side around it, nothing else: no tag, no pages."""
    framework = detect(app)
    options = options or Settings()
    connections = Connections(options)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            connection = Connection(scope, connections, options.max_spans)
            watcher: Exchange = WebsocketExchange(scope, framework, connection)
        else:
            watcher = Exchange(scope, framework, options.max_spans)
        await watcher.run(app, receive, send)

    return outer
