"""Runs the bench and writes the page docs/performance.md. See README.md.

run.py                          all of it
run.py --rounds 1 --only a,c    some workloads or parts; prints, and writes no page
run.py --report                 the page again, from the last results of a full run
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import floors
import in_place
import load
import measure
import startup
import tables
from variants import SIGNALS, VARIANTS
from workloads import COMPARED

RESULTS = Path(__file__).parent / "results"
FULL = RESULTS / "full.json"
PARTS = ("signals", "load", "startup", "memory", "floors")
"""What can be named beside the letters of workloads."""

REMEMBERED = "fastapi + otel-toolbar"
COUNTS = (1_000, 10_000, 100_000)
"""Requests after which memory is looked at."""

VERSIONS = """
import importlib.metadata as m, json
names = %r
found = {d.metadata["Name"].lower(): d.version for d in m.distributions()}
print(json.dumps({n: found[n] for n in names if n in found}))
"""
NAMED = (
    "otel-toolbar", "opentelemetry-sdk", "opentelemetry-instrumentation-asgi", "starlette", "fastapi",
    "litestar", "sqlalchemy", "aiosqlite", "jinja2", "saq", "uvicorn", "logfire", "sentry-sdk",
    "litestar-debug-toolbar", "fastapi-debug-toolbar",
)  # fmt: skip


def main() -> None:
    measure.end_on_signal()
    options = _options()
    if options.report:
        tables.write_page(json.loads(FULL.read_text()))
        return
    only = tuple(options.only.split(",")) if options.only else (*COMPARED, *PARTS)
    unknown = set(only) - {*COMPARED, *PARTS}
    if unknown:
        raise SystemExit(f"--only takes {', '.join((*COMPARED, *PARTS))}; not {unknown}")
    pythons = {"main": sys.executable}
    if options.peers:
        pythons["fastapi"] = str(Path(options.peers).absolute())
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{datetime.now():%Y%m%d-%H%M%S}.json"
    found: dict[str, Any] = {}
    try:
        run(found, only, options.rounds, options.seconds, pythons)
    finally:  # what there is is worth keeping
        target.write_text(json.dumps(found, indent=1))
    if options.only:
        print(tables.markdown(found))
    else:
        FULL.write_text(json.dumps(found, indent=1))
        tables.write_page(found)
    print(f"raw figures: {target}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.15, help="CPU time of one figure")
    parser.add_argument("--only", default="", help="letters of workloads, and " + ", ".join(PARTS))
    parser.add_argument("--peers", help="the Python that has fastapi-debug-toolbar")
    parser.add_argument("--report", action="store_true")
    return parser.parse_args()


def run(
    found: dict[str, Any],
    only: tuple[str, ...],
    rounds: int,
    seconds: float,
    pythons: measure.Pythons,
) -> None:
    """Fill `found`, a part after the other."""
    names, absent = measure.present(VARIANTS, pythons)
    found |= {"about": _about(rounds, pythons), "absent": absent}
    with measure.redis_server() as redis:
        if redis is None:
            absent.append("workload i: no redis-server")
        found |= _exchanges(names, only, rounds, seconds, pythons, redis)
        if "load" in only:
            served = [name for name in names if VARIANTS[name].whole]
            found["load"] = _told("load", lambda: load.measure(served, pythons, redis, 2, 1.0))
    if "startup" in only:
        found["startup"] = _told("start-up", lambda: startup.measure(rounds))
    if "memory" in only:
        found["memory"] = _told("memory", lambda: _memory(pythons))
    if "floors" in only:
        found["floors"] = _told("floors", _floors)
        found["in place"] = _told("in place", lambda: in_place.measure(pythons, seconds))


def _exchanges(
    names: list[str],
    only: tuple[str, ...],
    rounds: int,
    seconds: float,
    pythons: measure.Pythons,
    redis: str | None,
) -> dict[str, Any]:
    """Rounds over workloads, in each of which all variants take turns."""
    pairs = _pairs(names, only, jobs=redis is not None)
    taken = list(dict.fromkeys(name for _, name in pairs))
    if not taken:
        return {}
    with (
        (RESULTS / "workers.log").open("w") as log,
        measure.workers(taken, pythons, redis, log) as started,
    ):
        turns = measure.Rounds(started, seconds)
        _told("warm-up", lambda: turns.warm_up(pairs))
        spans: list[float] = []
        for number in range(rounds):
            _told(f"round {number + 1} of {rounds}", lambda: turns.round(pairs))
            first = next(iter(started.values()))
            spans.append(first.ask(do="spans", seconds=seconds))
        found: dict[str, Any] = {"figures": turns.figures, "errors": turns.errors, "spans": spans}
        if "f" in only:
            found["credited"] = _told("credit", lambda: _credited(started, turns.errors))
    return found


def _pairs(names: list[str], only: tuple[str, ...], jobs: bool) -> list[tuple[str, str]]:
    """Workload and variant, in the order in which they are run."""
    compared = [name for name in names if VARIANTS[name].whole]
    pairs = [(workload, name) for workload in only if workload in COMPARED for name in compared]
    for signal, (workload, _, _) in SIGNALS.items() if "signals" in only else ():
        ours = (workload, "starlette + otel-toolbar")
        if ours not in pairs:
            pairs.append(ours)
        pairs.insert(pairs.index(ours) + 1, (workload, f"{ours[1]} -{signal}"))
    return [pair for pair in pairs if jobs or pair[0] != "i"]


def _credited(
    started: dict[str, measure.Worker], errors: dict[str, dict[str, str]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, worker in started.items():
        if not VARIANTS[name].whole or "f" in errors.get(name, {}):
            continue
        try:
            found[name] = worker.ask(do="credit")
        except measure.VariantError as error:
            found[name] = str(error)
    return {name: each for name, each in found.items() if each}


def _memory(pythons: measure.Pythons) -> dict[str, float]:
    """MiB resident after so many requests."""
    with measure.workers([REMEMBERED], pythons) as started:
        worker = started[REMEMBERED]
        sizes: dict[str, float] = {}
        done = 0
        for count in COUNTS:
            sizes[str(count)] = worker.ask(1200, do="remember", count=count - done)
            done = count
        return sizes


def _floors() -> dict[str, float]:
    """Each kind in a process of its own on the core of the others."""
    found: dict[str, float] = {}
    for call in (
        "floors.measure()",
        *(f"alone.measure({what!r})" for what in ("requests", "queries", "tasks")),
    ):
        code = f"import alone, floors, json, worker; worker.pin(); print(json.dumps({call}))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=floors.__file__.rpartition("/")[0], check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        found |= json.loads(done.stdout)
    return found


def _about(rounds: int, pythons: measure.Pythons) -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "rounds": rounds,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "machine": _machine(),
        "versions": {
            venv: json.loads(
                subprocess.run(
                    [python, "-c", VERSIONS % (NAMED,)], check=True, capture_output=True, text=True
                ).stdout
            )
            for venv, python in pythons.items()
        },
    }


def _machine() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return f"{platform.machine()} {model}, {os.cpu_count()} cores, {platform.system()}"


def _told(what: str, do: Callable[[], Any]) -> Any:
    start = time.monotonic()
    found = do()
    print(f"{what}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
