"""One suite over every store: at the moment the memory store."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from otel_toolbar.model import Kind, Span
from otel_toolbar.settings import Settings
from otel_toolbar.store.base import Query, Spans
from otel_toolbar.store.memory import MemoryStore

S = 1_000_000_000
A = "a" * 32


def server_span(number: int, name: str = "GET /x", **more: Any) -> Span:
    return Span(
        trace_id=f"{number:032x}",
        span_id=more.pop("span_id", f"{number:016x}"),
        parent_id=None,
        name=name,
        kind=Kind.SERVER,
        start=number * S,
        end=more.pop("end", number * S + 1000),
        attributes={"http.request.method": "GET", "http.response.status_code": 200}
        | more.pop("attributes", {}),
        resource={"service.name": more.pop("service", "shop")},
        **more,
    )


def inner_span(number: int, **more: Any) -> Span:
    return replace(server_span(number, **more), kind=Kind.INTERNAL)


def memory(live: Any = dict, **options: Any) -> MemoryStore:
    return MemoryStore(Settings(**options), live)


def put(store: MemoryStore, *spans: Span) -> None:
    for span in spans:
        store.add(span.trace_id, Spans((span,)))


def ids(store: MemoryStore, **query: Any) -> list[int]:
    return [int(found.trace_id, 16) for found in store.list(Query(**query)).traces]


def test_a_trace_is_kept_and_found() -> None:
    store = memory()
    put(store, server_span(1))
    trace = store.get(f"{1:032x}")
    assert trace is not None
    assert trace.spans == (server_span(1),)
    assert store.get("f" * 32) is None


def test_spans_of_a_trace_may_come_in_parts() -> None:
    store = memory()
    put(store, server_span(1), server_span(1, span_id="b" * 16))
    assert ids(store) == [1]
    put(store, server_span(1, span_id="c" * 16))
    trace = store.get(f"{1:032x}")
    assert trace is not None
    assert len(trace.spans) == 3
    assert store.list(Query()).traces[0].counts.spans == 3


def test_newest_first_and_page_by_page() -> None:
    store = memory()
    put(store, *(server_span(n) for n in range(1, 8)))
    first = store.list(Query(limit=3))
    second = store.list(Query(limit=3, after=first.next))
    third = store.list(Query(limit=3, after=second.next))
    found = [[int(each.trace_id, 16) for each in page.traces] for page in (first, second, third)]
    assert found == [[7, 6, 5], [4, 3, 2], [1]]
    assert third.next is None


def test_filters() -> None:
    store = memory()
    put(
        store,
        server_span(1, "GET /orders"),
        server_span(2, "POST /pay", attributes={"http.response.status_code": 503}),
        server_span(3, "GET /items", service="other"),
    )
    assert ids(store, q="ORDERS") == [1]
    assert ids(store, q=f"{2:032x}"[-8:]) == [2]
    assert ids(store, service="other") == [3]
    assert ids(store, status="503") == [2]
    assert ids(store, status="5xx") == [2]
    assert ids(store, status="error") == [2]
    assert ids(store, status="ok") == [3, 1]
    assert ids(store, kind="job") == []
    assert ids(store, kind="http", limit=1) == [3]


def test_the_oldest_goes_first_when_there_are_too_many() -> None:
    store = memory(store_max_traces=2)
    put(store, *(server_span(n) for n in (1, 2, 3)))
    assert ids(store) == [3, 2]
    assert store.health().evicted_traces == 1


def test_the_oldest_goes_first_when_they_are_too_big() -> None:
    size = Spans((server_span(1),)).size
    store = memory(store_max_bytes=size * 5 // 2)
    put(store, *(server_span(n) for n in (1, 2, 3)))
    assert ids(store) == [3, 2]
    assert store.health().bytes == 2 * size


def test_one_trace_that_is_too_big_alone_is_kept_while_it_is_the_newest() -> None:
    store = memory(store_max_bytes=10)
    put(store, server_span(1))
    assert ids(store) == [1]
    put(store, server_span(2))
    assert ids(store) == [2]


def test_traces_of_no_request_do_not_push_out_requests() -> None:
    store = memory(store_max_traces=8)
    put(store, server_span(1), server_span(2))
    put(store, *(replace(server_span(n), kind=Kind.CLIENT) for n in range(3, 100)))
    assert ids(store) == [99, 98, 97, 96, 95, 94, 2, 1]
    put(store, *(server_span(n) for n in range(100, 105)))
    assert ids(store) == [104, 103, 102, 101, 100, 99, 98, 2]


def test_old_ones_go_by_age() -> None:
    store = memory(store_max_age=20)
    put(store, server_span(1))
    time.sleep(0.05)
    put(store, server_span(2))
    assert ids(store) == [2]


def test_closed_websocket_connections_go_by_their_own_age() -> None:
    store = memory(websocket_ttl=20)
    put(store, server_span(1, attributes={"websocket.state": "closed"}))
    put(store, server_span(2))
    put(store, server_span(3, attributes={"websocket.state": "closed"}))
    store.pin(f"{3:032x}", True)
    time.sleep(0.05)
    assert sorted(ids(store)) == [1, 2, 3], "nothing has come since"
    put(store, server_span(4))
    assert sorted(ids(store)) == [2, 3, 4], "a pinned one stays"


def test_spans_beyond_the_bound_of_a_trace_are_counted() -> None:
    store = memory(max_spans=2)
    spans = [inner_span(1, span_id=f"{n:016x}") for n in range(1, 6)]
    store.add(f"{1:032x}", Spans(tuple(spans)))
    put(store, inner_span(1, span_id="e" * 16))
    put(store, server_span(1, span_id="f" * 16))  # it ends last and tells what the trace is
    trace = store.get(f"{1:032x}")
    assert trace is not None
    assert [span.span_id[-1] for span in trace.spans] == ["1", "2", "f"]
    assert (trace.dropped, store.health().dropped_spans) == (4, 4)


def test_a_trace_takes_no_more_spans_when_it_fills_the_store_alone() -> None:
    size = Spans((inner_span(1),)).size
    store = memory(store_max_bytes=size * 5 // 2)
    put(store, *(inner_span(1, span_id=f"{n:016x}") for n in range(1, 6)))
    put(store, server_span(1, span_id="f" * 16))
    assert store.health().bytes == 3 * size
    trace = store.get(f"{1:032x}")
    assert trace is not None
    assert trace.main is not None
    assert (trace.main.kind, len(trace.spans), trace.dropped) == (Kind.SERVER, 3, 3)


def test_even_request_spans_are_bounded_in_a_full_trace() -> None:
    store = memory(max_spans=2)
    put(store, *(server_span(1, span_id=f"{n:016x}") for n in range(1, 500)))
    trace = store.get(f"{1:032x}")
    assert trace is not None
    assert (len(trace.spans), trace.dropped) == (102, 397)


def test_spans_that_cannot_be_read_cost_only_themselves() -> None:
    class Broken(Spans):
        def spans(self) -> list[Span]:
            raise RecursionError

    store = memory()
    store.add(f"{1:032x}", Broken((inner_span(1),)))
    put(store, server_span(1))
    for _ in range(2):
        trace = store.get(f"{1:032x}")
        assert trace is not None
        assert (len(trace.spans), trace.dropped) == (1, 1)


def test_a_summary_that_was_overtaken_is_not_kept() -> None:
    store = memory()
    put(store, server_span(1))
    kept = store._trace

    def overtaken(trace_id: str, live: Any, keep: bool = False) -> Any:
        trace = kept(trace_id, live, keep)
        put(store, inner_span(1, span_id="e" * 16))
        kept(trace_id, live)  # another reader, who converts what came
        return trace

    store._trace = overtaken
    assert store.list(Query()).traces[0].counts.spans == 1
    store._trace = kept
    assert store.list(Query()).traces[0].counts.spans == 2


@pytest.mark.parametrize("after", ["9" * 5000, "-1", "x", "\u0661"])
def test_an_odd_place_in_the_list_is_no_error(after: str) -> None:
    store = memory()
    put(store, server_span(1), server_span(2))
    assert len(store.list(Query(after=after)).traces) in (0, 2)


def test_pinned_traces_outlive_eviction_and_clear() -> None:
    store = memory(store_max_traces=2)
    put(store, server_span(1))
    assert store.pin(f"{1:032x}", True)
    put(store, *(server_span(n) for n in (2, 3, 4)))
    assert ids(store) == [4, 1]
    store.clear()
    assert ids(store) == [1]
    assert store.pin(f"{1:032x}", False)
    store.clear()
    assert ids(store) == []
    assert not store.pin(f"{1:032x}", True)
    assert store.health().bytes == 0


def test_the_newest_is_kept_even_when_pinned_ones_fill_the_store() -> None:
    store = memory(store_max_traces=1)
    put(store, server_span(1))
    store.pin(f"{1:032x}", True)
    put(store, server_span(2))
    assert ids(store) == [2, 1]
    put(store, server_span(3))
    assert ids(store) == [3, 1]


def test_running_spans_are_seen_before_they_end() -> None:
    running = {f"{9:032x}": Spans((server_span(9, end=None),))}
    store = memory(live=lambda: running)
    put(store, server_span(1))
    summaries = store.list(Query()).traces
    assert [(int(each.trace_id, 16), each.duration) for each in summaries] == [
        (9, None),
        (1, pytest.approx(1e-6)),
    ]
    trace = store.get(f"{9:032x}")
    assert trace is not None
    assert trace.running
    put(store, server_span(9))
    running.clear()
    assert store.list(Query()).traces[0].duration == pytest.approx(1e-6)


def test_writers_and_readers_in_threads_lose_nothing() -> None:
    store = memory(store_max_traces=10_000, max_spans=100)
    failures: list[BaseException] = []

    def write(base: int) -> None:
        for n in range(200):
            put(store, server_span(1 + n % 5, span_id=f"{base * 1000 + n:016x}"))

    def read() -> None:
        try:
            for _ in range(50):
                for summary in store.list(Query()).traces:
                    store.get(summary.trace_id)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [summary.counts.spans for summary in store.list(Query()).traces] == [80] * 5


def test_a_trace_that_is_looked_at_again_is_the_same_until_something_comes() -> None:
    store = MemoryStore(Settings())
    store.add(A, Spans((_span(1, A),)))
    first = store.get(A)
    assert store.get(A) is first
    store.add(A, Spans((_span(2, A),)))
    second = store.get(A)
    assert second is not None
    assert [span.span_id for span in second.spans] == [f"{n:016x}" for n in (1, 2)]
    store.clear()
    assert store.get(A) is None
    store.add(A, Spans((_span(3, A),)))
    third = store.get(A)
    assert third is not None
    assert len(third.spans) == 1


def test_a_running_trace_is_read_anew() -> None:
    store = MemoryStore(Settings())
    store.add(A, Spans((replace(_span(1, A), end=None),)))
    first, second = store.get(A), store.get(A)
    assert first is not None
    assert second is not None
    assert second.now >= first.now
    assert second is not first


def test_few_spans_stay_unpacked() -> None:
    store = MemoryStore(Settings(max_spans=9000))
    ids = [f"{number:032x}" for number in range(1, 4)]
    for trace_id in ids:
        store.add(trace_id, Spans(tuple(_span(n, trace_id) for n in range(2500))))
    read = [store.get(trace_id) for trace_id in ids]
    assert store.get(ids[2]) is read[2]
    assert store.get(ids[1]) is read[1]
    assert store.get(ids[0]) is not read[0]


def test_a_trace_that_was_evicted_while_it_was_read_is_not_remembered() -> None:
    store = MemoryStore(Settings())

    class Slow(Spans):
        def spans(self) -> list[Span]:
            store.clear()
            return super().spans()

    store.add(A, Slow((_span(1, A),)))
    assert store.get(A) is not None
    assert store.get(A) is None


def _span(number: int, trace_id: str) -> Span:
    return Span(trace_id, f"{number:016x}", None, "work", Kind.INTERNAL, number, number + 5)
