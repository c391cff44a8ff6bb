"""Tasks, work in threads and awaits of one request, on asyncio and uvloop."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.to_thread
import pytest
from inline_snapshot import snapshot
from opentelemetry import trace

from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import current, light, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.tasks.spans import TaskSpan
from otel_toolbar.wire import packed
from tests.telemetry import made_global, telemetry, written_down

from .watching import LOOPS, named, new_loop, observed, one, request, run, seconds, serve

loops = pytest.mark.parametrize("loop", LOOPS)

MEASURED = {
    "asyncio.task.cpu.duration",
    "asyncio.task.wait.duration",
    "asyncio.task.started",
    "asyncio.await.queued",
    "asyncio.executor.started",
    "asyncio.executor.cpu.duration",
    "toolbar.event_loop.running",
    "toolbar.event_loop.waiting",
    "toolbar.event_loop.queued",
    "toolbar.event_loop.idle",
    "toolbar.event_loop.lag.max",
    "toolbar.event_loop.lag.mean",
    "toolbar.event_loop.lag.samples",
    "toolbar.await.targets",
    "toolbar.await.durations",
    "thread.id",
}


async def leaf(delay: float = 0) -> str:
    await asyncio.sleep(delay)
    return "leaf"


async def failing() -> None:
    await asyncio.sleep(0)
    raise ValueError("no such item")


def nap(delay: float = 0.002) -> str:
    time.sleep(delay)
    return threading.current_thread().name


def stable(spans: list[Any]) -> list[dict[str, Any]]:
    """Written down with what is measured left out, names of tasks and threads too."""
    written = written_down(spans)
    for span in written:
        attributes = span["attributes"]
        for key in attributes.keys() & MEASURED:
            attributes[key] = "..."
        if "asyncio.task.timeline" in attributes:
            attributes["asyncio.task.timeline"] = len(attributes["asyncio.task.timeline"])
        if attributes.get("asyncio.task.name", "").startswith("Task-"):
            attributes["asyncio.task.name"] = "Task-..."
    return written


@loops
def test_the_whole_telemetry_of_tasks(loop: str) -> None:
    async def parent() -> None:
        await asyncio.create_task(leaf(0.02), name="child")

    async def handler() -> None:
        await asyncio.create_task(parent(), name="parent")
        (failed,) = await asyncio.gather(failing(), return_exceptions=True)
        assert isinstance(failed, ValueError)

    assert stable(request(handler, loop=loop)) == snapshot(
        [
            {
                "name": "GET",
                "kind": "SERVER",
                "parent": None,
                "attributes": {
                    "asyncio.task.steps": 3,
                    "asyncio.task.timeline": 5,
                    "client.address": "127.0.0.1",
                    "client.port": 5000,
                    "http.request.body.size": 0,
                    "http.request.header.host": ["localhost:8000"],
                    "http.request.method": "GET",
                    "http.response.body.size": 4,
                    "http.response.status_code": 200,
                    "network.protocol.version": "1.1",
                    "server.address": "localhost",
                    "server.port": 8000,
                    "toolbar.await.durations": "...",
                    "toolbar.await.targets": "...",
                    "toolbar.blocking.count": 0,
                    "toolbar.blocking.duration": 0.0,
                    "toolbar.cpu.time": "...",
                    "toolbar.event_loop.idle": "...",
                    "toolbar.event_loop.lag.max": "...",
                    "toolbar.event_loop.lag.mean": "...",
                    "toolbar.event_loop.lag.samples": "...",
                    "toolbar.event_loop.queued": "...",
                    "toolbar.event_loop.running": "...",
                    "toolbar.event_loop.waiting": "...",
                    "toolbar.framework": "asgi",
                    "toolbar.jobs.count": 0,
                    "toolbar.jobs.n_plus_one.count": 0,
                    "toolbar.n_plus_one.count": 0,
                    "toolbar.queries.count": 0,
                    "toolbar.queries.duration": "...",
                    "toolbar.response.chunks": 1,
                    "toolbar.response.first_byte": "...",
                    "toolbar.tasks.count": 3,
                    "url.path": "/",
                    "url.scheme": "http",
                },
            },
            {
                "name": "task test_the_whole_telemetry_of_tasks.<locals>.parent",
                "kind": "INTERNAL",
                "parent": "GET",
                "attributes": {
                    "asyncio.task.coroutine": "test_the_whole_telemetry_of_tasks.<locals>.parent",
                    "asyncio.task.cpu.duration": "...",
                    "asyncio.task.name": "parent",
                    "asyncio.task.started": "...",
                    "asyncio.task.state": "done",
                    "asyncio.task.steps": 2,
                    "asyncio.task.timeline": 3,
                    "asyncio.task.wait.duration": "...",
                    "code.file.path": "/tests/tasks/test_tasks.py",
                    "code.function.name": "tests.tasks.test_tasks.handler",
                    "code.line.number": "...",
                },
            },
            {
                "name": "await handler",
                "kind": "INTERNAL",
                "parent": "GET",
                "attributes": {
                    "asyncio.await.queued": "...",
                    "asyncio.await.target": "task test_the_whole_telemetry_of_tasks.<locals>.parent",
                    "code.file.path": "/tests/tasks/test_tasks.py",
                    "code.function.name": "tests.tasks.test_tasks.handler",
                    "code.line.number": "...",
                },
            },
            {
                "name": "task leaf",
                "kind": "INTERNAL",
                "parent": "task test_the_whole_telemetry_of_tasks.<locals>.parent",
                "attributes": {
                    "asyncio.task.coroutine": "leaf",
                    "asyncio.task.cpu.duration": "...",
                    "asyncio.task.name": "child",
                    "asyncio.task.started": "...",
                    "asyncio.task.state": "done",
                    "asyncio.task.steps": 2,
                    "asyncio.task.timeline": 3,
                    "asyncio.task.wait.duration": "...",
                    "code.file.path": "/tests/tasks/test_tasks.py",
                    "code.function.name": "tests.tasks.test_tasks.parent",
                    "code.line.number": "...",
                },
            },
            {
                "name": "await parent",
                "kind": "INTERNAL",
                "parent": "task test_the_whole_telemetry_of_tasks.<locals>.parent",
                "attributes": {
                    "asyncio.await.queued": "...",
                    "asyncio.await.target": "task leaf",
                    "code.file.path": "/tests/tasks/test_tasks.py",
                    "code.function.name": "tests.tasks.test_tasks.parent",
                    "code.line.number": "...",
                },
            },
            {
                "name": "await leaf",
                "kind": "INTERNAL",
                "parent": "task leaf",
                "attributes": {
                    "asyncio.await.queued": "...",
                    "asyncio.await.target": "asyncio.sleep",
                    "code.file.path": "/tests/tasks/test_tasks.py",
                    "code.function.name": "tests.tasks.test_tasks.leaf",
                    "code.line.number": "...",
                },
            },
            {
                "name": "task failing",
                "kind": "INTERNAL",
                "parent": "GET",
                "attributes": {
                    "asyncio.task.coroutine": "failing",
                    "asyncio.task.cpu.duration": "...",
                    "asyncio.task.name": "Task-...",
                    "asyncio.task.started": "...",
                    "asyncio.task.state": "failed",
                    "asyncio.task.steps": 2,
                    "asyncio.task.timeline": 3,
                    "asyncio.task.wait.duration": "...",
                    "code.file.path": "/tests/tasks/test_tasks.py",
                    "code.function.name": "tests.tasks.test_tasks.handler",
                    "code.line.number": "...",
                    "error.type": "ValueError",
                },
                "status": "ERROR",
                "events": [
                    (
                        "exception",
                        {
                            "exception.type": "ValueError",
                            "exception.message": "no such item",
                            "exception.stacktrace": "...",
                        },
                    )
                ],
            },
        ]
    )


@loops
def test_every_way_to_make_a_task(loop: str) -> None:
    async def handler() -> None:
        running = asyncio.get_running_loop()
        await asyncio.create_task(leaf())
        await running.create_task(leaf())
        await asyncio.ensure_future(leaf())
        await asyncio.gather(leaf(), leaf())
        await asyncio.wait([asyncio.create_task(leaf())])
        if sys.version_info >= (3, 11):
            async with asyncio.TaskGroup() as group:
                group.create_task(leaf())
                group.create_task(leaf())
        for coming in asyncio.as_completed([leaf()]):
            await coming

    spans = request(handler, loop=loop)
    expected = 9 if sys.version_info >= (3, 11) else 7
    assert len(named(spans, "task leaf")) == expected
    assert {span.attributes["asyncio.task.state"] for span in named(spans, "task leaf")} == {"done"}
    assert one(spans, "GET").attributes["toolbar.tasks.count"] == expected
    lines = {span.attributes["code.line.number"] for span in named(spans, "task leaf")}
    assert len(lines) == expected - 1, "gather is one line"
    assert {span.attributes["code.file.path"] for span in named(spans, "task leaf")} == {__file__}


@loops
def test_a_task_of_anyio_has_the_name_of_its_function(loop: str) -> None:
    async def handler() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(leaf)

    spans = request(handler, loop=loop)
    (task,) = [span for span in spans if span.name.startswith("task ")]
    assert task.name.endswith("leaf")
    assert task.attributes["code.file.path"] == __file__


@loops
def test_states(loop: str) -> None:
    left: list[asyncio.Task[Any]] = []

    async def swallowing() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    async def handler() -> None:
        never_begun = asyncio.create_task(leaf(60), name="never begun")
        never_begun.cancel()
        cancelled = asyncio.create_task(leaf(60), name="cancelled")
        swallowed = asyncio.create_task(swallowing(), name="swallowed")
        failed = asyncio.create_task(failing(), name="failed")
        left.append(asyncio.create_task(leaf(60), name="left"))
        await asyncio.sleep(0.001)
        cancelled.cancel()
        swallowed.cancel()
        await asyncio.gather(cancelled, swallowed, failed, never_begun, return_exceptions=True)

    async def main() -> None:
        await serve(handler)
        left[0].cancel()
        await asyncio.gather(*left, return_exceptions=True)

    with observed() as found:
        run(main, loop)
        spans = found.exported()
    states = {
        span.attributes.get("asyncio.task.name"): span.attributes["asyncio.task.state"]
        for span in spans
        if "asyncio.task.state" in span.attributes and "toolbar.detached" not in span.attributes
    }
    assert states == {
        "never begun": "cancelled",
        "cancelled": "cancelled",
        "swallowed": "done",
        "failed": "failed",
        None: "running",
    }
    (failed,) = [s for s in spans if s.attributes.get("asyncio.task.state") == "failed"]
    assert failed.status.status_code.name == "ERROR"
    assert failed.events[0].attributes["exception.message"] == "no such item"
    assert failed.attributes["error.type"] == "ValueError"


@loops
def test_a_task_that_outlives_its_request(loop: str) -> None:
    left: list[asyncio.Task[Any]] = []

    async def later() -> None:
        await asyncio.sleep(0.03)
        with trace.get_tracer("app").start_as_current_span("own"):
            await asyncio.create_task(leaf())

    async def handler() -> None:
        left.append(asyncio.create_task(later(), name="later"))
        await asyncio.sleep(0)

    async def main() -> None:
        await serve(handler)
        await left[0]

    with observed() as found:
        run(main, loop)
        spans = found.exported()
    first, second = (span for span in spans if span.name.endswith("later") and "task" in span.name)
    assert first.attributes["asyncio.task.state"] == "running"
    assert second.attributes["asyncio.task.state"] == "done"
    assert second.attributes["toolbar.detached"] is True
    assert second.parent.span_id == first.context.span_id
    assert second.start_time == first.end_time
    assert one(spans, "own").parent.span_id == first.context.span_id
    assert one(spans, "task leaf").parent.span_id == one(spans, "own").context.span_id
    server = one(spans, "GET")
    assert server.attributes["toolbar.tasks.count"] == 1, "what comes later is not counted"
    assert {span.context.trace_id for span in spans} == {server.context.trace_id}


def test_more_tasks_than_are_kept() -> None:
    async def handler() -> None:
        await asyncio.gather(*(leaf() for _ in range(30)))

    spans = request(handler, Settings(max_tasks=10))
    server = one(spans, "GET")
    assert len(named(spans, "task leaf")) == 10
    assert server.attributes["toolbar.tasks.count"] == 30
    assert server.attributes["toolbar.tasks.dropped"] == 20
    assert server.attributes["toolbar.dropped"] == 20


@loops
def test_times_of_a_task(loop: str) -> None:
    async def works() -> None:
        for _ in range(3):
            time.sleep(0.004)
            await asyncio.sleep(0.006)

    async def handler() -> None:
        await asyncio.create_task(works())

    spans = request(handler, loop=loop)
    (task,) = [span for span in spans if span.name.startswith("task ")]
    facts = task.attributes
    assert facts["asyncio.task.steps"] == 4
    assert facts["asyncio.task.cpu.duration"] >= 0.012
    assert facts["asyncio.task.wait.duration"] >= 0.014
    timeline = facts["asyncio.task.timeline"]
    assert len(timeline) == 7
    assert all(part >= 3900 for part in timeline[:6:2])
    assert all(part >= 4500 for part in timeline[1::2])
    assert sum(timeline) / 1e6 == pytest.approx(
        facts["asyncio.task.cpu.duration"] + facts["asyncio.task.wait.duration"], abs=0.001
    )
    assert sum(timeline) / 1e6 + facts["asyncio.task.started"] == pytest.approx(
        seconds(task), abs=0.002
    )
    server = one(spans, "GET").attributes
    assert server["toolbar.event_loop.running"] >= 0.012
    assert server["toolbar.event_loop.waiting"] >= 0.026
    assert server["toolbar.event_loop.idle"] >= 0.014
    assert server["asyncio.task.timeline"][1] >= 26000, "the handler waited"


@loops
def test_work_in_threads(loop: str) -> None:
    def failing_work() -> None:
        raise LookupError("nothing there")

    def traced() -> None:
        with trace.get_tracer("app").start_as_current_span("in the thread"):
            pass

    async def handler() -> None:
        running = asyncio.get_running_loop()
        await asyncio.to_thread(nap, 0.003)
        await running.run_in_executor(None, functools.partial(nap, delay=0.001))
        await running.run_in_executor(None, traced)
        await asyncio.to_thread(traced)
        await anyio.to_thread.run_sync(traced)
        with pytest.raises(LookupError):
            await running.run_in_executor(None, failing_work)

    spans = request(handler, loop=loop)
    assert [span.attributes["asyncio.executor.state"] for span in named(spans, "thread nap")] == [
        "done",
        "done",
    ]
    threads = {span.context.span_id for span in spans if span.name.endswith("traced")}
    assert len(threads) == 3
    assert {span.parent.span_id for span in named(spans, "in the thread")} == threads
    (failed,) = [span for span in spans if span.name.endswith("failing_work")]
    assert failed.attributes["asyncio.executor.state"] == "failed"
    assert failed.events[0].attributes["exception.message"] == "nothing there"
    assert {s.attributes["code.file.path"] for s in spans if s.name.startswith("thread ")} == {
        __file__
    }
    assert all(
        s.attributes["asyncio.executor.started"] >= 0 and s.attributes["thread.name"]
        for s in spans
        if s.name.startswith("thread ")
    )


@loops
def test_work_cancelled_before_a_thread_took_it(loop: str) -> None:
    go_on = threading.Event()

    async def handler() -> None:
        running = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            first = running.run_in_executor(pool, go_on.wait, 30)
            second = running.run_in_executor(pool, nap)
            second.cancel()
            await asyncio.sleep(0)
            go_on.set()
            assert await first

    (span,) = named(request(handler, loop=loop), "thread nap")
    assert span.attributes["asyncio.executor.state"] == "cancelled"
    assert "asyncio.executor.started" not in span.attributes


def test_a_thread_that_outlives_its_request() -> None:
    go_on = threading.Event()

    async def handler() -> None:
        asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        await asyncio.sleep(0.005)

    async def main() -> None:
        await serve(handler)
        go_on.set()
        await asyncio.sleep(0.01)

    with observed() as found:
        run(main)
        spans = found.exported()
    (span,) = [span for span in spans if span.name.startswith("thread ")]
    assert span.attributes["asyncio.executor.state"] == "running"


@loops
def test_awaits(loop: str) -> None:
    async def fill(queue: asyncio.Queue[int]) -> None:
        await asyncio.sleep(0.015)
        queue.put_nowait(1)

    async def handler() -> None:
        running = asyncio.get_running_loop()
        await asyncio.sleep(0.015)
        lock = asyncio.Lock()
        await lock.acquire()
        running.call_later(0.015, lock.release)
        async with lock:
            pass
        queue: asyncio.Queue[int] = asyncio.Queue()
        filling = asyncio.create_task(fill(queue))
        await queue.get()
        await filling
        await asyncio.create_task(leaf(0.015), name="awaited")
        event = asyncio.Event()
        running.call_later(0.015, event.set)
        await asyncio.wait_for(event.wait(), 1)
        await asyncio.gather(leaf(0.015))
        future = running.create_future()
        running.call_later(0.015, future.set_result, None)
        await future
        await anyio.sleep(0.015)

    spans = request(handler, loop=loop)
    mine = [span for span in spans if span.name == "await handler"]
    targets = [str(span.attributes["asyncio.await.target"]) for span in mine]
    assert targets[:4] == ["asyncio.sleep", "Lock.acquire", "Queue.get", "task leaf"]
    assert targets[4] in ("Event.wait", "asyncio.wait_for")
    assert targets[5:] == ["asyncio.gather", "Future", "asyncio.sleep"] or targets[5:] == [
        "asyncio.gather",
        "Future",
        "anyio.sleep",
    ]
    lines = [span.attributes["code.line.number"] for span in mine]
    assert lines == sorted(set(lines))
    assert all(0.012 < seconds(span) < 1 for span in mine)  # uvloop counts in whole ms
    server = one(spans, "GET").attributes
    sums = dict(
        zip(server["toolbar.await.targets"], server["toolbar.await.durations"], strict=True)
    )
    assert sum(sums.values()) <= server["toolbar.event_loop.waiting"] * 1.01


@loops
def test_awaits_of_functions_that_come_and_go(loop: str) -> None:
    """Where a task stood last is where the next look begins, as long as it still is there."""

    async def helper(forever: bool = False) -> None:
        await asyncio.sleep(0.015)
        await (asyncio.Event().wait() if forever else asyncio.sleep(0.015))

    async def rows() -> AsyncIterator[int]:
        for row in range(2):
            await asyncio.sleep(0.015)
            yield row

    @asynccontextmanager
    async def session() -> AsyncIterator[None]:
        await asyncio.sleep(0.015)
        yield

    async def handler() -> None:
        await helper()
        await asyncio.sleep(0.015)
        await helper()
        async for _ in rows():
            await asyncio.sleep(0.015)
        async with session():
            await asyncio.sleep(0.015)
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(0.045, task.cancel)
        with suppress(asyncio.CancelledError):
            await helper(forever=True)
        await asyncio.sleep(0.015)

    spans = request(handler, loop=loop)
    stood = [span.name for span in spans if span.name.startswith("await ")]
    own, below = "await handler", ["await helper", "await helper"]
    row = ["await rows", own]
    assert stood == [*below, own, *below, *row, *row, "await session", own, *below, own]


def test_what_waits_for_the_loop_only_is_no_await() -> None:
    async def handler() -> None:
        asyncio.get_running_loop().call_soon(time.sleep, 0.02)
        await asyncio.sleep(0)

    spans = request(handler)
    assert not [span for span in spans if span.name.startswith("await")]
    assert one(spans, "GET").attributes["toolbar.event_loop.queued"] >= 0.019


# Figures are put in words when they are read.


@loops
def test_what_is_packed_is_what_is_exported(loop: str) -> None:
    async def telling() -> None:
        trace.get_current_span().set_attribute("app.key", "value")
        trace.get_current_span().update_name("renamed")
        await asyncio.create_task(leaf())

    async def handler() -> None:
        await asyncio.gather(leaf(), failing(), telling(), return_exceptions=True)
        held.append(asyncio.create_task(leaf(60)))
        await asyncio.sleep(0.001)
        record = records.current()
        assert record is not None
        running = packed.pack(record.spans).spans()
        assert {"asyncio.task.coroutine": "leaf"}.items() <= running[-1].attributes.items()
        assert "asyncio.task.state" not in running[-1].attributes, "it goes on"

    held: list[Any] = []
    kept: list[Any] = []

    with observed() as found:
        found.processor._export = lambda spans, _: kept.extend(spans)
        run(lambda: serve(handler), loop)
        exported = {span.context.span_id: span for span in found.exported()}
    tasks = [span for span in kept if isinstance(span, TaskSpan)]
    assert len(tasks) == 5
    told_by_figures = [span.name for span in tasks if span.figures() is not None]
    assert told_by_figures == ["task leaf"] * 3, "what failed and what the app wrote to is not"
    for span, model in zip(tasks, packed.pack(tasks).spans(), strict=True):
        told = exported[span.span_id]
        assert model.name == told.name
        assert model.attributes == dict(told.attributes or {})
        assert (model.start, model.end) == (told.start_time, told.end_time)
        assert model.parent_id == f"{told.parent.span_id:016x}"
        assert model.trace_id == f"{told.context.trace_id:032x}"
        assert model.scope.name == told.instrumentation_scope.name
        assert model.scope.version == told.instrumentation_scope.version
        assert model.resource == dict(told.resource.attributes)
        assert model.kind.value == told.kind.name.lower()
        assert model.status.value == told.status.status_code.name.lower()
    assert list(packed.by_trace(tasks)) == [f"{tasks[0].trace_id:032x}"]


def test_a_task_that_fails_after_its_request(caplog: pytest.LogCaptureFixture) -> None:
    async def late() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("too late")

    async def handler() -> None:
        held.append(asyncio.create_task(late()))
        await asyncio.sleep(0)

    async def main() -> None:
        await serve(handler)
        await asyncio.gather(*held, return_exceptions=True)

    held: list[Any] = []
    with observed() as found:
        run(main)
        spans = found.exported()
    first, second = named(spans, "task test_a_task_that_fails_after_its_request.<locals>.late")
    assert first.attributes["asyncio.task.state"] == "running"
    assert second.attributes["asyncio.task.state"] == "failed"
    assert second.attributes["error.type"] == "ValueError"
    assert [event.name for event in second.events] == ["exception"]
    assert "otel-toolbar:" not in caplog.text


def test_a_task_that_never_began_has_its_parent() -> None:
    async def handler() -> None:
        with trace.get_tracer("app").start_as_current_span("own"):
            asyncio.create_task(leaf(60)).cancel()

    spans = request(handler)
    first, second = named(spans, "task leaf")
    assert first.parent.span_id == one(spans, "own").context.span_id
    assert first.attributes["asyncio.task.state"] == "running"
    assert second.attributes["asyncio.task.state"] == "cancelled"
    assert second.parent.span_id == first.context.span_id


def test_the_current_span_by_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenTelemetry keeps its context otherwise than in a context variable."""

    async def handler() -> None:
        with trace.get_tracer("app").start_as_current_span("own"):
            await asyncio.create_task(parent())

    async def parent() -> None:
        assert isinstance(current.span(), light.LightSpan)
        assert current.span() is trace.get_current_span()
        await asyncio.create_task(leaf())

    for kept in (current._kept, None):
        monkeypatch.setattr(current, "_kept", kept)
        assert current.span() is trace.INVALID_SPAN
        spans = request(handler)
        (above,) = [span for span in spans if span.name.endswith("parent")]
        assert above.parent.span_id == one(spans, "own").context.span_id
        assert one(spans, "task leaf").parent.span_id == above.context.span_id


def test_the_clocks_are_compared_until_nothing_came_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter([0, 50_000_000, 60_000_000, 60_000_100])
    monkeypatch.setattr(steps, "clock", lambda: next(ticks))
    monkeypatch.setattr(steps.time, "time_ns", lambda: 1_000_000_000)
    monkeypatch.setattr(steps, "unix", 0)
    steps.set_unix()
    assert steps.unix == 1_000_000_000 - 60_000_050


# Nothing is kept, nothing changed.


def test_a_task_is_let_go() -> None:
    gone: list[weakref.ref[Any]] = []

    async def handler() -> None:
        task = asyncio.create_task(leaf())
        gone.append(weakref.ref(task))
        await task
        del task
        gone.append(weakref.ref(asyncio.create_task(failing())))
        await asyncio.sleep(0.002)

    async def main() -> None:
        gc.collect()
        gc.disable()
        try:
            steps.here()
            await serve(handler)
            assert [ref() for ref in gone] == [None, None]
        finally:
            gc.enable()

    with observed():
        run(main)


def test_an_exception_that_nobody_retrieves_is_still_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler() -> None:
        gone = asyncio.create_task(failing())
        await asyncio.sleep(0.002)
        del gone

    with caplog.at_level(logging.ERROR, "asyncio"):
        request(handler)
        gc.collect()
    assert any("never retrieved" in record.getMessage() for record in caplog.records)


def test_a_task_factory_keeps_its_say() -> None:
    made: list[Any] = []

    class Special(asyncio.Task):
        pass

    def factory(loop: Any, coro: Any, **kwargs: Any) -> Any:
        made.append(coro)
        return Special(coro, loop=loop, **kwargs)

    async def handler() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        task = asyncio.create_task(leaf())
        assert type(task) is Special
        assert await task == "leaf"
        asyncio.get_running_loop().set_task_factory(None)

    spans = request(handler)
    assert len(made) == 1
    assert one(spans, "task leaf").attributes["asyncio.task.steps"] == 2


if sys.version_info >= (3, 12):

    def test_eager_tasks() -> None:
        async def at_once() -> int:
            time.sleep(0.005)
            return 1

        async def handler() -> None:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            assert await asyncio.create_task(at_once()) == 1
            assert await asyncio.create_task(leaf(0.001)) == "leaf"

        spans = request(handler)
        (eager,) = [span for span in spans if span.name.endswith("at_once")]
        assert eager.attributes["asyncio.task.state"] == "done"
        assert eager.attributes["asyncio.task.steps"] == 1
        assert eager.attributes["asyncio.task.cpu.duration"] >= 0.005
        assert one(spans, "task leaf").attributes["asyncio.task.steps"] == 2
        server = one(spans, "GET").attributes
        assert server["toolbar.event_loop.running"] < seconds(one(spans, "GET"))


def test_what_cannot_be_a_task() -> None:
    async def handler() -> None:
        with pytest.raises(TypeError):
            asyncio.get_running_loop().create_task(42)  # type: ignore[arg-type]

    spans = request(handler)
    assert [span.name for span in spans] == ["GET"]
    assert spans[0].attributes["toolbar.tasks.count"] == 0


def test_a_context_of_the_apps_own() -> None:
    import contextvars

    if sys.version_info < (3, 11):
        pytest.skip("create_task(context=...) is new in Python 3.11")
    context = contextvars.copy_context()

    async def handler() -> None:
        await asyncio.create_task(leaf(), context=context)

    spans = request(handler)
    assert one(spans, "task leaf").attributes["asyncio.task.state"] == "done"
    with observed():
        assert context.run(trace.get_current_span) is trace.INVALID_SPAN


def test_off_is_off() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with observed():
            steps.here()
            assert {"call_soon", "create_task"} <= vars(loop).keys()
            ours = loop.call_soon
        assert not {"call_soon", "create_task"} & vars(loop).keys()
        done = asyncio.Event()
        ours(done.set)
        await done.wait()
        assert steps.here() is None

    run(main)


def test_off_costs_nothing() -> None:
    """Without the signal a request runs on the loop as it was made."""

    async def handler() -> None:
        seen.append(set(vars(asyncio.get_running_loop())) & {"call_soon", "create_task", "close"})
        seen.append(hasattr(asyncio.create_task(leaf()), steps.WORK))
        seen.append(records.current().account)  # type: ignore[union-attr]
        seen.append([each.name for each in threading.enumerate() if each not in before])
        seen.append(steps.here())
        done = asyncio.get_running_loop().create_future()
        handle = asyncio.get_running_loop().call_soon(done.set_result, None)
        seen.append(handle._callback == done.set_result)
        seen.append(type(handle._callback) is type(done.set_result))
        await done

    seen: list[Any] = []
    before = threading.enumerate()
    found = telemetry()
    with made_global(found.provider):
        run(lambda: serve(handler))
    server = one(found.exported(), "GET")
    assert seen == [set(), False, None, [], None, True, True]
    assert "toolbar.tasks.count" not in (server.attributes or {})
    assert not [each for each in gc.callbacks if "otel_toolbar" in getattr(each, "__module__", "")]


def test_what_others_have_put_over_us_stays() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with observed():
            steps.here()
            ours = loop.call_soon
            seen: list[Any] = []

            def theirs(callback: Any, *args: Any, **kwargs: Any) -> Any:
                seen.append(callback)
                return ours(callback, *args, **kwargs)

            loop.call_soon = theirs
        assert loop.call_soon is theirs
        await asyncio.create_task(leaf())
        assert seen

    run(main)


def test_a_loop_is_let_go() -> None:
    async def handler() -> None:
        await asyncio.create_task(leaf())

    with observed():
        loop = asyncio.SelectorEventLoop()
        gone = weakref.ref(loop)
        loop.run_until_complete(serve(handler))
        loop.close()
        del loop
        gc.collect()
        assert gone() is None
        assert steps.watches() == []


@loops
def test_a_closed_loop_needs_no_collector_to_go(loop: str) -> None:
    async def handler() -> None:
        await asyncio.create_task(leaf())
        await asyncio.to_thread(nap)

    with observed():
        made = new_loop(loop)
        gone = weakref.ref(made)
        made.run_until_complete(serve(handler))
        made.run_until_complete(made.shutdown_default_executor())
        gc.collect()
        gc.disable()
        try:
            made.close()
            assert not {"call_soon", "create_task", "close"} & vars(made).keys()
            del made
            assert gone() is None
        finally:
            gc.enable()


@loops
def test_a_running_loop_is_watched_after_a_refused_close(loop: str) -> None:
    async def main() -> None:
        steps.here()
        running = asyncio.get_running_loop()
        with pytest.raises(RuntimeError):
            running.close()
        assert "call_soon" in vars(running)

    with observed():
        run(main, loop)


def test_tasks_in_tasks_as_deep_as_it_goes() -> None:
    async def deeper(left: int) -> None:
        if left:
            await asyncio.create_task(deeper(left - 1))

    async def handler() -> None:
        await asyncio.create_task(deeper(1500))

    spans = request(handler, Settings(max_tasks=2000))
    tasks = [span for span in spans if span.name.startswith("task ")]
    assert len(tasks) == 1501
    known = {span.context.span_id for span in spans}
    assert len(known) == len(spans)
    assert all(span.parent.span_id in known for span in tasks)
    assert len({span.context.trace_id for span in spans}) == 1


def test_memory_is_flat_over_many_tasks() -> None:
    async def handler() -> None:
        await asyncio.gather(*(leaf() for _ in range(100)))

    async def main() -> list[int]:
        sizes: list[int] = []
        for _ in range(4):
            for _ in range(5):
                await serve(handler)
            found.exporter.clear()
            gc.collect()
            sizes.append(len([o for o in gc.get_objects() if type(o) in (steps.Work, TaskSpan)]))
        return sizes

    with observed() as found:
        sizes = run(main)
    assert max(sizes) <= 100, "those of the last request at most"


@loops
def test_a_timeline_of_many_steps(loop: str) -> None:
    async def long() -> None:
        for _ in range(2000):
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)

    async def handler() -> None:
        await asyncio.create_task(long())

    spans = request(handler, loop=loop)
    (task,) = [span for span in spans if span.name.startswith("task ")]
    timeline = task.attributes["asyncio.task.timeline"]
    assert task.attributes["asyncio.task.steps"] == 2002
    assert len(timeline) <= 256
    assert max(timeline[1::2]) >= 19_000, "the longest wait stays"
    assert sum(timeline) / 1e6 <= seconds(task)
