"""What a process takes until its app is loaded: plain, with the SDK alone, with the toolbar."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LOAD = """
import pathlib, uvicorn
uvicorn.Config('startup:app').load()
status = pathlib.Path('/proc/self/status')
lines = status.read_text().splitlines() if status.exists() else []
print(next((line.split()[1] for line in lines if line.startswith('VmHWM')), 0))
"""
"""Loads the app and prints the most KiB that were resident."""

COMMANDS: dict[str, dict[str, str] | None] = {
    "plain": None,
    "SDK, no instrumentor": {
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISTRO": "distro",
        "OTEL_PYTHON_CONFIGURATOR": "configurator",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",
    },
    "otel-toolbar": {"OTEL_PYTHON_DISTRO": "otel_toolbar"},
}
"""What is in the environment of `opentelemetry-instrument`; None: without it."""


async def app(scope, receive, send) -> None:
    """The least app there is."""


def once(name: str, python: str) -> dict[str, float]:
    """s until the process has ended, s of CPU time, and MiB resident at most."""
    environment = COMMANDS[name]
    instrument = (
        [] if environment is None else [str(Path(python).parent / "opentelemetry-instrument")]
    )
    start = time.perf_counter()
    process = subprocess.Popen(
        [*instrument, python, "-c", LOAD],
        cwd=Path(__file__).parent,
        env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name}: the app was not loaded")
    return {
        "s": time.perf_counter() - start,
        "cpu_s": used.ru_utime + used.ru_stime,
        "mib": int(printed.split()[-1]) / 1024,
    }


def measure(rounds: int, python: str = sys.executable) -> dict[str, dict[str, float]]:
    """Medians of each, rounds interleaved."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name in COMMANDS:
            figures = once(name, python)
            if number:  # the first reads files that nobody has read yet
                found[name].append(figures)
    return {
        name: {key: statistics.median(each[key] for each in figures) for key in figures[0]}
        for name, figures in found.items()
    }
