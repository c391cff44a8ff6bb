"""What a process takes until its app is loaded: plain, with the SDK alone, with the toolbar."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOAD = """
import pathlib, time, uvicorn
uvicorn.Config('startup:app').load()
spent = time.process_time()
status = pathlib.Path('/proc/self/status')
lines = status.read_text().splitlines() if status.exists() else []
print(spent, next((line.split()[1] for line in lines if line.startswith('VmHWM')), 0), flush=True)
"""
"""Loads the app and prints s of CPU time and the most KiB that were resident."""

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

_COMPILING = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


async def app(scope, receive, send) -> None:
    """The least app there is."""


def once(name: str, python: str, bytecode: str) -> dict[str, float]:
    """s until the app is loaded, s of CPU time, and MiB resident at most.

    `bytecode` is the folder with the compiled modules: pip compiles what it installs, but nobody compiles
    ours where the sources are run, least of all under PYTHONDONTWRITEBYTECODE.
    """
    environment = COMMANDS[name]
    instrument = (
        [] if environment is None else [str(Path(python).parent / "opentelemetry-instrument")]
    )
    start = time.perf_counter()
    with subprocess.Popen(
        [*instrument, python, "-c", LOAD],
        cwd=Path(__file__).parent,
        env={
            k: v for k, v in os.environ.items() if not k.startswith("OTEL_") and k not in _COMPILING
        }
        | {"PYTHONPYCACHEPREFIX": bytecode}
        | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
    if process.returncode or not line:
        raise SystemExit(f"{name}: the app was not loaded")
    cpu, kib = line.split()
    return {"s": seconds, "cpu_s": float(cpu), "mib": int(kib) / 1024}


def measure(rounds: int, python: str = sys.executable) -> dict[str, dict[str, float]]:
    """Medians of each, rounds interleaved."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as bytecode:
        for number in range(rounds + 1):
            for name in COMMANDS:
                figures = once(name, python, bytecode)
                if number:  # the first compiles, and reads files that nobody has read yet
                    found[name].append(figures)
    return {
        name: {key: statistics.median(each[key] for each in figures) for key in figures[0]}
        for name, figures in found.items()
    }
