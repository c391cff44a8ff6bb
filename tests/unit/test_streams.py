"""Responses that come in parts: counted and timed while they run, passed on at once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace

from otel_toolbar.signals.server.stream import Stream
from otel_toolbar.store.base import Query
from otel_toolbar.wire import packed
from tests.telemetry import Telemetry, exchange, http_scope, made_global, telemetry, watched

EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    found = telemetry()
    found.store._live = lambda: packed.by_trace(*found.processor.live())
    with made_global(found.provider):
        yield found


def streaming(parts: Sequence[bytes], headers: Any = (), gap: float = 0.0) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(gap)
        await send({"type": "http.response.body", "body": b""})

    return app


def facts(signals: Telemetry) -> Any:
    (span,) = [span for span in signals.exported() if span.kind is trace.SpanKind.SERVER]
    return span.attributes


async def test_parts_and_gaps(signals: Telemetry) -> None:
    await exchange(watched(streaming([b"ab", b"c", b"d"], gap=0.02)), http_scope())
    found = facts(signals)
    assert found["toolbar.response.streamed"] is True
    assert found["toolbar.response.end"] == "complete"
    assert found["toolbar.response.chunks"] == 4
    assert found["http.response.body.size"] == 4
    assert found["toolbar.response.gap.max"] >= found["toolbar.response.gap.mean"] >= 0.015
    assert found["toolbar.response.last_byte"] >= 0.04
    assert "toolbar.response.events" not in found


async def test_a_body_in_one_part_is_no_stream(signals: Telemetry) -> None:
    await exchange(watched(streaming([])), http_scope())
    assert "toolbar.response.end" not in facts(signals)


async def test_events_are_counted_while_the_stream_runs(signals: Telemetry) -> None:
    sent, go = asyncio.Semaphore(0), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        await go.wait()

    async def send(message: Any) -> None:
        sent.release()

    async def receive() -> Any:
        return {"type": "http.request"}

    running = asyncio.ensure_future(watched(app)(http_scope("/events"), receive, send))
    for _ in range(4):
        await sent.acquire()
    (line,) = signals.store.list(Query()).traces
    seen = signals.store.get(line.trace_id)
    assert seen is not None
    assert seen.main is not None
    assert seen.main.running
    assert seen.main.integer("toolbar.response.events") == 3
    assert seen.main.text("toolbar.response.end") == "running"
    assert "toolbar.cpu.time" not in seen.main.attributes, "the time of who looks"
    go.set()
    await running
    assert facts(signals)["toolbar.response.end"] == "unfinished"


@pytest.mark.parametrize(
    ("error", "end"),
    [(OSError("gone"), "disconnect"), (ValueError("own"), "error")],
)
async def test_how_it_ends(error: Exception, end: str, signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await streaming([b"a"])(scope, receive, only_parts(send))
        raise error

    done = await exchange(watched(app), http_scope())
    assert done.error is error
    assert facts(signals)["toolbar.response.end"] == end


def only_parts(send: Any) -> Any:
    async def passed(message: Any) -> None:
        if message["type"] == "http.response.start" or message.get("more_body"):
            await send(message)

    return passed


async def test_the_client_goes(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await streaming([b"a"])(scope, receive, only_parts(send))
        while (await receive())["type"] != "http.disconnect":
            pass

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None: ...

    await watched(app)(http_scope(), receive, send)
    assert facts(signals)["toolbar.response.end"] == "disconnect"
    assert facts(signals)["toolbar.request.disconnected"] is True


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ([b"data: 1\n\ndata: 2\n\n"], 2),
        ([b"data: 1\n", b"\n", b"data: 2\n\n"], 2),
        ([b"data: 1\r\n\r", b"\n"], 1),
        ([b"da", b"ta: 1", b"\n\n"], 1),
        ([b": ping\n\n", b": ping\n\n"], 0),
        ([b"event: x\ndata: 1\n\n"], 1),
        ([b"\n\n\n\n"], 0),
        ([b"data: " + b"x" * 9000, b"y\n", b"\n"], 1),
        ([b"data: unfinished"], 0),
        ([b": data: not one\n\n"], 0),
    ],
)
def test_counting_events(parts: list[bytes], count: int) -> None:
    assert counted(parts) == count


def counted(parts: Sequence[bytes]) -> Any:
    stream = Stream(0, EVENTS)
    for part in parts:
        stream.part({"body": part})
    return stream.facts()["toolbar.response.events"]


@given(st.lists(st.sampled_from(["data: a", "event: b\ndata: c", ": d"]), max_size=6), st.data())
def test_how_the_body_is_cut_does_not_matter(blocks: list[str], data: Any) -> None:
    body = "".join(block + "\n\n" for block in blocks).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    edges = [0, *cuts, len(body)]
    parts = [body[a:b] for a, b in itertools.pairwise(edges)]
    assert counted(parts) == sum(not block.startswith(":") for block in blocks)


async def test_a_fault_costs_a_fact_only(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = await exchange(streaming([b"a", b"b"], EVENTS), http_scope())
    for hook in ("part", "ended", "facts", "_count"):
        with monkeypatch.context() as patched:
            patched.setattr(Stream, hook, None)
            done = await exchange(watched(streaming([b"a", b"b"], EVENTS)), http_scope())
        assert done == bare
