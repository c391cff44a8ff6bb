"""Every hook made to raise: the app runs as ever, and the fault is told once."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import awaiting, callbacks, callsite, current, light
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.tasks import blocking, observer, spans, threads
from otel_toolbar.signals.tasks.account import Account
from otel_toolbar.signals.tasks.lag import Lag
from otel_toolbar.signals.tasks.observer import TaskObserver
from otel_toolbar.signals.tasks.watchdog import Seen
from otel_toolbar.wire import measured

from .watching import LOOPS, observed, run, serve

PLACES: list[tuple[Any, str]] = [
    (TaskObserver, "creating"),
    (TaskObserver, "found"),
    (TaskObserver, "waited"),
    (TaskObserver, "finished"),
    (TaskObserver, "blocked"),
    (TaskObserver, "began"),
    (TaskObserver, "left"),
    (TaskObserver, "close"),
    (TaskObserver, "not_created"),
    (TaskObserver, "shorten"),
    (Account, "summary"),
    (Account, "may_have_span"),
    (Account, "_lag"),
    (Lag, "_add"),
    (Lag, "join"),
    (Seen, "look"),
    (Seen, "refresh"),
    (threads, "_name"),
    (threads.Work, "_make_current"),
    (threads.Work, "_end"),
    (awaiting, "point"),
    (callsite, "caller"),
    (callsite, "stack_of"),
    (spans, "start_task"),
    (spans.TaskSpan, "__init__"),
    (spans.TaskSpan, "finish"),
    (threads.Work, "cancel"),
    (spans, "end_task"),
    (spans, "put_await"),
    (spans, "put_blocking"),
    (spans, "put_error"),
    (blocking, "judged"),
    (light, "start"),
    (observer, "_outcome"),
    (callbacks.Callback, "__init__"),
    (callbacks, "_is_of_the_app"),
    (current, "put"),
    (current, "span"),
    (measured, "attributes"),
]


async def program() -> list[Any]:
    """A bit of everything; what it returns is what the app sees."""
    seen: list[Any] = []
    loop = asyncio.get_running_loop()

    async def child(number: int) -> int:
        await asyncio.sleep(0.002)
        if number == 2:
            raise ValueError("two")
        return number

    async def long() -> None:
        for _ in range(400):
            await asyncio.sleep(0)

    seen.append(
        [repr(r) for r in await asyncio.gather(*map(child, range(3)), return_exceptions=True)]
    )
    await asyncio.create_task(long())
    seen.append(await asyncio.to_thread(sum, [1, 2]))
    seen.append(await loop.run_in_executor(None, sum, [3]))
    loop.call_soon(seen.append, "callback")
    direct: asyncio.Task[int] = asyncio.Task(child(1), loop=loop)
    seen.append(await direct)
    time.sleep(0.012)
    cancelled = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0.015)
    cancelled.cancel()
    seen.append([type(r).__name__ for r in await asyncio.gather(cancelled, return_exceptions=True)])
    try:
        await loop.create_task(42)  # type: ignore[arg-type]
    except TypeError as error:
        seen.append(str(error))
    return seen


@pytest.mark.replaces
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0].__name__}.{place[1]}")
def test_a_hook_that_raises(
    place: tuple[Any, str],
    loop: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> tuple[list[Any], Any]:
        seen: list[Any] = []

        async def handler() -> None:
            seen.extend(await program())

        done = await serve(handler)
        await asyncio.sleep(0.01)
        return seen, (done.messages, repr(done.error))

    expected = run(main, loop)

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a fault of ours")

    owner, name = place
    monkeypatch.setattr(owner, name, fails)
    monkeypatch.setattr("otel_toolbar.wire.measured.MAX_PARTS", 16)
    with caplog.at_level(logging.WARNING), observed(Settings(blocking_threshold=5)):
        assert run(main, loop) == expected
    told = [record.getMessage() for record in caplog.records if "failed;" in record.getMessage()]
    assert len(told) == len(set(told)), "once each"
    others = [record.getMessage() for record in caplog.records if record.name != "otel_toolbar"]
    assert not [line for line in others if "sleep" not in line and "took" not in line]


@pytest.mark.replaces
def test_a_request_after_a_fault_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler() -> None:
        await asyncio.create_task(asyncio.sleep(0))

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(TaskObserver, "began", None)
            await serve(handler)
        await serve(handler)

    with observed() as found:
        run(main)
        servers = [span for span in found.exported() if span.name == "GET"]
    assert [span.attributes.get("toolbar.tasks.count") for span in servers] == [None, 1]
    assert records.current() is None
