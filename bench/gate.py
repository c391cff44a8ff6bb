"""Fails when watching costs half as much again as it did when the limits were written.

    gate.py            judge
    gate.py --write    measure, and write gate.json

What a query, a task, a message and so on cost more with the toolbar is divided by what an SDK span of five
attributes costs in the same round: so neither a slow machine nor a newer Python moves it much. It is CPU
time, so neither does a busy one. Median of the rounds; who fails is measured a second time, for longer.
Why not instruction counts: docs/decisions/0049-a-gate-on-ratios.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
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


def ratios(rounds: int, workloads: list[str]) -> dict[str, list[float]]:
    """By workload, for each round: what one costs more, in SDK spans."""
    found: dict[str, list[float]] = {workload: [] for workload in workloads}
    with measure.workers([BARE, OURS], {"main": sys.executable}) as started:
        bare, ours = started[BARE], started[OURS]

        def us(worker: measure.Worker, workload: str) -> float:
            return worker.ask(do="run", workload=workload, seconds=SECONDS)["us"]

        for workload in workloads:
            us(bare, workload), us(ours, workload)  # warm up
        for _ in range(rounds):
            for workload in workloads:
                span = bare.ask(do="spans", seconds=SECONDS / 2)
                more = us(ours, workload) - us(bare, workload)
                found[workload].append(more / WATCHED[workload][1] / span)
    return found


def judge(rounds: int, workloads: list[str], limits: dict[str, float]) -> list[str]:
    """The workloads beyond their limit; prints a line for each."""
    beyond: list[str] = []
    for workload, each in ratios(rounds, workloads).items():
        ratio, limit = statistics.median(each), limits[workload] * ROOM
        if ratio > limit:
            beyond.append(workload)
        print(
            f"{WATCHED[workload][0]}: {ratio:.2f} SDK spans, of {limit:.2f} allowed"
            f" (rounds {min(each):.2f} to {max(each):.2f})"
            + (": TOO MUCH" if ratio > limit else ""),
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
        known = {w: round(statistics.median(e), 2) for w, e in ratios(AGAIN, list(WATCHED)).items()}
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
