"""What the tests of caches and of outgoing calls share: telemetry, contrib's instrumentations, a server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.instrumentation import _semconv
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor

from otel_toolbar.signals import cache
from otel_toolbar.signals import http as http_calls
from tests.telemetry import Telemetry, exchange, http_scope, made_global, telemetry, watched

cache.install()
http_calls.install()

INSTRUMENTORS = (
    RedisInstrumentor,
    HTTPXClientInstrumentor,
    AioHttpClientInstrumentor,
    RequestsInstrumentor,
)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    """Telemetry, with all clients instrumented as `opentelemetry-instrument` does it: without arguments."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    monkeypatch.setattr(_semconv._OpenTelemetrySemanticConventionStability, "_initialized", False)
    cache.install()
    http_calls.install()
    found = telemetry()
    with made_global(found.provider):
        for each in INSTRUMENTORS:
            each().instrument(tracer_provider=found.provider)
        try:
            yield found
        finally:
            for each in INSTRUMENTORS:
                each().uninstrument()


async def during_a_request(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run `work` in a watched request; returns its result, raises its error."""
    results: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        results.append(await work())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    done = await exchange(watched(app), http_scope("/"))
    if done.error is not None:
        raise done.error
    return results[0]


@dataclass
class Server:
    """A real HTTP server, and the headers that it was sent."""

    url: str
    seen: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.seen.append(dict(self.headers.items()))
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            path = self.path.partition("?")[0]
            if path == "/redirect":
                self.send_response(302)
                self.send_header("Location", "/end")
                self.answer(b"")
            elif path == "/chunked":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for part in (b"one", b"two"):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
            elif path == "/slow":
                time.sleep(1)
                self.send_response(200)
                self.answer(b"late")
            else:
                self.send_response(int(path[1:]) if path[1:].isdecimal() else 200)
                self.send_header("Set-Cookie", "session=hunter2hunter2; Path=/")
                self.answer(json.dumps({"path": path}).encode())

        do_POST = do_GET

        def answer(self, body: bytes) -> None:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    found.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
