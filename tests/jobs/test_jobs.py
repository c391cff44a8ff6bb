"""What is told of jobs, against the real SAQ on a real Redis and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from inline_snapshot import snapshot
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from saq import CronJob, Job, Status, Worker
from saq.queue import Queue
from saq.worker import Worker as SaqWorker

from otel_toolbar.insights.job_state import Refused
from otel_toolbar.settings import Settings
from otel_toolbar.signals import jobs
from otel_toolbar.signals.core import masking
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.jobs import carrier, hooks, running, sending, state
from tests.telemetry import Telemetry

from .conftest import Request

logging.getLogger("saq").setLevel(logging.CRITICAL)


async def add(ctx: Any, *, a: int, b: int) -> int:
    seen.append(dict(ctx["job"].meta))
    return a + b


async def fails(ctx: Any) -> None:
    raise ValueError("password=hunter2")


async def sleeps(ctx: Any, *, seconds: float = 30) -> None:
    await asyncio.sleep(seconds)


async def sends(ctx: Any) -> None:
    for number in range(3):
        await ctx["worker"].queue.enqueue("add", a=number, b=1)


def blocks(ctx: Any) -> str:
    return threading.current_thread().name


OLD = not hasattr(Queue, "copy")
"""SAQ 0.24."""

seen: list[dict[str, Any]] = []
FUNCTIONS = [add, fails, sleeps, sends, blocks]


def a_worker(queue: Any, **more: Any) -> Any:
    seen.clear()
    return Worker(queue, functions=FUNCTIONS, dequeue_timeout=0.3, **more)


async def run_once(queue: Any, **more: Any) -> None:
    """One pass of a worker, without what it does beside."""
    worker = a_worker(queue, **more)
    if type(queue).__name__ == "PostgresQueue":
        await asyncio.wait_for(worker.process(), 10)
    else:
        await worker.process()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def named(told: Telemetry, name: str) -> list[ReadableSpan]:
    found = [span for span in told.exported() if span.name == name]
    return sorted(found, key=lambda span: span.start_time or 0)


def only(told: Telemetry, name: str) -> ReadableSpan:
    (span,) = named(told, name)
    return span


def server(told: Telemetry) -> dict[str, Any]:
    return attributes(next(span for span in told.exported() if span.kind is SpanKind.SERVER))


async def test_a_job_from_its_sending_to_its_run(
    each_queue: Any, told: Telemetry, request_: Request
) -> None:
    with request_():
        job = await each_queue.enqueue("add", a=1, b=2, key="one", retries=3, timeout=5, ttl=60)
    await run_once(each_queue)
    told.processor.force_flush()
    spans = told.snapshot()
    for span in spans:
        for key in ("saq.job.id", "messaging.message.id"):
            if key in span["attributes"]:
                assert span["attributes"].pop(key) == job.id
        if "saq.job.waited" in span["attributes"]:
            assert 0 <= span["attributes"].pop("saq.job.waited") < 10
    assert spans == snapshot(
        [
            {
                "name": "GET /",
                "kind": "SERVER",
                "parent": None,
                "attributes": {
                    "toolbar.jobs.count": 1,
                    "toolbar.jobs.n_plus_one.count": 0,
                    "toolbar.n_plus_one.count": 0,
                    "toolbar.queries.count": 0,
                    "toolbar.queries.duration": "...",
                },
            },
            {
                "name": "send add",
                "kind": "PRODUCER",
                "parent": "GET /",
                "attributes": {
                    "code.file.path": "/tests/jobs/test_jobs.py",
                    "code.function.name": "tests.jobs.test_jobs.test_a_job_from_its_sending_to_its_run",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "messaging.destination.name": "default",
                    "messaging.operation.name": "send",
                    "messaging.operation.type": "send",
                    "messaging.system": "saq",
                    "saq.job.attempts": 0,
                    "saq.job.function": "add",
                    "saq.job.key": "one",
                    "saq.job.kwargs": "{'a': 1, 'b': 2}",
                    "saq.job.operation": "enqueue",
                    "saq.job.retries": 3,
                    "saq.job.status": "queued",
                    "saq.job.timeout": 5,
                    "saq.job.ttl": 60,
                },
            },
            {
                "name": "process add",
                "kind": "CONSUMER",
                "parent": None,
                "attributes": {
                    "messaging.destination.name": "default",
                    "messaging.operation.name": "process",
                    "messaging.operation.type": "process",
                    "messaging.system": "saq",
                    "saq.job.attempts": 1,
                    "saq.job.function": "add",
                    "saq.job.key": "one",
                    "saq.job.kwargs": "{'a': 1, 'b': 2}",
                    "saq.job.result": "3",
                    "saq.job.retries": 3,
                    "saq.job.status": "complete",
                    "saq.job.timeout": 5,
                    "saq.job.ttl": 60,
                    "toolbar.jobs.count": 0,
                    "toolbar.jobs.n_plus_one.count": 0,
                    "toolbar.n_plus_one.count": 0,
                    "toolbar.queries.count": 0,
                    "toolbar.queries.duration": "...",
                },
            },
        ]
    )
    sent, ran = only(told, "send add"), only(told, "process add")
    assert [link.context.span_id for link in ran.links] == [sent.context.span_id]
    assert ran.context.trace_id != sent.context.trace_id


async def test_the_apps_meta_is_as_it_was(each_queue: Any, request_: Request) -> None:
    mine = {"mine": 1}
    with request_():
        job = await each_queue.enqueue("add", a=1, b=2, meta=mine)
    assert job.meta is mine
    assert mine == {"mine": 1}
    read = await each_queue.job(job.key)
    assert read.meta == {"mine": 1}
    assert carrier.KEY not in read.to_dict()["meta"]
    await run_once(each_queue)
    assert seen == [{"mine": 1}]


async def test_the_context_is_stored_with_the_job_until_its_last_attempt(
    queue: Any, told: Telemetry, request_: Request
) -> None:
    with request_():
        job = await queue.enqueue("fails", retries=2)
    sent = only(told, "send fails").context
    for _ in range(2):
        stored = json.loads(await queue.redis.get(job.id))
        assert f"{sent.span_id:016x}" in stored["meta"][carrier.KEY]["traceparent"]
        await run_once(queue)
    runs = named(told, "process fails")
    assert [span.links[0].context.span_id for span in runs] == [sent.span_id] * 2
    assert [attributes(span)["saq.job.status"] for span in runs] == ["queued", "failed"]
    assert [attributes(span)["saq.job.attempts"] for span in runs] == [1, 2]


async def test_an_update_by_the_app_keeps_the_context(queue: Any, request_: Request) -> None:
    with request_():
        job = await queue.enqueue("add", a=1, b=2, scheduled=int(time.time()) + 100)
    await (await queue.job(job.key)).update(progress=0.5)
    stored = json.loads(await queue.redis.get(job.id))
    assert stored["progress"] == 0.5
    assert carrier.KEY in stored["meta"]


async def test_arguments_are_masked_and_cut(queue: Any, told: Telemetry, request_: Request) -> None:
    with request_():
        await queue.enqueue("add", a={"password": "hunter2"}, api_key="abc", b="x" * 500)
    shown = attributes(only(told, "send add"))["saq.job.kwargs"]
    assert "hunter2" not in shown
    assert "abc" not in shown
    assert len(shown) == 100
    assert masking.clean({"a": 1}) == "{'a': 1}"


async def test_a_refused_job_is_shown_as_such(
    each_queue: Any, told: Telemetry, request_: Request
) -> None:
    due = int(time.time()) + 1000
    with request_():
        assert await each_queue.enqueue("add", key="same", a=1, b=1, scheduled=due) is not None
        assert await each_queue.enqueue("add", key="same", a=1, b=1, scheduled=due) is None
    first, second = map(attributes, named(told, "send add"))
    assert "saq.job.refused" not in first
    assert first["saq.job.scheduled"] == due
    assert second["saq.job.refused"] is True
    assert second["saq.job.key"] == "same"
    assert server(told)["toolbar.jobs.count"] == 1


async def test_an_error_is_the_apps_and_on_the_span(
    queue: Any, told: Telemetry, request_: Request
) -> None:
    async def refuse(job: Job) -> None:
        raise PermissionError("no more jobs")

    queue.register_before_enqueue(refuse)
    with request_(), pytest.raises(PermissionError, match="no more jobs"):
        await queue.enqueue("add", a=1, b=1)
    span = only(told, "send add")
    assert attributes(span)["error.type"] == "PermissionError"
    assert span.status.status_code.name == "ERROR"
    assert [event.name for event in span.events] == ["exception"]
    assert sending.current() is None


async def test_what_cannot_be_serialized_is_shown_with_its_arguments(
    queue: Any, told: Telemetry, request_: Request
) -> None:
    with request_(), pytest.raises(TypeError):
        await queue.enqueue("add", a=object(), b=1)
    found = attributes(only(told, "send add"))
    assert found["error.type"] == "TypeError"
    assert found["saq.job.kwargs"] == "{'a': <object>, 'b': 1}"


@pytest.mark.parametrize("many", [2, 3, 5])
async def test_n_plus_one(queue: Any, told: Telemetry, request_: Request, many: int) -> None:
    with request_():
        for number in range(many):
            await queue.enqueue("add", a=number, b=1)
    flags = [attributes(span) for span in named(told, "send add")]
    assert [each.get("toolbar.n_plus_one.position") for each in flags] == [
        None,
        *range(2, many + 1),
    ]
    assert [each.get("toolbar.n_plus_one.rule") for each in flags] == [
        None,
        *(["repeat"] if many > 1 else []),
        *(["count"] * (many - 2)),
    ]
    assert len({each["toolbar.n_plus_one.group"] for each in flags[1:]}) == 1
    assert server(told)["toolbar.jobs.n_plus_one.count"] == (many >= 3)
    assert server(told)["toolbar.n_plus_one.count"] == 0


async def test_gathered_jobs_are_an_n_plus_one_too(
    queue: Any, told: Telemetry, request_: Request
) -> None:
    with request_():
        await asyncio.gather(*(queue.enqueue("add", a=number, b=1) for number in range(4)))
    assert server(told)["toolbar.jobs.n_plus_one.count"] == 1


async def test_what_is_no_n_plus_one(queue: Any, told: Telemetry, request_: Request) -> None:
    with request_():
        await queue.enqueue("add", a=1, b=1)
        await queue.enqueue("add", a=2, b=1)
        await queue.enqueue("add", a=3, b=1)
        for function in ("add", "fails", "sleeps"):
            await queue.enqueue(function)
    assert server(told)["toolbar.jobs.n_plus_one.count"] == 0
    assert server(told)["toolbar.jobs.count"] == 6


async def test_map_and_apply(each_queue: Any, told: Telemetry, request_: Request) -> None:
    worker = a_worker(each_queue, concurrency=2)
    worker.SIGNALS = []
    running_ = asyncio.create_task(worker.start())
    # SAQ's first sweep aborts what has just been taken and is not yet marked as running.
    await asyncio.sleep(0.3)
    pairs = [{"a": number, "b": 1} for number in range(4)]
    with request_():
        assert await each_queue.map("add", pairs, timeout=20) == [1, 2, 3, 4]
        assert await each_queue.apply("add", a=1, b=1, timeout=20) == 2
    await worker.stop()
    with suppress(asyncio.CancelledError):
        await running_
    sent = [attributes(span)["saq.job.operation"] for span in named(told, "send add")]
    assert sent == ["map"] * 4 + ["apply"]
    assert server(told)["toolbar.jobs.n_plus_one.count"] == 0
    assert sending.operation.get() == "enqueue"


async def test_a_batch(queue: Any, told: Telemetry, request_: Request) -> None:
    with request_():
        async with queue.batch():
            await queue.enqueue("add", a=1, b=1)
        await queue.enqueue("add", a=1, b=1)
    assert [attributes(each).get("saq.job.batch") for each in named(told, "send add")] == [
        True,
        None,
    ]


async def test_a_cron_job_is_told_once_however_often_the_worker_asks(
    queue: Any, told: Telemetry
) -> None:
    worker = a_worker(queue, cron_jobs=[CronJob(add, cron="0 3 * * *", kwargs={"a": 1, "b": 2})])
    for _ in range(3):
        await worker.schedule()
    span = only(told, "send add")
    found = attributes(span)
    assert span.parent is None
    assert (found["saq.job.operation"], found["saq.job.key"]) == ("cron", "cron:add")
    assert found["saq.job.scheduled"] > time.time()
    assert told.processor.live() == ([], [])


async def test_a_cron_job_that_the_queue_does_not_take_for_an_error(
    queue: Any, told: Telemetry
) -> None:
    worker = a_worker(queue, cron_jobs=[CronJob(add, cron="0 3 * * *", kwargs={"a": object()})])
    with pytest.raises(TypeError):
        await worker.schedule()
    assert told.exported() == []


async def test_a_run_that_fails_for_good(queue: Any, told: Telemetry) -> None:
    await queue.enqueue("fails")
    await run_once(queue)
    span = only(told, "process fails")
    assert attributes(span)["saq.job.status"] == "failed"
    assert attributes(span)["error.type"] == "ValueError"
    (event,) = span.events
    assert "hunter2" not in str(dict(event.attributes or {}))


async def test_a_run_that_takes_too_long(queue: Any, told: Telemetry) -> None:
    await queue.enqueue("sleeps", timeout=1)
    await run_once(queue)
    found = attributes(only(told, "process sleeps"))
    assert found["saq.job.status"] == "failed"
    assert found["error.type"].endswith("TimeoutError")


async def test_a_run_that_is_aborted(queue: Any, told: Telemetry) -> None:
    job = await queue.enqueue("sleeps")
    worker = a_worker(queue)
    process = asyncio.create_task(worker.process())
    while not worker.job_task_contexts:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)
    await job.abort("no longer wanted")
    await worker.abort(0)
    await process
    found = attributes(only(told, "process sleeps"))
    assert found["saq.job.status"] == "aborted"
    assert found["saq.job.error"] == "no longer wanted"
    assert "error.type" not in found


async def test_a_worker_that_stops_hands_the_job_back(queue: Any, told: Telemetry) -> None:
    await queue.enqueue("sleeps")
    worker = a_worker(queue)
    process = asyncio.create_task(worker.process())
    while not worker.job_task_contexts:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)
    process.cancel()
    with suppress(asyncio.CancelledError):
        await process
    found = attributes(only(told, "process sleeps"))
    assert found["saq.job.status"] == "queued"
    assert found["saq.job.error"] == "cancelled"


async def test_a_run_in_a_request_is_a_trace_of_its_own(
    queue: Any, told: Telemetry, request_: Request
) -> None:
    with request_() as record:
        await queue.enqueue("sends")
        await run_once(queue)
        assert records.current() is record
        assert trace.get_current_span().get_span_context().span_id == record.root.span_id
        await queue.enqueue("blocks")
        await run_once(queue)
    run = only(told, "process sends")
    assert run.parent is None
    within = named(told, "send add")
    assert {span.context.trace_id for span in within} == {run.context.trace_id}
    assert attributes(run)["toolbar.jobs.count"] == 3
    assert attributes(run)["toolbar.jobs.n_plus_one.count"] == 1
    assert server(told)["toolbar.jobs.count"] == 2


async def test_a_pass_without_a_job_leaves_nothing(queue: Any, told: Telemetry) -> None:
    await run_once(queue)
    assert told.exported() == []
    assert running.current() is None


async def test_what_is_not_to_be_seen_is_not(queue: Any, told: Telemetry) -> None:
    token = records.enter(records.EXCLUDED)
    job = await queue.enqueue("add", a=1, b=1)
    records.leave(token)
    with suppress_instrumentation():
        await queue.enqueue("add", a=1, b=1)
    assert told.exported() == []
    assert b"traceparent" not in await queue.redis.get(job.id)


async def test_a_worker_without_the_toolbar_runs_the_job(
    queue: Any, told: Telemetry, request_: Request
) -> None:
    with request_():
        job = await queue.enqueue("add", a=1, b=1)
    jobs.uninstall()
    await run_once(queue)
    assert (await queue.job(job.key)).status == Status.COMPLETE
    assert list(seen[0]) == [carrier.KEY]
    assert named(told, "process add") == []


def test_uninstalled_saq_is_as_it_was() -> None:
    replaced = {(owner, name): getattr(owner, name) for owner, name, _ in hooks._wrapped}
    assert {owner for owner, _ in replaced} >= {Queue, Job, SaqWorker}
    jobs.uninstall()
    for (owner, name), ours in replaced.items():
        assert getattr(owner, name) is not ours
        assert not hasattr(getattr(owner, name), "__wrapped__")
    jobs.install(Settings())
    jobs.install(Settings())
    assert {(owner, name) for owner, name, _ in hooks._wrapped} == set(replaced)
    assert len(hooks._wrapped) == len(replaced)


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a fault of ours")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (sending.Send, "__init__"),
        (sending.Send, "takes"),
        (sending.Send, "_finish"),
        (sending, "_put_place"),
        (sending.callsite, "stack"),
        (sending.facts, "of_job"),
        (sending.carrier, "put"),
        (carrier, "stored"),
        (carrier, "read"),
        *([] if OLD else [(carrier, "hand_on")]),
        (running.Run, "__init__"),
        (running.Run, "_begin"),
        (running.Run, "_describe"),
        (running.facts, "shown"),
        (running, "_waited"),
        (state, "remember"),
        (running.records, "leave"),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
async def test_a_fault_of_ours_costs_a_fact_and_nothing_else(
    queue: Any,
    request_: Request,
    owner: Any,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with request_():
        monkeypatch.setattr(owner, name, broken)
        job = await queue.enqueue("add", a=1, b=2, meta={"mine": 1})
        await queue.enqueue("fails")
        with pytest.raises(TypeError):
            await queue.enqueue("add", a=object())
        await run_once(queue)
        await run_once(queue)
        monkeypatch.undo()
    result = json.loads(await queue.redis.get(job.id))
    assert (result["status"], result["result"]) == ("complete", 3)
    assert seen == [] or seen[0]["mine"] == 1
    assert sum("otel-toolbar" in each for each in caplog.messages) >= 1


async def test_the_state_on_demand(each_queue: Any, told: Telemetry) -> None:
    due = int(time.time()) + 1000
    job = await each_queue.enqueue("add", a=1, b=2)
    later = await each_queue.enqueue("add", a=1, b=2, scheduled=due)
    found = await jobs.refresh(job.id)
    assert (found.status, found.attempts, found.started) == ("queued", 0, None)
    assert (await jobs.refresh(later.id)).scheduled == due
    await run_once(each_queue)
    found = await jobs.refresh(job.id)
    assert (found.status, found.result, found.attempts) == ("complete", "3", 1)
    assert found.queued <= found.started <= found.completed
    assert [span.name for span in told.exported()] == ["send add", "send add", "process add"]


async def test_the_state_of_what_failed_is_masked(queue: Any) -> None:
    job = await queue.enqueue("fails")
    await run_once(queue)
    assert (await jobs.refresh(job.id)).error == "ValueError: password=***"


async def test_who_does_not_know_a_job_says_so(
    queue: Any, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await queue.enqueue("add", a=1, b=2)
    assert await refusal("unknown") == "not_here"
    redis.flush()
    assert await refusal(job.id) == "gone"
    monkeypatch.setattr(state, "SECONDS", 0.01)
    monkeypatch.setattr(queue, "job", sleeps)
    assert await refusal(job.id) == "timeout"
    monkeypatch.setattr(queue, "job", broken)
    assert await refusal(job.id) == "failed"


async def refusal(job: str) -> str:
    with pytest.raises(Refused) as refused:
        await jobs.refresh(job)
    return refused.value.code


async def test_a_job_of_another_loop_is_asked_for_there(queue: Any) -> None:
    job = await queue.enqueue("add", a=1, b=2)
    found = await asyncio.to_thread(lambda: asyncio.run(jobs.refresh(job.id)))
    assert found.status == "queued"


def test_a_job_of_a_loop_that_has_ended(redis: Any) -> None:
    kept: list[Any] = []

    async def send() -> str:
        queue = Queue.from_url(redis.url())
        await queue.connect()
        kept.append(queue)
        job = await queue.enqueue("add", a=1, b=2)
        await queue.disconnect()
        return job.id

    job = asyncio.run(send())
    assert asyncio.run(refusal(job)) == "loop_gone"


async def test_only_so_many_jobs_are_known(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_JOBS", 2)
    sent = [await queue.enqueue("add", a=number, b=2) for number in range(3)]
    assert await refusal(sent[0].id) == "not_here"
    assert (await jobs.refresh(sent[2].id)).status == "queued"


async def test_the_time_in_the_responses_header(queue: Any, request_: Request) -> None:
    with request_() as record:
        assert record.server_timing() == []
        await queue.enqueue("add", a=1, b=1)
        await queue.enqueue("add", a=1, b=1)
        (told,) = record.server_timing()
    assert told.startswith("saq;dur=")
    assert told.endswith(';desc="2 jobs"')
    assert record.server_timing() == []


async def test_what_the_worker_flushes(queue: Any) -> None:
    flushed: list[bool] = []

    async def flush() -> None:
        flushed.append(True)
        raise RuntimeError("a fault of ours")

    jobs.install(Settings(), flush)
    worker = a_worker(queue, burst=True)
    worker.SIGNALS = []
    await worker.start()
    assert flushed == [True]


async def test_litestar_saqs_spans_are_not_doubled(
    queue: Any, told: Telemetry, request_: Request
) -> None:
    if OLD:
        return  # litestar-saq needs a newer one
    from litestar_saq import base as litestar_saq
    from litestar_saq.instrumentation import InstrumentedQueue, create_process_span

    tracer = told.provider.get_tracer("litestar_saq")
    with request_():
        job = await InstrumentedQueue(queue, tracer).enqueue("add", a=1, b=2)
    sent = [span for span in told.exported() if span.kind is SpanKind.PRODUCER]
    assert [span.name for span in sent] == ["default publish"]
    assert attributes(sent[0])["saq.job.kwargs"] == "{'a': 1, 'b': 2}"
    assert attributes(sent[0])["messaging.message.id"] == job.id
    assert server(told)["toolbar.jobs.count"] == 1

    worker = litestar_saq.Worker(
        queue, [add], enable_otel=True, otel_tracer=tracer, dequeue_timeout=0.3
    )
    seen.clear()
    await worker.process()
    (run,) = [span for span in told.exported() if span.kind is SpanKind.CONSUMER]
    assert run.name == "process add"
    assert run.links[0].context.span_id == sent[0].context.span_id
    # Outside of what we see it makes its own.
    span = create_process_span({"job": job, "worker": worker}, tracer, "default")
    assert span is not None
    span.end()
