"""One variant in one process: reads a command in JSON a line, answers with a line of JSON.

    {"do": "run", "workload": "a", "seconds": 0.2}  us of CPU time for each unit, and how many there were;
                                                    "without" names a part of `in_place` to leave out
    {"do": "credit"}                                queries credited to each of 100 pages of 50 at once
    {"do": "remember", "count": 10000}              resident memory in MiB after so many more requests
    {"do": "spans", "seconds": 0.2}                 us of CPU time of an SDK span of five attributes

CPU time is that of all threads, with what waits in queues handed on within it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import apps
import floors
import in_place
from variants import VARIANTS, Built
from workloads import WORKLOADS


def served(app: Any) -> Any:
    """The app as uvicorn would call it, with whatever has hooked into uvicorn around it."""
    import uvicorn

    config = uvicorn.Config(
        app, interface="asgi3", lifespan="off", proxy_headers=False, log_config=None, ws="none"
    )
    config.load()
    return config.loaded_app


async def run(built: Built, workload: str, seconds: float) -> dict[str, Any]:
    what = WORKLOADS[workload]
    built.flush()
    gc.collect()
    calls = 0
    wall, started = time.perf_counter(), time.process_time()
    while time.process_time() - started < seconds:
        await what.call(built.app, calls)
        calls += 1
    built.flush()
    units = calls * what.units
    return {
        "us": (time.process_time() - started) / units * 1e6,
        "wall_us": (time.perf_counter() - wall) / units * 1e6,
        "units": units,
    }


async def credit(built: Built) -> dict[str, Any]:
    """{queries: requests} of what the variant keeps of 100 pages of 50 queries at once."""
    if built.credited is None:
        return {}
    await WORKLOADS["f"].call(built.app, 0)
    built.flush()
    return dict(Counter(map(str, built.credited()[-100:])))


async def remember(built: Built, count: int) -> float:
    """Nine of ten requests are JSON, one is a page with a query."""
    for number in range(count):
        await WORKLOADS["b" if number % 10 == 0 else "a"].call(built.app, number)
    built.flush()
    gc.collect()
    return resident()


def resident() -> float:
    """MiB now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def answer(built: Built, command: dict[str, Any]) -> Any:
    if command["do"] == "run":
        part = command.get("without")
        with in_place.left_out(part) if part else nullcontext():
            return await run(built, command["workload"], command["seconds"])
    if command["do"] == "credit":
        return await credit(built)
    if command["do"] == "remember":
        return await remember(built, command["count"])
    return floors.sdk_span(command["seconds"])


async def serve(name: str) -> None:
    parts = apps.Parts(os.environ.get("BENCH_REDIS"))
    await parts.open()
    built = VARIANTS[name].build(parts)
    built.app = served(built.app)
    pin()
    # What a variant prints must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps("ready"), file=answers, flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            reply = {"result": await answer(built, json.loads(line))}
        except Exception as error:  # a variant that breaks is a result
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(reply), file=answers, flush=True)
    os._exit(0)


def pin() -> None:
    """Put all threads of this process on its first core, and so those to come."""
    if hasattr(os, "sched_setaffinity"):
        core = {min(os.sched_getaffinity(0))}
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), core)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
