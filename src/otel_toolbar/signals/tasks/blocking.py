"""Steps that held the loop for too long: what blocked, and whether it was the app or the machine."""

from __future__ import annotations

import gc
from collections import deque
from typing import Any

from otel_toolbar import semconv
from otel_toolbar.signals.core import steps

from .watchdog import Seen

_LONG = 1_000_000
"""ns of a garbage collection that is remembered."""

_collections: deque[tuple[int, int]] = deque(maxlen=16)
_collecting = 0


def watch_collections() -> None:
    if _collected not in gc.callbacks:
        gc.callbacks.append(_collected)


def forget_collections() -> None:
    if _collected in gc.callbacks:
        gc.callbacks.remove(_collected)


def _collected(phase: str, _: dict[str, int]) -> None:
    global _collecting
    now = steps.clock()
    if phase == "start":
        _collecting = now
    elif now - _collecting > _LONG:
        _collections.append((_collecting, now))


def judged(seen: Seen, since: int, until: int, threshold: int) -> dict[str, Any]:
    """The attributes that tell why a step was long."""
    wall = until - since
    facts: dict[str, Any] = {semconv.ASYNCIO_BLOCKING_THRESHOLD: threshold / 1e9}
    looks = seen.machine(since)
    collecting = sum(
        min(end, until) - max(start, since)
        for start, end in list(_collections)
        if start < until and end > since
    )
    if looks is not None:
        before, now = looks
        cpu = min(wall, now.cpu - before.cpu)
        facts[semconv.ASYNCIO_BLOCKING_CPU] = cpu / 1e9
        stolen = 0
        if before.stolen is not None and now.stolen is not None:
            all_of_it = now.stolen - before.stolen
            facts[semconv.ASYNCIO_BLOCKING_STOLEN] = min(wall, all_of_it) / 1e9
            stolen = max(0, all_of_it - (since - before.at))  # at least
        facts[semconv.ASYNCIO_BLOCKING_CAUSE] = _cause(wall, threshold, cpu, stolen, collecting)
    elif collecting * 2 >= wall:
        facts[semconv.ASYNCIO_BLOCKING_CAUSE] = "gc"
    return facts


def _cause(wall: int, threshold: int, cpu: int, stolen: int, collecting: int) -> str:
    if wall - stolen < threshold:
        return "machine"  # with a CPU of its own it would not have been too long
    if collecting * 2 >= wall:
        return "gc"
    return "cpu" if cpu >= wall - cpu - stolen else "sleep"
