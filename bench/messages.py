"""What watching an echoed websocket message costs: bare, with us, and with OpenTelemetry's ASGI layer.

    taskset -c 0 python bench/websockets.py [rounds]

In process: `receive` and `send` are built by hand, so that no server or socket is in the figures. The
sides take turns on one connection each; a figure is the median of the rounds, in CPU time of all
threads. With us the text of the messages is recorded, and what is handed to the store or to an exporter
is converted within the time that is measured. Memory: `tracemalloc` over an open connection, and the
resident set over many messages.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_toolbar.intake.exporter import StoreExporter
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import handover, processor
from otel_toolbar.signals.server import WebsocketExchange, detect
from otel_toolbar.signals.websockets import Connection, Connections
from otel_toolbar.store.memory import MemoryStore

ROUNDS, MESSAGES, MANY = 40, 1000, 200_000
TEXT = '{"type": "message", "room": "garden", "text": "hello there"}'

App = Callable[..., Awaitable[None]]


class Exporter(SpanProcessor):
    """Takes spans as an exporter's processor does, and lets go of them."""

    def on_end(self, span: ReadableSpan) -> None:
        self.last = span


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def scope() -> dict[str, Any]:
    headers = [
        (b"host", b"localhost"),
        (b"user-agent", b"bench"),
        (b"sec-websocket-version", b"13"),
    ]
    return {
        "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws",
        "path": "/rooms/garden", "raw_path": b"/rooms/garden", "query_string": b"", "root_path": "",
        "headers": headers, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80),
        "subprotocols": [],
    }  # fmt: skip


async def converse(app: App, count: int, at_end: Callable[[], None] = lambda: None) -> float:
    """us for each echoed message of a connection, everything that follows from it included."""
    left = count

    async def receive() -> dict[str, Any]:
        nonlocal left
        if left == count:
            left -= 1
            return {"type": "websocket.connect"}
        left -= 1
        if left < -1:
            at_end()
            return {"type": "websocket.disconnect", "code": 1000, "reason": ""}
        return {"type": "websocket.receive", "text": TEXT}

    async def send(message: dict[str, Any]) -> None:
        pass

    started = time.process_time()
    await app(scope(), receive, send)
    handover.flush(60)
    return (time.process_time() - started) / count * 1e6


def ours(app: App, connections: Connections) -> App:
    framework = detect(app)

    async def outer(given: Any, receive: Any, send: Any) -> None:
        connection = Connection(given, connections, connections.options.max_spans)
        await WebsocketExchange(given, framework, connection).run(app, receive, send)

    return outer


def provider(*processors: SpanProcessor) -> TracerProvider:
    made = TracerProvider(sampler=ALWAYS_ON)
    for each in processors:
        made.add_span_processor(each)
    return made


def made_global(made: TracerProvider) -> None:
    trace._TRACER_PROVIDER = made  # pyright: ignore


async def main(rounds: int) -> None:
    options = Settings()
    connections = Connections(options)
    store = MemoryStore(options)
    toolbar = provider(processor.ToolbarProcessor(StoreExporter(store).export))
    exporting = provider(processor.ToolbarProcessor(StoreExporter(store).export), Exporter())
    stock = provider(Exporter())
    sides: dict[str, tuple[TracerProvider, App]] = {
        "bare": (stock, echo),
        "toolbar": (toolbar, ours(echo, connections)),
        "toolbar and an exporter": (exporting, ours(echo, connections)),
        "OpenTelemetry asgi": (stock, OpenTelemetryMiddleware(echo, tracer_provider=stock)),
    }
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (made, app) in sides.items():
            made_global(made)
            figures[name].append(await converse(app, MESSAGES))
    bare = statistics.median(figures["bare"])
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"{name}: {median:.1f} us an echoed message, {median - bare:.1f} us more")
    stock_more = statistics.median(figures["OpenTelemetry asgi"]) - bare
    ours_more = statistics.median(figures["toolbar"]) - bare
    print(f"ratio to OpenTelemetry asgi: {ours_more / stock_more:.3f}")
    made_global(toolbar)
    await memory(ours(echo, connections))


def resident() -> float:
    """Most MiB that were resident by now (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def memory(app: App) -> None:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held: list[int] = []
    await converse(app, 1000, lambda: held.append(tracemalloc.get_traced_memory()[0] - before))
    tracemalloc.stop()
    print(f"a connection with 1000 messages behind it holds {held[0] / 1000:.0f} KB")
    sizes: list[float] = []
    for count in (MANY // 10, MANY):
        await converse(app, count, lambda: sizes.append(resident()))
    print(
        f"resident after {MANY // 10} messages {sizes[0]:.1f} MiB, after {MANY}: {sizes[1]:.1f} MiB"
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
