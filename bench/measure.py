"""Workers, one for each variant, and rounds in which they take turns."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from variants import VARIANTS

HERE = Path(__file__).parent
TIMEOUT = 60
"""Seconds after which a variant that does not answer is given up."""

Pythons = dict[str, str]
"""Interpreter of each environment that `variants` names."""


class VariantError(Exception):
    """A variant that did not do what it was asked."""


class NoAnswerError(VariantError):
    """It does not even answer."""


def command(python: str, toolbar: bool, *arguments: str) -> list[str]:
    instrument = [str(Path(python).parent / "opentelemetry-instrument")] if toolbar else []
    return [*instrument, python, *arguments]


def environment(name: str, redis: str | None) -> dict[str, str]:
    """Of a variant's process: nothing of the caller's telemetry, and no random order of sets."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    kept |= {"PYTHONHASHSEED": "0", **VARIANTS[name].environment}
    if redis:
        kept["BENCH_REDIS"] = redis
    if VARIANTS[name].toolbar:
        kept["OTEL_PYTHON_DISTRO"] = "otel_toolbar"
    return kept


class Worker:
    """`log` is where it writes what it prints."""

    def __init__(self, name: str, pythons: Pythons, redis: str | None, log: Any = None) -> None:
        variant = VARIANTS[name]
        self.name = name
        self._command = command(pythons[variant.venv], variant.toolbar, "worker.py", name)
        self._environment = environment(name, redis)
        self._log = log
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command,
            cwd=HERE,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def await_ready(self) -> None:
        try:
            self._answer(120)
        except VariantError as error:
            self.stop()
            raise SystemExit(f"{self.name} did not start: {error}") from None

    def start_anew(self) -> None:
        self.stop()
        self.start()
        self.await_ready()

    def ask(self, timeout: float = TIMEOUT, **what: Any) -> Any:
        """The result of a command; raises `VariantError`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise NoAnswerError("it died") from None
        reply = self._answer(timeout)
        if "error" in reply:
            raise VariantError(reply["error"])
        return reply["result"]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answer(self, timeout: float = TIMEOUT) -> Any:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise NoAnswerError(f"no answer in {timeout} s")
        line = self.process.stdout.readline()
        if not line:
            raise NoAnswerError("it died")
        return json.loads(line)


def present(names: Iterable[str], pythons: Pythons) -> tuple[list[str], list[str]]:
    """Those that can be run, and a line for each that cannot."""
    there, absent = [], []
    for name in names:
        variant = VARIANTS[name]
        python = pythons.get(variant.venv)
        if python is None:
            absent.append(f"{name}: no environment {variant.venv!r}")
        elif variant.needs and not _has(python, variant.needs):
            absent.append(f"{name}: no package {variant.needs}")
        else:
            there.append(name)
    return there, absent


def _has(python: str, package: str) -> bool:
    top = package.partition(".")[0]  # finding it imports what is above it
    code = f"import importlib.util as u; assert u.find_spec({top!r}) and u.find_spec({package!r})"
    return not subprocess.run([python, "-c", code], capture_output=True, check=False).returncode


@contextmanager
def workers(
    names: Iterable[str], pythons: Pythons, redis: str | None = None, log: Any = None
) -> Iterator[dict[str, Worker]]:
    started: dict[str, Worker] = {}
    try:
        for name in names:
            started[name] = Worker(name, pythons, redis, log)
        for worker in started.values():
            worker.await_ready()
        yield started
    finally:
        for worker in started.values():
            worker.stop()


Figures = dict[str, dict[str, list[dict[str, float]]]]
"""By variant and workload, a figure for each round."""


class Rounds:
    """Rounds over pairs of variant and workload. `errors` has what broke, and that pair stops there."""

    def __init__(self, started: dict[str, Worker], seconds: float) -> None:
        self.workers = started
        self.seconds = seconds
        self.figures: Figures = {}
        self.errors: dict[str, dict[str, str]] = {}

    def warm_up(self, pairs: Iterable[tuple[str, str]]) -> None:
        for workload, name in pairs:
            if workload != "f":  # of the same pages as c
                self._run(name, workload, self.seconds / 2)

    def round(self, pairs: Iterable[tuple[str, str]]) -> None:
        for workload, name in pairs:
            figure = self._run(name, workload, self.seconds)
            if figure is not None:
                self.figures.setdefault(name, {}).setdefault(workload, []).append(figure)

    def _run(self, name: str, workload: str, seconds: float) -> dict[str, float] | None:
        if workload in self.errors.get(name, {}):
            return None
        try:
            return self.workers[name].ask(do="run", workload=workload, seconds=seconds)
        except VariantError as error:
            self.errors.setdefault(name, {})[workload] = str(error)
            if isinstance(error, NoAnswerError):
                self.workers[name].start_anew()
            return None


def added(figures: Figures, name: str, bare: str, workload: str) -> tuple[float, float] | None:
    """Ratio to the bare variant and us added: of each round, then the median of these."""
    ours = [figure["us"] for figure in figures.get(name, {}).get(workload, [])]
    base = [figure["us"] for figure in figures.get(bare, {}).get(workload, [])]
    pairs = list(zip(ours, base, strict=False))
    if not pairs:
        return None
    return (
        statistics.median(mine / other for mine, other in pairs),
        statistics.median(mine - other for mine, other in pairs),
    )


@contextmanager
def redis_server() -> Iterator[str | None]:
    """URL of a Redis of our own on a core that no variant has; None where there is no Redis."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    aside(process.pid)
    try:
        _await_port(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _await_port(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def end_on_signal() -> None:
    """Let what was started be stopped when this process is told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def aside(process: int = 0) -> None:
    """Have a process, or this one, leave the core that the variants have, where there is another."""
    if hasattr(os, "sched_setaffinity"):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(process, (cores - {min(cores)}) or cores)
