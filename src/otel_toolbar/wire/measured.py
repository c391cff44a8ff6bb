"""What was measured of a task: plain figures while nobody looks, attributes when somebody does.

Times are ns of one clock of the process, whatever it counts from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from otel_toolbar import semconv
from otel_toolbar.version import VERSION

SCOPE = "otel_toolbar.signals.tasks", VERSION
"""Name and version of the scope of these spans."""

MAX_PARTS = 256
"""Parts of a timeline that are told."""


def attributes(
    coroutine: str,
    place: Mapping[str, Any] | None,
    state: str | None,
    name: str | None,
    marks: Sequence[int] | None,
    steps: int,
    busy: int,
    below: int,
    created: int,
    first: int,
    last: int,
) -> dict[str, Any]:
    """The attributes of a task's span.

    `place` are those of where it was created. `state` is None while it goes on: then the rest is not
    told. `below` is time within its steps that is not its own; `first` and `last` are when its first
    step began, 0 when it never did, and when its last one ended or a task that still waits was looked
    at. `marks` are when each step began and ended.
    """
    facts: dict[str, Any] = {semconv.ASYNCIO_TASK_COROUTINE: coroutine, **(place or {})}
    if state is None:
        return facts
    facts[semconv.ASYNCIO_TASK_STATE] = state
    facts[semconv.ASYNCIO_TASK_STEPS] = steps
    facts[semconv.ASYNCIO_TASK_CPU] = busy / 1e9
    facts[semconv.ASYNCIO_TASK_WAIT] = max(0, last - first - busy - below) / 1e9
    if name is not None:
        facts[semconv.ASYNCIO_TASK_NAME] = name
    if first:
        facts[semconv.ASYNCIO_TASK_STARTED] = (first - created) / 1e9
    if marks is not None:
        facts[semconv.ASYNCIO_TASK_TIMELINE] = timeline(marks, last)
    return facts


def timeline(marks: Sequence[int], until: int = 0) -> list[int]:
    """How long it ran and waited in turn, in us, in `MAX_PARTS` at most; `until` when it still waits."""
    parts = [after - before for before, after in pairwise(marks)]
    if parts and until > marks[-1]:
        parts.append(until - marks[-1])
    while len(parts) > MAX_PARTS:
        waits = sorted(parts[1::2])
        excess = (len(parts) - MAX_PARTS + 1) // 2
        parts = _merged(parts, waits[min(excess, len(waits)) - 1] + 1, excess)
    return [ns // 1000 for ns in parts]


def _merged(parts: list[int], grain: int, most: int) -> list[int]:
    """Take waits shorter than `grain` into the running around them, at most `most` of them."""
    merged = parts[:1]
    taken = 0
    for at in range(1, len(parts) - 1, 2):
        wait, run = parts[at], parts[at + 1]
        if wait < grain and taken < most:
            merged[-1] += wait + run
            taken += 1
        else:
            merged += (wait, run)
    if len(parts) % 2 == 0:
        merged.append(parts[-1])
    return merged
