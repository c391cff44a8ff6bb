"""Runs all variants interleaved and prints a table. See README.md."""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import apps
import startup
from variants import VARIANTS

COUNTS = {"json": 2000, "page-1": 500, "page-50": 40, "tasks-100": 150}
HERE = Path(__file__).parent


class Worker:
    def __init__(self, variant: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "worker.py", variant],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._answer() != "ready":
            raise SystemExit(f"{variant} did not start")

    def measure(self, workload: str, count: int) -> float:
        """Median ns of an exchange."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{workload} {count}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=[*apps.PATHS, "startup"])
    arguments = parser.parse_args()
    print(
        f"CPython {platform.python_version()}, {platform.machine()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("opentelemetry-sdk", "fastapi"))
    )
    workloads = [w for w in apps.PATHS if arguments.only in (None, w)]
    if workloads:
        exchanges(workloads, arguments.rounds)
    if arguments.only in (None, "startup"):
        starts(arguments.rounds)


def exchanges(workloads: list[str], rounds: int) -> None:
    workers = {variant: Worker(variant) for variant in VARIANTS}
    print("| variant | " + " | ".join(workloads) + " |")
    print("|---" * (len(workloads) + 1) + "|")
    table: dict[str, list[str]] = {variant: [] for variant in VARIANTS}
    for workload in workloads:
        for worker in workers.values():
            worker.measure(workload, COUNTS[workload] // 4)  # warm up
        found = [
            {v: w.measure(workload, COUNTS[workload]) for v, w in workers.items()}
            for _ in range(rounds)
        ]
        for variant, (_, bare) in VARIANTS.items():
            ratio = statistics.median(each[variant] / each[bare] for each in found)
            added = statistics.median(each[variant] - each[bare] for each in found) / 1000
            alone = statistics.median(each[variant] for each in found) / 1000
            table[variant].append(
                f"{alone:.0f} us" if variant == bare else f"{ratio:.2f}x (+{added:.0f} us)"
            )
    for variant, row in table.items():
        print(f"| {variant} | " + " | ".join(row) + " |")
    for worker in workers.values():
        worker.process.kill()


def starts(rounds: int) -> None:
    found = startup.measure(rounds)
    base = found["SDK, no instrumentor"]
    for name, seconds in found.items():
        print(f"start-up, {name}: {seconds / base:.2f} of the SDK's, {seconds - base:+.3f} s")


if __name__ == "__main__":
    main()
