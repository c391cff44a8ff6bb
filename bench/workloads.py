"""What an app is asked for: a workload is one call, and the number of units that it counts for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import apps
import exchanges

MESSAGES, TOGETHER = 1000, 100


@dataclass(frozen=True)
class Workload:
    """`call(app, number)` is one call; a figure is its cost divided by `units`."""

    label: str
    unit: str
    call: Callable[[Any, int], Awaitable[Any]]
    units: int = 1


def _get(path: str, holds: bytes = b"") -> Callable[[Any, int], Awaitable[Any]]:
    async def call(app: Any, number: int) -> None:
        body = await exchanges.get(app, path, f"r{number:06d}x")
        if holds not in body:
            raise AssertionError(f"{path}: {body[:200]!r}")

    return call


async def _together(app: Any, number: int) -> None:
    one = _get("/page/50", b"sum=1275<")
    await asyncio.gather(*(one(app, number * TOGETHER + each) for each in range(TOGETHER)))


async def _echo(app: Any, number: int) -> None:
    await exchanges.converse(app, "/echo", MESSAGES)


WORKLOADS: dict[str, Workload] = {
    "a": Workload("JSON, no I/O", "request", _get("/json")),
    "b": Workload("HTML page, 1 query", "request", _get("/page/1", b"sum=1<")),
    "c": Workload("HTML page, 50 queries", "request", _get("/page/50", b"sum=1275<")),
    "d": Workload(f"{apps.TASKS} asyncio tasks", "request", _get("/tasks", b"4950")),
    "e": Workload("websocket, echoed message", "message", _echo, MESSAGES),
    "f": Workload(f"{TOGETHER} pages of 50 queries at once", "request", _together, TOGETHER),
    "g": Workload(f"HTML page of {apps.CARDS} includes", "request", _get("/cards", b">50.00<")),
    "h": Workload(f"{apps.LINES} log lines", "request", _get("/lines")),
    "i": Workload("job enqueued (SAQ, Redis)", "request", _get("/job", b"job")),
    "j": Workload(f"stream of {apps.EVENTS} events", "request", _get("/events", b"data: 99")),
    "k": Workload(f"{apps.KEYS} cache calls (aiocache)", "request", _get("/keys", b"300")),
    "l": Workload(f"{apps.CALLS} HTTP calls (httpx)", "request", _get("/calls", b"ok")),
}
COMPARED = "abcdefghij"
"""Those that all variants run; the others are for the costs per signal alone."""
