"""Fails when watching costs half as much again as it did when the limits were written.

    gate.py            judge
    gate.py --write    measure, and write gate.json

What a query, a task, a message and so on cost more with the toolbar is divided by what an SDK span of five
attributes costs in the same run: so neither a slow machine nor a newer Python moves it much. It is CPU
time, and the least of several rounds in which they take turns, so neither does a busy one. What fails is
measured a second time, for longer.
Why not instruction counts: docs/decisions/0049-a-gate-on-ratios.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import apps
import measure

FILE = Path(__file__).parent / "gate.json"
BARE, OURS = "starlette", "starlette + otel-toolbar"
ROOM = 1.5
ROUNDS, AGAIN = 9, 21
SECONDS = 0.1

WATCHED: dict[str, tuple[str, int]] = {
    "a": ("request", 1),
    "c": ("query", apps.QUERIES),
    "d": ("task", apps.TASKS),
    "e": ("echoed message", 1),
    "g": ("include", apps.CARDS),
    "h": ("log line", apps.LINES),
}
"""Workload: what is counted, and how many of them a unit has."""


def ratios(rounds: int, workloads: list[str]) -> dict[str, float]:
    """By workload: what one costs more, in SDK spans."""
    seen: dict[str, list[tuple[float, float, float]]] = {workload: [] for workload in workloads}
    with measure.workers([BARE, OURS], {"main": sys.executable}) as started:
        bare, ours = started[BARE], started[OURS]

        def us(worker: measure.Worker, workload: str) -> float:
            return worker.ask(180, do="run", workload=workload, seconds=SECONDS)["us"]

        for workload in workloads:
            us(bare, workload), us(ours, workload)  # warm up
        for _ in range(rounds):
            for workload in workloads:
                span = bare.ask(180, do="spans", seconds=SECONDS)
                seen[workload].append((us(ours, workload), us(bare, workload), span))
    return {workload: ratio(workload, each) for workload, each in seen.items()}


def ratio(workload: str, rounds: list[tuple[float, float, float]]) -> float:
    """Of the least that each took: what disturbs a round only adds to it."""
    ours, bare, span = (min(column) for column in zip(*rounds, strict=True))
    return (ours - bare) / WATCHED[workload][1] / span


def judge(rounds: int, workloads: list[str], limits: dict[str, float]) -> list[str]:
    """The workloads beyond their limit; prints a line for each."""
    beyond: list[str] = []
    for workload, found in ratios(rounds, workloads).items():
        limit = limits[workload] * ROOM
        verdict = "TOO MUCH" if found > limit else "ok"
        beyond += [workload] * (found > limit)
        print(
            f"{WATCHED[workload][0]}: {found:.2f} SDK spans, {found / limits[workload]:.2f} of what it"
            f" was, {ROOM} allowed: {verdict}",
            flush=True,
        )
    return beyond


def main() -> None:
    measure.end_on_signal()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="what is measured is what is right")
    if parser.parse_args().write:
        known = {w: round(each, 2) for w, each in ratios(AGAIN, list(WATCHED)).items()}
        FILE.write_text(json.dumps(known, indent=2) + "\n")
        print(FILE.read_text())
        return
    limits = json.loads(FILE.read_text())
    beyond = judge(ROUNDS, list(WATCHED), limits)
    if beyond:
        print("once more, for longer:")
        beyond = judge(AGAIN, beyond, limits)
    if beyond:
        names = ", ".join(WATCHED[workload][0] for workload in beyond)
        raise SystemExit(
            f"watching costs more than {ROOM} times what it did: {names}. Where that is meant,"
            " say why and write the limits anew: python bench/gate.py --write"
        )


if __name__ == "__main__":
    main()
