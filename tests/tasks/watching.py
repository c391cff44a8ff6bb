"""Runs a handler as one request of a watched loop, of asyncio or uvloop, and gives its spans."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from otel_toolbar.settings import Settings
from otel_toolbar.signals import tasks
from otel_toolbar.signals.core import steps
from tests.telemetry import Telemetry, exchange, http_scope, made_global, telemetry, watched

LOOPS = ("asyncio", "uvloop")
Handler = Callable[[], Awaitable[Any]]


def run(main: Callable[[], Coroutine[Any, Any, Any]], loop: str = "asyncio") -> Any:
    """Run `main` on a loop of its own."""
    made = new_loop(loop)
    try:
        return made.run_until_complete(main())
    finally:
        made.run_until_complete(made.shutdown_asyncgens())
        made.run_until_complete(made.shutdown_default_executor())
        made.close()


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


def app_of(handler: Handler) -> Any:
    """An ASGI app that answers once the handler is done."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await handler()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    return app


@contextmanager
def observed(options: Settings | None = None) -> Iterator[Telemetry]:
    """Telemetry with the signal switched on."""
    found = telemetry()
    with made_global(found.provider):
        tasks.install(options or Settings())
        try:
            yield found
        finally:
            tasks.uninstall()


async def serve(handler: Handler, path: str = "/") -> Any:
    """One request in a task of its own, as a server makes it, on a loop that is watched already."""
    steps.here()
    return await asyncio.ensure_future(exchange(watched(app_of(handler)), http_scope(path)))


def request(
    handler: Handler, options: Settings | None = None, loop: str = "asyncio"
) -> list[ReadableSpan]:
    """The spans of one request."""

    async def main() -> None:
        done = await serve(handler)
        if done.error is not None:
            raise done.error

    with observed(options) as found:
        run(main, loop)
        return found.exported()


def named(spans: list[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def one(spans: list[ReadableSpan], name: str) -> ReadableSpan:
    (found,) = named(spans, name)
    return found


def seconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9
