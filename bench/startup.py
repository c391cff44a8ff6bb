"""How long a process takes until its app is loaded: plain, with the SDK alone, with the toolbar."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LOAD = "import uvicorn; uvicorn.Config('startup:app').load()"
INSTRUMENT = str(Path(sys.executable).parent / "opentelemetry-instrument")
NO_EXPORT = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}

COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "plain": ([], {}),
    "SDK, no instrumentor": (
        [INSTRUMENT],
        NO_EXPORT
        | {
            "OTEL_PYTHON_DISTRO": "distro",
            "OTEL_PYTHON_CONFIGURATOR": "configurator",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",
        },
    ),
    "otel-toolbar": ([INSTRUMENT], {"OTEL_PYTHON_DISTRO": "otel_toolbar"}),
}


async def app(scope, receive, send) -> None:
    """The least app there is."""


def once(name: str) -> float:
    command, environment = COMMANDS[name]
    start = time.perf_counter()
    subprocess.run(
        [*command, sys.executable, "-c", LOAD],
        check=True,
        cwd=Path(__file__).parent,
        env=os.environ | environment,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, float]:
    """Median seconds of each, rounds interleaved."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name in COMMANDS:
            times[name].append(once(name))
    return {name: statistics.median(each) for name, each in times.items()}
