"""Nothing is lost at the end, and no exporter holds the end up."""

from __future__ import annotations

import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from otel_toolbar.distro.flush import TIMEOUT

from .receiver import Receiver, receiving
from .serving import serving, wait_for

APPS = Path(__file__).parent / "apps"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}
BOUND = 2 * TIMEOUT + 3
"""Seconds that the end may take: the stated bound, and a margin for a slow machine."""

EXPORTERS_LINE = re.compile(r"Failed to export|Transient error")


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian"])
@pytest.mark.parametrize("target", ["lifespan:app", "plain:app"])
def test_sigterm_at_once_after_a_request_loses_nothing(
    server: str, target: str, tmp_path: Path
) -> None:
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(
            APPS, tmp_path, server=server, target=target, environment=environment
        ) as running:
            assert running.get("/hello").status_code == 200
            running.stop()
            assert "/hello" in _paths(receiver), running.log
            assert "otel-toolbar" not in running.log
            assert "Traceback" not in running.log


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian"])
def test_ctrl_c_loses_nothing(server: str, tmp_path: Path) -> None:
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(
            APPS, tmp_path, server=server, target="plain:app", environment=environment
        ) as running:
            running.get("/hello")
            running.stop(signal.SIGINT)
            assert "/hello" in _paths(receiver), running.log
            assert "otel-toolbar" not in running.log


def test_reload_flushes_the_old_process_and_watches_the_new_one(tmp_path: Path) -> None:
    shutil.copy(APPS / "plain.py", tmp_path / "plain.py")
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(
            tmp_path, tmp_path, server="uvicorn-reload", target="plain:app", environment=environment
        ) as running:
            first = running.get("/hello")
            source = (tmp_path / "plain.py").read_text()
            (tmp_path / "plain.py").write_text(source.replace('b"hello"', 'b"hello again"'))
            wait_for(lambda: _hellos(receiver), 30, lambda: running.log)
            assert _hellos(receiver)[0]["trace_id"] == running.trace_of(first)

            def reloaded() -> bool:
                try:
                    return running.get("/hello").text == "hello again"
                except Exception:
                    return False

            wait_for(reloaded, 30, lambda: running.log)
            last = running.get("/hello")
            running.stop()
            sent = {span["trace_id"] for span in _hellos(receiver)}
            assert running.trace_of(last) in sent, running.log


def test_every_worker_is_flushed_when_the_parent_is_stopped(tmp_path: Path) -> None:
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(
            APPS,
            tmp_path,
            server="uvicorn-workers",
            target="plain:app",
            environment=environment,
        ) as running:
            ids = {running.trace_of(running.get("/hello")) for _ in range(40)}
            running.stop()
            got = {span["trace_id"]: span for span in _hellos(receiver)}
            assert set(got) == ids, running.log
            processes = {span["resource"]["toolbar.process.id"] for span in got.values()}
            assert len(processes) == len({s["resource"]["process.pid"] for s in got.values()})


def _paths(receiver: Receiver) -> set[str]:
    return {span["attributes"].get("url.path") for span in receiver.spans}


def _hellos(receiver: Receiver) -> list[dict[str, Any]]:
    return [span for span in receiver.spans if span["attributes"].get("url.path") == "/hello"]


@contextmanager
def hanging() -> Iterator[str]:
    """An endpoint that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def failing() -> Iterator[str]:
    with receiving({"/v1/traces": 500, "/v1/logs": 500}) as receiver:
        yield receiver.url


@contextmanager
def refusing() -> Iterator[str]:
    with hanging() as url:
        pass
    yield url


@pytest.mark.parametrize(
    ("server", "endpoint", "sig"),
    [
        ("uvicorn", refusing, signal.SIGTERM),
        ("uvicorn", hanging, signal.SIGTERM),
        ("uvicorn", failing, signal.SIGTERM),
        ("uvicorn", hanging, signal.SIGINT),  # the one after which `atexit` runs
        ("hypercorn", hanging, signal.SIGTERM),
        ("granian", hanging, signal.SIGTERM),
    ],
)
def test_an_endpoint_that_fails_holds_nothing_up(
    server: str, endpoint: Callable[[], Any], sig: int, tmp_path: Path
) -> None:
    """An exporter of the SDK waits for 10 s, and the SDK at exit for 30 s."""
    with endpoint() as url:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        with serving(
            APPS, tmp_path, server=server, target="lifespan:app", environment=environment
        ) as running:
            for _ in range(5):
                assert running.get("/hello").json() == {"hello": "world"}
            running.stop(sig, BOUND)
            assert len(EXPORTERS_LINE.findall(running.log)) <= 3, running.log
            assert "Traceback" not in running.log
