"""What the parts cost that watching consists of, each alone: less than its parts nothing can cost.

us of CPU time of the thread for one, the median of rounds in which the parts take turns.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from typing import Any

ROUNDS, SECONDS, DEPTH = 9, 0.05, 30
FIVE = {"a": "1", "b": "two", "c": 3, "d": 4.0, "e": True}

Part = Callable[[], Any]

SPAN = "SDK span, five attributes"
SERVER = "SDK SERVER span with attributes like ours"
LIGHT = "light span, five attributes, made current (of 100 in a request)"
PACKED = "packing a light span for the store (of 100)"
FRAMES = f"stepping over {DEPTH} frames, looking at none"
SITE = f"call site below {DEPTH} frames"
TASK = "task of two steps, bare"
STEP = "step of a task, bare"
TIMED = "the same step, with the loop's call_soon replaced and the step timed"
HUNDREDS = (LIGHT, PACKED)
"""Those of which a call makes a hundred."""


def cost(part: Part, seconds: float = SECONDS) -> float:
    """us for one call."""
    calls, started = 0, time.thread_time()
    while True:
        for _ in range(100):
            part()
        calls += 100
        spent = time.thread_time() - started
        if spent >= seconds:
            return spent / calls * 1e6


def _provider() -> Any:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    return TracerProvider(sampler=ALWAYS_ON)


def _span_of(tracer: Any, **options: Any) -> Part:
    def part() -> None:
        with tracer.start_as_current_span("x", attributes=dict(FIVE), **options):
            pass

    return part


_known: list[Part] = []


def sdk_span(seconds: float) -> float:
    """us of a span of five attributes, made current, without a processor: the unit of the ratios."""
    if not _known:
        from opentelemetry.context import Context

        # As the root of a trace, and nobody's: a global provider may be the toolbar's.
        _known.append(_span_of(_provider().get_tracer("bench"), context=Context()))
    return cost(_known[0], seconds)


def server_attributes() -> tuple[dict[str, Any], dict[str, Any]]:
    """At the start and at the end: as many of each type as our SERVER span has for workload a, 48."""
    before: dict[str, Any] = {f"url.part.name-{n}": f"value {n}" for n in range(8)}
    before |= {f"network.port.name-{n}": n for n in range(2)}
    after: dict[str, Any] = {f"http.request.header.name-{n}": (f"value {n}",) for n in range(8)}
    after |= {f"toolbar.request.cookie.name-{n}": f"value {n}" for n in range(6)}
    after |= {f"toolbar.count.name-{n}": n for n in range(13)}
    after |= {f"toolbar.duration.name-{n}": n / 7 for n in range(10)}
    return before, after | {"toolbar.framework.debug": True}


def parts() -> dict[str, Part]:
    from opentelemetry.trace import SpanKind

    tracer = _provider().get_tracer("bench")
    before, after = server_attributes()

    def server_span() -> None:
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER, attributes=before) as span:
            span.set_attributes(after)

    return {
        SPAN: _span_of(tracer),
        SERVER: server_span,
        **_light(tracer),
        **_sites(),
    }


def _light(tracer: Any) -> dict[str, Part]:
    from opentelemetry import trace
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanKind

    from otel_toolbar.signals.core import light
    from otel_toolbar.signals.core import record as records
    from otel_toolbar.signals.core.processor import ToolbarProcessor
    from otel_toolbar.wire import packed

    provider = _provider()
    provider.add_span_processor(ToolbarProcessor(lambda *_: None))
    scope = InstrumentationScope("bench")
    ours = provider.get_tracer("bench")

    def within() -> None:
        """100 light spans in one request."""
        record = records.Record(5000)
        token = records.enter(record)
        try:
            with ours.start_as_current_span("GET /", kind=SpanKind.SERVER):
                for _ in range(100):
                    span = light.start("x", SpanKind.CLIENT, dict(FIVE), scope)
                    with trace.use_span(span, end_on_exit=True):
                        pass
        finally:
            records.leave(token)
        kept.append(record.spans or kept[0])

    kept: list[Any] = []
    record = records.Record(5000)
    token = records.enter(record)
    with ours.start_as_current_span("GET /", kind=SpanKind.SERVER):
        for _ in range(100):
            light.start("x", SpanKind.CLIENT, dict(FIVE), scope).end()
        spans = list(record.spans)
    records.leave(token)
    kept.append(spans)

    def once() -> None:
        within()
        del kept[1:]

    return {
        LIGHT: once,
        PACKED: lambda: packed.pack(spans),
    }


def _sites() -> dict[str, Part]:
    from otel_toolbar.signals.core import callsite

    def frames() -> None:
        frame = sys._getframe(0)
        while frame is not None:
            frame = frame.f_back

    return {
        FRAMES: lambda: _deep(frames),
        SITE: lambda: _deep(callsite.stack),
    }


# A handler stands below a framework and its middleware: as many frames of an installed package.
_namespace: dict[str, Any] = {"DEPTH": DEPTH}
exec(
    compile(
        "def deep(part, depth=DEPTH):\n    return part() if depth == 0 else deep(part, depth - 1)",
        sysconfig.get_paths()["purelib"] + "/starlette/middleware/base.py",
        "exec",
    ),
    _namespace,
)
_deep: Callable[[Part], Any] = _namespace["deep"]


async def loop_parts() -> dict[str, float]:
    """us of a bare task and a bare step, and of a call of Python around a step."""
    loop = asyncio.get_running_loop()

    async def leaf(steps: int) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)

    async def tasks() -> float:
        started = time.thread_time()
        await asyncio.gather(*(leaf(1) for _ in range(2000)))
        return (time.thread_time() - started) / 2000 * 1e6

    async def steps() -> float:
        started = time.thread_time()
        await asyncio.create_task(leaf(10_000))
        return (time.thread_time() - started) / 10_000 * 1e6

    async def called_steps() -> float:
        real = loop.call_soon

        def call_soon(callback: Any, *args: Any, context: Any = None) -> Any:
            def step(*given: Any) -> Any:
                started = time.perf_counter_ns()
                try:
                    return callback(*given)
                finally:
                    seen[0] += time.perf_counter_ns() - started

            return real(step, *args, context=context)

        seen = [0]
        loop.call_soon = call_soon  # type: ignore[method-assign]
        try:
            return await steps()
        finally:
            loop.__dict__.pop("call_soon", None)

    bare = await steps()
    return {
        TASK: await tasks(),
        STEP: bare,
        TIMED: await called_steps(),
    }


def measure() -> dict[str, float]:
    known = parts()
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, part in known.items():
            found.setdefault(name, []).append(cost(part) / (100 if name in HUNDREDS else 1))
        for name, us in asyncio.run(loop_parts()).items():
            found.setdefault(name, []).append(us)
    return {name: statistics.median(each) for name, each in found.items()}


if __name__ == "__main__":
    print(json.dumps(measure()))
