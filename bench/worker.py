"""One variant in one process: reads `workload count` lines, answers with ns per exchange."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time

import apps
from variants import VARIANTS


async def serve(variant: str) -> None:
    engine = await apps.new_engine()
    build, _ = VARIANTS[variant]
    app = build(engine)
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        workload, count = line.split()
        times = []
        for _ in range(int(count)):
            start = time.perf_counter_ns()
            await apps.exchange(app, apps.PATHS[workload])
            times.append(time.perf_counter_ns() - start)
        print(statistics.median(times), flush=True)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    asyncio.run(serve(sys.argv[1]))
