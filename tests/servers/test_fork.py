"""Forked workers: ids and a store of their own, and no lock that nobody holds any more."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .receiver import receiving
from .serving import BIN, _environment, serving

APPS = Path(__file__).parent / "apps"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}


def test_preloaded_workers_of_gunicorn(tmp_path: Path) -> None:
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(
            APPS, tmp_path, server="gunicorn", target="lifespan:app", environment=environment
        ) as running:
            answers = [running.get("/query") for _ in range(30)]
            sent = {running.trace_of(answer) for answer in answers}
            running.stop()
        requests = {
            span["trace_id"]: span
            for span in receiver.spans
            if span["attributes"].get("url.path") == "/query"
        }
        assert len(sent) == 30, "ids are the process's own"
        assert set(requests) == sent, running.log
        resources = [span["resource"] for span in requests.values()]
        identities = {(each["process.pid"], each["toolbar.process.id"]) for each in resources}
        assert len({pid for pid, _ in identities}) == len({own for _, own in identities})
        assert str(running.process.pid) not in {str(pid) for pid, _ in identities}
        assert "otel" not in running.log.lower(), running.log


FORKED = """
import os, threading
from otel_toolbar.distro import runtime
from otel_toolbar.signals.core import light

toolbar = runtime.install()
before, first = toolbar.process_id, light.random_bits(64)
held, go_on = threading.Event(), threading.Event()

def hold():
    with toolbar.store._lock, light._taking, runtime._lock:
        held.set()
        go_on.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    from otel_toolbar.store.base import Query
    toolbar.store.clear()
    toolbar.store.list(Query())
    with light._taking:
        same = runtime.install() is toolbar
    os.write(writer, f"{same} {toolbar.process_id != before} {light.random_bits(64)}".encode())
    os._exit(0)
go_on.set()
os.waitpid(child, 0)
thread.join()
answer = os.read(reader, 1000).decode().split()
print(*answer[:2], int(answer[2]) != light.random_bits(64))
"""


def test_a_fork_while_locks_are_held(tmp_path: Path) -> None:
    run = subprocess.run(
        [BIN / "opentelemetry-instrument", BIN / "python", "-W", "ignore", "-c", FORKED],
        env=_environment(tmp_path, OURS),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.stdout == "True True True\n", run.stderr
