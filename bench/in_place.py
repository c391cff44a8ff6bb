"""What parts of ours cost where the app runs, between whose requests the caches are the app's.

Beside `floors` and `alone`, which measure them in a loop of nothing else. All take turns; medians of rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import measure as bench
from variants import OURS, OWN_SPANS, QUERY_SPANS, SERVER, VARIANTS

ROUNDS = 15
QUERY_ROUNDS = 7
UNASKED = "starlette + otel-toolbar -queries"

KEEPING, WATCHING, NAMING = "keeping it", "watching the loop", "naming the trace in the response"
"""Parts that `worker` can leave out of a request."""


def _patches(part: str) -> dict[tuple[Any, str], Any]:
    from otel_toolbar.distro.asgi import ToolbarApp
    from otel_toolbar.signals.core import steps
    from otel_toolbar.store.memory import MemoryStore
    from otel_toolbar.wire import packed

    def nothing(*_: Any) -> None:
        pass

    empty = packed.Packed(b"", b"", 0, main=True)
    known: dict[str, dict[tuple[Any, str], Any]] = {
        KEEPING: {(packed, "pack"): lambda *_: empty, (MemoryStore, "add"): nothing},
        WATCHING: {(steps, "began"): nothing, (steps, "left"): nothing},
        NAMING: {(ToolbarApp, "_injector"): nothing},
    }
    return known[part]


@contextmanager
def left_out(part: str) -> Iterator[None]:
    """Within it, ours does all but one of the parts above. In a process of ours."""
    with ExitStack() as patched:
        for (owner, name), made in _patches(part).items():
            patched.enter_context(mock.patch.object(owner, name, made))
        yield


def measure(pythons: bench.Pythons, seconds: float) -> dict[str, Any]:
    """`span`: us of an SDK span. `answers`, by framework: us that are `added` to a JSON answer, and by parts.

    `pages`: of the workloads c and f, how many times the bare page's time parts of ours take.
    """
    spans: list[float] = []
    names = ["starlette", SERVER, OWN_SPANS, UNASKED, QUERY_SPANS]
    names += [OURS.format(framework) for framework in ("starlette", "fastapi")]
    with bench.workers(names, pythons) as started:

        def us(name: str, workload: str, **more: Any) -> float:
            asked = started[name].ask(do="run", workload=workload, seconds=seconds, **more)
            return float(asked["us"])

        def answers(framework: str, base: str) -> dict[str, list[float]]:
            ours = OURS.format(framework)
            found: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                spans.append(started["starlette"].ask(do="spans", seconds=seconds))
                bare, whole = us(base, "a"), us(ours, "a")
                found.setdefault("added", []).append(whole - bare)
                if framework == VARIANTS[SERVER].bare:
                    found.setdefault(SERVER, []).append(us(SERVER, "a") - bare)
                for part in (KEEPING, WATCHING, NAMING):
                    found.setdefault(part, []).append(whole - us(ours, "a", without=part))
            return found

        for name in names:
            us(name, "a")
            us(name, "c")
        return {
            "answers": {
                "starlette": _medians(answers("starlette", "starlette")),
                "fastapi": _medians(answers("fastapi", OWN_SPANS)),
            },
            "pages": {workload: _medians(_pages(us, workload)) for workload in "cf"},
            "span": statistics.median(spans),
        }


def _pages(us: Callable[[str, str], float], workload: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(QUERY_ROUNDS):
        bare = us("starlette", workload)
        for name in (UNASKED, QUERY_SPANS, OURS.format("starlette")):
            found.setdefault(name, []).append(us(name, workload) / bare)
    return found


def _medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(each) for name, each in found.items()}
