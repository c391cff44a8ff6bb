"""Jaeger, Zipkin and an OpenTelemetry Collector as processes on the loopback interface.

Jaeger and the Collector run the files in collector-config/, the same that
docker-compose.yml mounts. `.ci/parts.sh` gets the programs.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

Part = Literal["jaeger", "collector", "zipkin"]

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "collector-config"
SCRIPT = ROOT / ".ci" / "parts.sh"
START_SECONDS = 60


@dataclass(frozen=True)
class Jaeger:
    url: str
    otlp_http: str
    otlp_grpc: str


@dataclass(frozen=True)
class Zipkin:
    url: str


@dataclass(frozen=True)
class Collector:
    otlp_http: str
    otlp_grpc: str


def missing(part: Part) -> str | None:
    """One line that says what is not there and how to get it; None when all is there."""
    if not SCRIPT.exists():
        return f"{part} is got by .ci/parts.sh, which only a git checkout has"
    if not where(part).exists():
        return f"{part} is not there: run .ci/parts.sh {part}"
    if part == "zipkin" and shutil.which("java") is None:
        return "zipkin needs java: run .ci/parts.sh system"
    return None


@cache
def where(part: Part) -> Path:
    # The script knows the pinned versions, and so the folder; nobody else has to.
    answer = subprocess.run(
        ["bash", SCRIPT, "where", part], check=True, capture_output=True, text=True
    )
    return Path(answer.stdout.strip())


@contextmanager
def jaeger(logs: Path) -> Iterator[Jaeger]:
    query, query_grpc, otlp_http, otlp_grpc = free_addresses(4)
    environment = {
        "JAEGER_QUERY_HTTP": query,
        "JAEGER_QUERY_GRPC": query_grpc,
        "JAEGER_OTLP_HTTP": otlp_http,
        "JAEGER_OTLP_GRPC": otlp_grpc,
    }
    command = [where("jaeger"), "--config", CONFIG / "jaeger.yaml"]
    with running(command, environment, logs / "jaeger.log") as alive:
        wait_until(
            alive,
            lambda: answers(f"http://{query}/api/v3/services") and listens(otlp_http, otlp_grpc),
        )
        yield Jaeger(f"http://{query}", f"http://{otlp_http}", f"http://{otlp_grpc}")


@contextmanager
def zipkin(logs: Path) -> Iterator[Zipkin]:
    (address,) = free_addresses(1)
    host, port = address.split(":")
    listen_here_only = [
        f"--armeria.ports[0].ip={host}",
        f"--armeria.ports[0].port={port}",
        "--armeria.ports[0].protocols[0]=http",
    ]
    quick_start = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command = ["java", *quick_start, "-jar", where("zipkin"), *listen_here_only]
    with running(command, {}, logs / "zipkin.log") as alive:
        wait_until(alive, lambda: answers(f"http://{address}/health"))
        yield Zipkin(f"http://{address}")


@contextmanager
def collector(jaeger: Jaeger, zipkin: Zipkin, logs: Path) -> Iterator[Collector]:
    otlp_http, otlp_grpc = free_addresses(2)
    environment = {
        "COLLECTOR_OTLP_HTTP": otlp_http,
        "COLLECTOR_OTLP_GRPC": otlp_grpc,
        "JAEGER_ENDPOINT": jaeger.otlp_grpc.removeprefix("http://"),
        "ZIPKIN_ENDPOINT": f"{zipkin.url}/api/v2/spans",
    }
    command = [where("collector"), "--config", CONFIG / "collector.yaml"]
    with running(command, environment, logs / "collector.log") as alive:
        wait_until(alive, lambda: listens(otlp_http, otlp_grpc))
        yield Collector(f"http://{otlp_http}", f"http://{otlp_grpc}")


@contextmanager
def running(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path
) -> Iterator[Callable[[], None]]:
    """Yields a function that raises, with the end of the log, once the process has ended."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=output
        )

        def alive() -> None:
            if process.poll() is not None:
                raise RuntimeError(
                    f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-2000:]}"
                )

        try:
            yield alive
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(alive: Callable[[], None], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        alive()
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {START_SECONDS} s")
        time.sleep(0.05)


def free_addresses(count: int) -> list[str]:
    # All are held until all are found, or the same port could be given out twice.
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def listens(*addresses: str) -> bool:
    return all(accepts(address) for address in addresses)


def accepts(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def answers(url: str) -> bool:
    try:
        return fetch(url)[0] == 200
    except OSError:
        return False


# A proxy named in the environment is no way to the loopback interface.
opener = build_opener(ProxyHandler({}))


def fetch(url: str, json_body: object = None) -> tuple[int, Any]:
    """The status and the JSON answer (None when it is not JSON); a POST when there is a body."""
    data = None if json_body is None else json.dumps(json_body).encode()
    try:
        with opener.open(
            Request(url, data, {"Content-Type": "application/json"}), timeout=10
        ) as response:
            return response.status, json_or_none(response.read())
    except HTTPError as error:
        with error:
            return error.code, json_or_none(error.read())


def json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
