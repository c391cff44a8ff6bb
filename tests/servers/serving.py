"""Real apps on real servers, each in a subprocess under `opentelemetry-instrument`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BIN = Path(sys.executable).parent
START_SECONDS = 60
NO_PROXY = {"trust_env": False, "timeout": 30.0}


@dataclass
class Server:
    """A running server; `log` grows as it writes."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.get(self.url + path, **(NO_PROXY | kwargs))

    def api(self, path: str, **kwargs: Any) -> Any:
        answer = self.get("/_toolbar/api/" + path, **kwargs)
        assert answer.status_code == 200, (answer.status_code, answer.text, self.log)
        return answer.json()

    def traces(self, **kwargs: Any) -> list[dict[str, Any]]:
        return self.api("traces?limit=500", **kwargs)["traces"]

    def trace_of(self, response: httpx.Response) -> str:
        """The trace id that a response names."""
        return response.headers["x-trace-id"]

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 15) -> int:
        self.process.send_signal(sig)
        return self.process.wait(seconds)


def commands(server: str, port: int, target: str) -> list[str]:
    """The command line that serves `target` on a port with each server."""
    address = f"127.0.0.1:{port}"
    return {
        "uvicorn": ["uvicorn", target, "--port", str(port)],
        "uvicorn-uvloop": ["uvicorn", target, "--port", str(port), "--loop", "uvloop"],
        "uvicorn-websockets": ["uvicorn", target, "--port", str(port), "--ws", "websockets"],
        "uvicorn-sansio": ["uvicorn", target, "--port", str(port), "--ws", "websockets-sansio"],
        "uvicorn-wsproto": ["uvicorn", target, "--port", str(port), "--ws", "wsproto"],
        "uvicorn-reload": ["uvicorn", target, "--port", str(port), "--reload"],
        "uvicorn-workers": ["uvicorn", target, "--port", str(port), "--workers", "2"],
        "gunicorn": [
            *("gunicorn", target, "--bind", address, "--workers", "2", "--preload"),
            *("--worker-class", "uvicorn_worker.UvicornWorker"),
        ],
        "hypercorn": ["hypercorn", target, "--bind", address],
        "granian": ["granian", "--interface", "asgi", target, "--port", str(port)],
    }[server]


@contextmanager
def serving(
    folder: Path,
    tmp_path: Path,
    *,
    server: str = "uvicorn",
    target: str = "app:app",
    environment: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    instrument: bool = True,
) -> Iterator[Server]:
    """Serve the app in `folder` until the block ends."""
    port = free_port()
    command = commands(server, port, target)
    if instrument:
        command = ["opentelemetry-instrument", *flags, *command]
    log_file = tmp_path / f"{server}-{port}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [BIN / command[0], *command[1:]],
            cwd=folder,
            env=_environment(tmp_path, environment or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Server(f"http://127.0.0.1:{port}", process, log_file)
    try:
        wait_for(lambda: _answers(running), START_SECONDS, lambda: running.log)
        yield running
    finally:
        _end(process)


def wait_for(
    true: Callable[[], Any], seconds: float = 10, why: Callable[[], str] = lambda: ""
) -> Any:
    """What `true` returns once it is truthy; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := true():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s. {why()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(tmp_path: Path, more: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OTEL_") and name.lower() not in ("http_proxy", "https_proxy")
    }
    return kept | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "SHOP_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'shop.sqlite'}",
        "OTEL_SERVICE_NAME": "example",
        **more,
    }


def _answers(server: Server) -> bool:
    if server.process.poll() is not None:
        raise AssertionError(f"the server ended: {server.log}")
    try:
        server.get("/favicon.ico")
    except httpx.TransportError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)
    with suppress(ProcessLookupError):  # children that outlived it
        os.killpg(process.pid, signal.SIGKILL)
