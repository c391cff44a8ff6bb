"""What held the loop, named by line and by request; and the lag that others got from it."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import http.server
import os
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import jinja2
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine

from otel_toolbar.settings import Settings
from otel_toolbar.signals.tasks import blocking
from otel_toolbar.signals.tasks.machine import Look

from .watching import LOOPS, named, observed, one, request, run, seconds, serve

loops = pytest.mark.parametrize("loop", LOOPS)
LOW = Settings(blocking_threshold=20)


def blockings(spans: list[Any]) -> list[Any]:
    """Those that a busy machine has not made."""
    return [
        span
        for span in spans
        if span.name.startswith("blocking")
        and span.attributes.get("asyncio.blocking.cause") != "machine"
    ]


def sleeps(delay: float) -> None:
    time.sleep(delay)  # here


def line_of(mark: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(at for at, line in enumerate(lines, 1) if line.endswith(mark))


@loops
def test_a_planted_sleep_is_named_by_its_line(loop: str) -> None:
    async def handler() -> None:
        await asyncio.sleep(0.01)
        sleeps(0.15)

    spans = request(handler, loop=loop)
    (span,) = blockings(spans)
    assert span.name == "blocking sleeps"
    assert span.attributes["code.file.path"] == __file__
    assert span.attributes["code.line.number"] == line_of("# here")
    first, second, *_ = span.attributes["code.stacktrace"].splitlines()
    assert first.endswith(f"{line_of('# here')} tests.tasks.test_blocking.sleeps")
    assert second.endswith("tests.tasks.test_blocking.handler")
    assert span.attributes["asyncio.blocking.threshold"] == 0.1
    assert span.attributes["asyncio.task.name"].startswith("Task-")
    stolen = span.attributes.get("asyncio.blocking.stolen.duration", 0.0)
    assert seconds(span) >= 0.15
    assert seconds(span) - stolen < 0.3, "what the machine took is told"
    server = one(spans, "GET")
    assert span.parent.span_id == server.context.span_id
    assert server.attributes["toolbar.blocking.count"] == 1
    assert server.attributes["toolbar.blocking.duration"] == pytest.approx(seconds(span), abs=0.001)


@loops
def test_down_to_five_milliseconds(loop: str) -> None:
    async def handler() -> None:
        for _ in range(5):
            sleeps(0.008)
            await asyncio.sleep(0.001)

    spans = request(handler, Settings(blocking_threshold=5), loop)
    found = [span for span in blockings(spans) if span.name == "blocking sleeps"]
    assert found, "a busy machine may keep the watchdog from some"
    assert {span.attributes["code.line.number"] for span in found} == {line_of("# here")}


def render(_: Path) -> None:
    template = jinja2.Template("{{ nap(0.2) }}")
    template.render(nap=time.sleep)


def compute(_: Path) -> None:
    until = time.thread_time() + 0.15
    while time.thread_time() < until:
        sum(range(1000))


def hash_much(_: Path) -> None:
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 600_000)


@pytest.mark.parametrize("what", [render, compute, hash_much])
def test_kinds_of_blocking(what: Any, tmp_path: Path) -> None:
    async def handler() -> None:
        await asyncio.sleep(0.005)
        what(tmp_path)

    spans = request(handler, LOW)
    (span,) = blockings(spans)
    shown = "template None" if what is render else what.__name__
    assert what.__name__ in span.attributes.get("code.stacktrace", "") or shown in span.name
    cause = span.attributes["asyncio.blocking.cause"]
    assert cause == ("sleep" if what is render else "cpu")


@loops
def test_a_plain_callback(loop: str) -> None:
    async def handler() -> None:
        running = asyncio.get_running_loop()
        running.call_soon(time.sleep, 0.05)
        await asyncio.sleep(0)
        running.call_soon(sleeps, 0.05)
        await asyncio.sleep(0)

    spans = request(handler, LOW, loop)
    first, second = blockings(spans)
    assert first.name == "blocking sleep"
    assert second.name == "blocking sleeps"
    assert second.attributes["code.line.number"] == line_of("# here")
    assert "asyncio.task.name" not in first.attributes
    assert one(spans, "GET").attributes["toolbar.blocking.count"] == 2


@loops
def test_waiting_is_no_blocking(loop: str) -> None:
    async def handler() -> None:
        await asyncio.sleep(0.06)
        await asyncio.to_thread(time.sleep, 0.06)
        await asyncio.gather(*(asyncio.sleep(0.03) for _ in range(5)))

    assert not blockings(request(handler, Settings(blocking_threshold=50), loop))


def test_the_machine_is_told_from_the_app() -> None:
    ms = 1_000_000

    class Seen:
        def __init__(self, cpu: int, stolen: int | None) -> None:
            self.looks = (
                Look(-2 * ms, 0, None if stolen is None else 0),
                Look(100 * ms, cpu * ms, None if stolen is None else stolen * ms),
            )

        def machine(self, since: int) -> Any:
            return self.looks

    def cause(cpu: int, stolen: int | None) -> Any:
        facts = blocking.judged(Seen(cpu, stolen), 0, 100 * ms, 50 * ms)  # type: ignore[arg-type]
        return facts["asyncio.blocking.cause"]

    assert cause(cpu=95, stolen=0) == "cpu"
    assert cause(cpu=1, stolen=2) == "sleep"
    assert cause(cpu=20, stolen=80) == "machine"
    assert cause(cpu=30, stolen=45) == "cpu", "what it slept is less"
    assert cause(cpu=60, stolen=40) == "cpu", "it would have been too long without the machine"
    assert cause(cpu=5, stolen=None) == "sleep"


def test_a_garbage_collection() -> None:
    async def handler() -> None:
        await asyncio.sleep(0.005)
        gc.collect()

    gc.disable()
    try:
        garbage: list[Any] = [[index, [index]] for index in range(400_000)]
        spans = request(handler, Settings(blocking_threshold=15))
    finally:
        gc.enable()
    assert garbage
    (span,) = [span for span in blockings(spans) if "handler" in span.name]
    assert span.attributes["asyncio.blocking.cause"] == "gc"


def test_work_after_the_response_blocks_too() -> None:
    from otel_toolbar.signals.core import steps
    from tests.telemetry import exchange, http_scope, watched

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})
        sleeps(0.05)

    async def main() -> None:
        steps.here()
        await asyncio.create_task(exchange(watched(app), http_scope()))

    with observed(LOW) as found:
        run(main)
        spans = found.exported()
    (span,) = blockings(spans)
    assert span.attributes["toolbar.detached"] is True
    assert one(spans, "GET").attributes["toolbar.blocking.count"] == 0


@loops
def test_one_of_a_hundred_blocks(loop: str) -> None:
    def of(number: int) -> Any:
        async def handler() -> None:
            for _ in range(5):
                await asyncio.sleep(0.01)
            if number == 57:
                sleeps(0.4)
            await asyncio.create_task(asyncio.sleep(0.01))

        return handler

    async def main() -> None:
        await asyncio.gather(*(serve(of(number), f"/{number}") for number in range(120)))

    with observed() as found:
        run(main, loop)
        spans = found.exported()
    (span,) = [each for each in blockings(spans) if each.name == "blocking sleeps"]
    servers = named(spans, "GET")
    assert len(servers) == 120
    assert len({each.context.trace_id for each in servers}) == 120
    (culprit,) = [each for each in servers if each.context.trace_id == span.context.trace_id]
    assert culprit.attributes["url.path"] == "/57"
    assert culprit.attributes["toolbar.blocking.count"] == 1
    assert all(each.attributes["toolbar.tasks.count"] == 1 for each in servers)
    victims = [
        each
        for each in servers
        if each.attributes.get("toolbar.event_loop.lag.other.name") == "GET /57"
    ]
    assert len(victims) > 60, "a busy machine may hold others up for longer"
    for victim in victims:
        assert victim.attributes["toolbar.event_loop.lag.other.duration"] >= 0.1
        assert victim.attributes["toolbar.event_loop.lag.max"] >= 0.1
        (link,) = victim.links
        assert link.context.span_id == culprit.context.span_id
        assert victim.attributes["toolbar.event_loop.lag.other.trace_id"] == (
            f"{culprit.context.trace_id:032x}"
        )


@loops
def test_lag_is_sampled_while_requests_run_only(loop: str) -> None:
    async def handler() -> None:
        await asyncio.sleep(0.1)

    async def main() -> None:
        from otel_toolbar.signals.core import steps

        await serve(handler)
        (watch,) = steps.watches()
        await asyncio.sleep(0.03)
        before = watch.extra.lag.totals()
        assert not watch.extra.lag._ticking
        await asyncio.sleep(0.05)
        assert watch.extra.lag.totals() == before

    with observed() as found:
        run(main, loop)
        server = one(found.exported(), "GET").attributes
    assert 2 <= server["toolbar.event_loop.lag.samples"] <= 11
    assert 0 <= server["toolbar.event_loop.lag.mean"] <= server["toolbar.event_loop.lag.max"]


def test_the_watchdog_sleeps_while_no_request_runs() -> None:
    async def handler() -> None:
        await asyncio.sleep(0.01)

    async def main() -> None:
        from otel_toolbar.signals.tasks import observer

        await serve(handler)
        assert observer._observer is not None
        dog: Any = observer._observer._watchdog
        for _ in range(100):
            await asyncio.sleep(0.01)
            if not dog._awake.is_set():
                break
        assert not dog._awake.is_set()
        assert dog._thread.is_alive()

    with observed():
        run(main)


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers after a while."""

    def do_GET(self) -> None:
        time.sleep(0.15)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def test_a_client_that_waits_for_an_answer() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def fetch() -> None:
        url = f"http://127.0.0.1:{server.server_port}/"
        urllib.request.urlopen(url).close()  # fetched here

    async def handler() -> None:
        await asyncio.sleep(0.005)
        fetch()

    try:
        (span,) = blockings(request(handler, LOW))
    finally:
        server.shutdown()
        server.server_close()
    assert span.name == "blocking fetch"
    assert span.attributes["code.line.number"] == line_of("# fetched here")


def test_a_file_that_takes_its_time(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def feed() -> None:
        with pipe.open("w") as to:
            time.sleep(0.15)
            to.write("late")

    async def handler() -> None:
        await asyncio.sleep(0.005)
        threading.Thread(target=feed).start()
        with pipe.open() as source:
            assert source.read() == "late"  # read here

    (span,) = blockings(request(handler, LOW))
    assert span.name == "blocking handler"
    assert span.attributes["code.line.number"] == line_of("# read here")
    assert span.attributes["asyncio.blocking.cause"] == "sleep"


def test_a_template_that_computes(tmp_path: Path) -> None:
    (tmp_path / "sums.html").write_text(
        "<p>\n{% for n in range(1500) %}\n{{ range(900) | sum }}{% endfor %}\n"
    )
    template = jinja2.Environment(loader=jinja2.FileSystemLoader(tmp_path)).get_template(
        "sums.html"
    )

    async def handler() -> None:
        await asyncio.sleep(0.005)
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            template.render()

    (span,) = blockings(request(handler, LOW))
    assert span.name == "blocking template sums.html"
    assert span.attributes["code.file.path"] == str(tmp_path / "sums.html")
    assert span.attributes["code.line.number"] in (2, 3)


def test_an_event_of_the_orm_within_its_greenlet(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/app.db")

    waits = [0.0, 0.15]  # what is done for the first time only takes its time, too

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def audit(*_: Any) -> None:
        time.sleep(waits.pop(0))  # audited here

    async def handler() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.execute(text("SELECT 1"))
        await engine.dispose()

    spans = request(handler, LOW)
    (span,) = [each for each in blockings(spans) if each.name == "blocking audit"]
    assert span.attributes["code.line.number"] == line_of("# audited here")
    callers = span.attributes["code.stacktrace"]
    assert ".audit" in callers
    assert one(spans, "GET").attributes["asyncio.task.steps"] >= 3


def test_a_loop_that_is_run_within_a_step() -> None:
    events: Any = asyncio.events

    async def inner() -> None:
        sleeps(0.05)
        await asyncio.sleep(0)

    async def handler() -> None:
        loop: Any = asyncio.get_running_loop()
        outer = asyncio.current_task()
        assert outer is not None
        task = asyncio.create_task(inner())
        asyncio.tasks._leave_task(loop, outer)
        while not task.done():
            events._set_running_loop(loop)
            loop._run_once()
        asyncio.tasks._enter_task(loop, outer)
        await asyncio.sleep(0)

    spans = request(handler, LOW)
    task = next(span for span in spans if span.name.endswith("inner") and "task" in span.name)
    server = one(spans, "GET")
    assert task.attributes["asyncio.task.state"] == "done"
    assert task.attributes["asyncio.task.cpu.duration"] >= 0.05
    # Two clocks: of the steps, and of the spans.
    assert server.attributes["toolbar.event_loop.running"] <= seconds(server) + 0.001
    assert [each for each in blockings(spans) if each.name == "blocking sleeps"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_watches_anew() -> None:
    async def handler() -> None:
        await asyncio.sleep(0.005)
        sleeps(0.15)

    async def main() -> None:
        await serve(handler)

    with observed(LOW) as found:
        run(main)
        found.exporter.clear()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(main)
                names = [span.name for span in found.exported()]
                code = 0 if "blocking sleeps" in names else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
