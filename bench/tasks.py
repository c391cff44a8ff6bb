"""What watching a step and a task costs, against the same without us, in one run.

    taskset -c 0 python bench/tasks.py [uvloop]

CPU time of the process, medians of rounds in which the sides take turns. A task is one that sleeps
once and is gathered, with its span, its creation site and the conversion that the store makes. "At
least" is what no watch of steps in Python can do without: a call in between where a step is scheduled
and where it runs, and three looks at the clock.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from types import MethodType
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from otel_toolbar.settings import Settings
from otel_toolbar.signals import tasks
from otel_toolbar.signals.core import light, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.processor import ToolbarProcessor
from otel_toolbar.wire import packed

ROUNDS, STEPS, TASKS, TOGETHER = 15, 10_000, 1000, 50


async def leaf(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def a_step() -> float:
    """us a step of one task."""
    started = time.process_time()
    await asyncio.create_task(leaf(STEPS))
    return (time.process_time() - started) / STEPS * 1e6


async def a_task() -> float:
    """us a task of two steps."""
    started = time.process_time()
    for _ in range(TASKS // TOGETHER):
        await asyncio.gather(*[leaf(1) for _ in range(TOGETHER)])
    return (time.process_time() - started) / TASKS * 1e6


async def request(what: object, converted: list[float]) -> float:
    """The same within a watched request."""
    record = records.Record(5000)
    token = records.enter(record)
    steps.began(record)
    try:
        tracer = trace.get_tracer("bench")
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER):
            us = await what()  # type: ignore[operator]
            spans = record.spans
            started = time.process_time()
            for group in packed.by_trace(light.take(spans)).values():
                packed.pack(group.items)
            converted.append((time.process_time() - started) / max(1, len(spans)) * 1e6)
            return us
    finally:
        steps.left(record)
        records.leave(token)


def least(loop: Any) -> None:
    """Watch a loop's steps without remembering anything."""
    call_soon, now = loop.call_soon, time.perf_counter_ns

    def run(task: Any, ready: int, callback: Any, args: Any) -> None:
        now()
        try:
            callback(*args)
        finally:
            now()

    def ours(callback: Any, *args: Any, context: Any = None) -> Any:
        task = getattr(callback, "__self__", None)
        if task is None:
            return call_soon(callback, *args, context=context)
        return call_soon(MethodType(run, task), now(), callback, args, context=context)

    loop.call_soon = ours


class Cost(NamedTuple):
    """us: without us, with us, with what is least, and for converting what came of it."""

    plain: float
    watched: float
    least: float
    converted: float

    @property
    def added(self) -> float:
        return self.watched - self.plain


async def measure() -> dict[str, Cost]:
    """Of a `step` and of a `task`, on the loop that runs."""
    provider = TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(ToolbarProcessor(lambda *_: None))
    trace.set_tracer_provider(provider)
    loop: Any = asyncio.get_running_loop()
    costs: dict[str, Cost] = {}
    for name, what in (("step", a_step), ("task", a_task)):
        plain: list[float] = []
        at_least: list[float] = []
        with_us: list[float] = []
        converted: list[float] = []
        for _ in range(ROUNDS):
            tasks.uninstall()
            plain.append(await what())
            least(loop)
            at_least.append(await what())
            del loop.call_soon
            tasks.install(Settings())
            steps.here()
            with_us.append(await request(what, converted))
        costs[name] = Cost(*map(statistics.median, (plain, with_us, at_least, converted)))
    tasks.uninstall()
    return costs


async def main() -> None:
    kind = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    for name, cost in (await measure()).items():
        more = f", conversion {cost.converted:.2f} us" if name == "task" else ""
        print(
            f"{sys.version.split()[0]} {kind:8} a {name}: {cost.plain:.2f} us without us,"
            f" {cost.watched:.2f} us with us:"
            f" {cost.added:.2f} us more (at least {cost.least - cost.plain:.2f}){more}"
        )


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
