"""What our own work costs in a loop of nothing else: a request to an app that does nothing, a query, a task.

us of CPU time more than without us, the median of rounds in which both take turns. In an app the same takes
longer: what it needs of the processor's caches is the app's between two requests.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import exchanges

import queries
import tasks

ROUNDS, REQUESTS = 15, 300

ANSWER = "JSON answer of an app that does nothing"
PAGE = "page of 10 KB of an app that does nothing"
QUERY = "query (of 50 in a request), without packing"
STEP = "step of a task"
TASK = "task of two steps with its span, packed"

_KINDS = {ANSWER: ("/json", b"application/json"), PAGE: ("/page", b"text/html; charset=utf-8")}
_BODIES = {
    "/json": b'{"id": 7, "items": [0, 1, 2]}',
    "/page": b"<!doctype html><html><head><title>Rows</title></head><body><table>"
    + b"<tr><td>7</td><td>some words about this row</td></tr>" * 190,
}


def _app(path: str, kind: bytes) -> Any:
    body = _BODIES[path]
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", kind)]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return app


async def _requests(app: Any, path: str) -> float:
    """us for each."""
    started = time.process_time()
    for _ in range(REQUESTS):
        scope = exchanges.scope("http", path, b"id=7") | {"method": "GET"}
        await app(scope, _receive, _send)
    return (time.process_time() - started) / REQUESTS * 1e6


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Any) -> None:
    pass


async def requests() -> dict[str, float]:
    """us more for a request, by what is asked for."""
    import otel_toolbar

    found: dict[str, list[float]] = {}
    for name, (path, kind) in _KINDS.items():
        bare = _app(path, kind)
        ours = otel_toolbar.wrap(_app(path, kind))
        for _ in range(5):  # until the store is full
            await _requests(ours, path)
        for _ in range(ROUNDS):
            base = await _requests(bare, path)
            found.setdefault(name, []).append(await _requests(ours, path) - base)
    return {name: statistics.median(each) for name, each in found.items()}


def measure(what: str) -> dict[str, float]:
    """`requests`, `queries` or `tasks`: each in a process of its own, for each is installed by itself."""
    if what == "requests":
        return asyncio.run(requests())
    if what == "queries":
        plain, ours, _ = queries.measure()
        return {QUERY: ours - plain}
    found = asyncio.run(tasks.measure())
    task = found["task"]
    return {STEP: found["step"].added, TASK: task.added + task.converted}
