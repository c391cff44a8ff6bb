"""A real uvicorn under load: as many requests as it answers, on some connections that are kept open.

The load is made in this process, on another core than the server's where there is one. Each connection
asks anew as soon as it has its answer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import time
from contextlib import ExitStack
from typing import Any

from measure import HERE, Pythons, VariantError, aside, command, environment
from variants import VARIANTS

CONNECTIONS = 16
PATHS = {"JSON": "/json", "page with a query": "/page/1"}


class Connection(asyncio.Protocol):
    """Asks again and again until `until`; `times` has s for each answer that was 200."""

    def __init__(self, path: str, times: list[float], until: float) -> None:
        head = "Host: localhost\r\nAccept: */*\r\nUser-Agent: bench\r\n"
        self.request = f"GET {path}?id=load HTTP/1.1\r\n{head}\r\n".encode()
        self.times = times
        self.until = until
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        self.received = b""
        self.asked = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not complete(self.received):
            return
        now = time.perf_counter()
        if not self.received.startswith(b"HTTP/1.1 200"):
            self._fail(f"answered {self.received[:60]!r}")
        elif now < self.until:
            self.times.append(now - self.asked)
            self._ask()
        else:
            self.transport.close()

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(VariantError(why))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def complete(received: bytes) -> bool:
    """True when that is a whole response."""
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line[15:])
    return body.endswith(b"0\r\n\r\n")


async def _load(port: int, path: str, seconds: float) -> list[float]:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def one() -> None:
        _, protocol = await loop.create_connection(
            lambda: Connection(path, times, until), "127.0.0.1", port
        )
        await asyncio.wait_for(protocol.done, seconds + 30)

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return times


class Server:
    """A variant behind uvicorn. The core that it gets is that of the workers."""

    def __init__(self, name: str, port: int, pythons: Pythons, redis: str | None) -> None:
        self.port = port
        variant = VARIANTS[name]
        self.process = subprocess.Popen(
            command(pythons[variant.venv], variant.toolbar, "serving.py", name, str(self.port)),
            cwd=HERE,
            env=environment(name, redis),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def await_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise VariantError("the server did not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _free_ports(count: int) -> list[int]:
    # All are held until all are found, or the same could be given out twice.
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def measure(
    names: list[str], pythons: Pythons, redis: str | None, rounds: int, seconds: float
) -> dict[str, Any]:
    """By variant and path: requests a second, and ms at p50 and p99; medians of rounds."""
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    ports = zip(names, _free_ports(len(names)), strict=True)
    servers = {name: Server(name, port, pythons, redis) for name, port in ports}
    found: dict[str, Any] = {}
    try:
        for name, server in servers.items():
            try:
                server.await_ready()
            except VariantError as error:
                found[name] = dict.fromkeys(PATHS, f"{error}")
        aside()
        for number in range(rounds + 1):  # the first is to warm up
            for label, path in PATHS.items():
                for name, server in servers.items():
                    _once(found.setdefault(name, {}), label, server, path, seconds, number > 0)
    finally:
        for server in servers.values():
            server.stop()
        if here is not None:
            os.sched_setaffinity(0, here)
    return {
        name: {label: _median(each) for label, each in labels.items()}
        for name, labels in found.items()
    }


def _once(
    labels: dict[str, Any], label: str, server: Server, path: str, seconds: float, counts: bool
) -> None:
    if label in labels and not isinstance(labels[label], list):
        return
    try:
        times = sorted(asyncio.run(_load(server.port, path, seconds if counts else seconds / 4)))
    except (VariantError, OSError, asyncio.TimeoutError) as error:
        labels[label] = f"{type(error).__name__}: {error}"
        return
    kept = labels.setdefault(label, [])
    if counts and times:
        kept.append(
            {
                "rps": len(times) / seconds,
                "p50_ms": times[len(times) // 2] * 1e3,
                "p99_ms": times[int(len(times) * 0.99)] * 1e3,
            }
        )


def _median(rounds: Any) -> Any:
    if not isinstance(rounds, list) or not rounds:
        return rounds or None
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
