from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_toolbar.model import Kind, Span, Trace

S = 1_000_000_000


def span(name: str, parent: str | None, start: float, end: float | None, **more: Any) -> Span:
    return Span(
        trace_id="1" * 32,
        span_id=name,
        parent_id=parent,
        name=name,
        kind=more.pop("kind", Kind.INTERNAL),
        start=int(start * S),
        end=None if end is None else int(end * S),
        **more,
    )


def trace(*spans: Span, now: float = 100) -> Trace:
    return Trace.of("1" * 32, spans, int(now * S))


def test_walk_gives_parents_before_children_and_siblings_by_start() -> None:
    found = trace(
        span("c", "a", 3, 4), span("b", "a", 1, 2), span("d", "b", 1, 2), span("a", None, 0, 5)
    )
    assert [(s.name, depth) for s, depth in found.walk()] == [
        ("a", 0), ("b", 1), ("d", 2), ("c", 1),
    ]  # fmt: skip


def test_a_span_whose_parent_is_missing_stands_at_the_top() -> None:
    found = trace(span("a", "gone", 0, 1), span("b", "a", 0, 1))
    assert [s.name for s in found.roots] == ["a"]


def test_a_cycle_of_parents_is_cut_at_its_first_span() -> None:
    found = trace(span("a", "c", 0, 1), span("b", "a", 1, 2), span("c", "b", 2, 3))
    assert [(s.name, depth) for s, depth in found.walk()] == [("a", 0), ("b", 1), ("c", 2)]
    assert [s.name for s in found.ancestors(found.by_id["c"])] == ["b", "a"]


def test_of_two_spans_with_one_id_the_ended_one_is_kept() -> None:
    ended, running = span("a", None, 0, 1), span("a", None, 0, None)
    assert trace(running, ended).spans == (ended,)
    assert trace(ended, running).spans == (ended,)


def test_self_time_counts_overlapping_children_once() -> None:
    found = trace(
        span("a", None, 0, 10), span("b", "a", 1, 4), span("c", "a", 3, 6), span("d", "a", 8, 12)
    )
    assert found.self_time(found.by_id["a"]) == 3 * S


def test_critical_path_follows_what_ended_last() -> None:
    found = trace(
        span("a", None, 0, 10),
        span("early", "a", 0, 2),
        span("long", "a", 1, 9),
        span("inner", "long", 2, 8),
        span("short", "a", 3, 4),
    )
    assert found.critical_path == {"a", "long", "inner"}


def test_main_is_the_first_server_span_else_a_root() -> None:
    server = span("server", "client", 1, 2, kind=Kind.SERVER)
    assert trace(span("client", None, 0, 3), server).main == server
    assert trace(span("only", None, 0, 3)).main == span("only", None, 0, 3)
    assert trace().main is None


def test_a_running_span_lasts_until_now() -> None:
    found = trace(span("a", None, 1, None), now=5)
    assert found.running
    assert found.end == 5 * S
    assert found.spans[0].duration_at(found.now) == 4 * S


def test_attributes_come_in_the_type_asked_for_or_not_at_all() -> None:
    given = span("a", None, 0, 1, attributes={"n": 3, "f": float("nan"), "t": True, "x": "y"})
    assert given.integer("n") == 3
    assert given.integer("f") is None
    assert given.number("t") is None
    assert given.text("n") == "3"
    assert given.text("missing", "-") == "-"
    assert given.flag("t")
    assert not given.flag("n")
    assert given.below("") == given.attributes


parents = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 20), st.integers(-3, 20)),
    max_size=9,
)


@given(parents)
def test_any_graph_of_parents_is_walked_once(edges: list[tuple[int, int, int, int]]) -> None:
    spans = [span(str(me), str(up), start, start + took) for me, up, start, took in edges]
    found = trace(*spans)
    walked = [s.span_id for s, _ in found.walk()]
    assert sorted(walked) == sorted(found.by_id)
    assert found.critical_path <= set(walked)
    for each in found.spans:
        assert found.self_time(each) >= 0
        assert each not in list(found.ancestors(each))


def test_owners_are_the_nearest_requests_and_jobs() -> None:
    found = trace(
        span("top", None, 0, 9),
        span("request", "top", 0, 9, kind=Kind.SERVER),
        span("work", "request", 0, 9),
        span("query", "work", 0, 9, kind=Kind.CLIENT),
        span("beside", "top", 0, 9, kind=Kind.CLIENT),
        span("job", "gone", 0, 9, kind=Kind.CONSUMER),
        span("in job", "job", 0, 9, kind=Kind.CLIENT),
    )
    assert {child: owner.name for child, owner in found.owners.items()} == {
        "request": "top",
        "work": "request",
        "query": "request",
        "beside": "top",
        "in job": "job",
    }


def test_a_deep_trace_and_a_long_cycle_are_looked_through_once() -> None:
    many = 20_000
    chain = [span(str(n), str(n - 1), 0, 1) for n in range(many)]
    assert len(trace(*chain).owners) == many - 1
    cycle = trace(*(span(str(n), str((n - 1) % many), 0, 1) for n in range(many)))
    assert (len(cycle.owners), len(list(cycle.walk()))) == (many - 1, many)
