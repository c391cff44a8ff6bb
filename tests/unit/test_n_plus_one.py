"""The N+1 rule, on queries as they end and on traces read later."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_toolbar import semconv
from otel_toolbar.insights.n_plus_one import BULK, Detector, Findings, Repeat, find, group_id
from otel_toolbar.model import Kind, Span, Trace, Value

MS = 1_000_000


# As they end.


def test_two_are_worth_knowing_and_five_a_warning() -> None:
    detector = Detector(5, 50 * MS)
    group = group_id("f", "app.py:1")
    assert len(group) == 16
    seen = [detector.observe("f", "app.py:1", number, MS) for number in range(6)]
    assert seen == [
        None,
        Repeat(group, 2, "repeat"),
        Repeat(group, 3, "repeat"),
        Repeat(group, 4, "repeat"),
        Repeat(group, 5, "count"),
        Repeat(group, 6, "count"),
    ]
    assert detector.warnings == 1


def test_two_that_take_long_are_a_warning() -> None:
    detector = Detector(5, 50 * MS)
    assert detector.observe("f", "", 1, 30 * MS) is None
    assert detector.observe("f", "", 2, 20 * MS) == Repeat(group_id("f", ""), 2, "duration")
    assert detector.warnings == 1


def test_one_is_none_however_long() -> None:
    detector = Detector(5, 50 * MS)
    assert detector.observe("f", "", 1, 9000 * MS) is None
    assert detector.warnings == 0


def test_other_statements_and_other_lines_are_other_groups() -> None:
    detector = Detector(2, 50 * MS)
    for fingerprint, place in (("f", "a:1"), ("g", "a:1"), ("f", "a:2")):
        assert detector.observe(fingerprint, place, 1, MS) is None


def test_duplicates_alone_are_no_n_plus_one() -> None:
    detector = Detector(5, 50 * MS)
    assert detector.known("f", "a:1", 7, 7) is None
    for _ in range(20):
        assert detector.observe("f", "a:1", 7, 9 * MS) is None
    assert detector.known("f", "a:1", 7, 7) == "duplicate"
    assert detector.known("f", "a:1", 8, 8) is None
    assert detector.known("f", "a:1", None, None) is None
    assert detector.warnings == 0


def test_duplicates_count_once_there_is_a_second_set_of_parameters() -> None:
    """Twenty orders with four products between them, looked up one by one."""
    detector = Detector(5, 50 * MS)
    positions = [detector.observe("f", "a:1", number, MS) for number in (1, 1, 2, 1, 3)]
    assert [repeat and (repeat.position, repeat.rule) for repeat in positions] == [
        None,
        None,
        (3, "repeat"),
        (4, "repeat"),
        (5, "count"),
    ]


def test_unknown_parameters_are_taken_for_different() -> None:
    detector = Detector(5, 50 * MS)
    assert detector.observe("f", "", None, MS) is None
    assert detector.observe("f", "", None, MS) is not None


def test_what_is_remembered_is_bounded() -> None:
    detector = Detector(5, 50 * MS)
    for number in range(5000):
        detector.observe(f"f{number}", "", 1, 0)
        detector.observe("f0", "", number, 0)
    assert len(detector._groups) == 2000
    assert len(detector._groups["f0", ""].seen) == 1000


@given(
    st.lists(st.tuples(st.sampled_from("fg"), st.sampled_from(["a:1", "a:2"]), st.integers(0, 3)))
)
def test_positions_and_warnings_agree(queries: list[tuple[str, str, int]]) -> None:
    detector = Detector(3, 10**18)
    flagged: dict[str, list[int]] = {}
    for fingerprint, place, identity in queries:
        repeat = detector.observe(fingerprint, place, identity, 1)
        if repeat is not None:
            flagged.setdefault(repeat.group, []).append(repeat.position)
            assert repeat.rule == ("count" if repeat.position >= 3 else "repeat")
    for positions in flagged.values():
        assert positions == list(range(positions[0], positions[0] + len(positions)))
    assert detector.warnings == sum(positions[-1] >= 3 for positions in flagged.values())


# A trace that is read later.


class Recorded:
    """Builds a trace, a ms for each span."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._ids = count(1)

    def add(
        self,
        name: str,
        parent: Span | None = None,
        kind: Kind = Kind.INTERNAL,
        ms: int = 1,
        running: bool = False,
        **attributes: Value,
    ) -> Span:
        number = next(self._ids)
        start = number * 100 * MS
        span = Span(
            trace_id="t",
            span_id=f"{number:016x}",
            parent_id=parent.span_id if parent else None,
            name=name,
            kind=kind,
            start=start,
            end=None if running else start + ms * MS,
            attributes={key.replace("__", "."): value for key, value in attributes.items()},
        )
        self.spans.append(span)
        return span

    def request(self) -> Span:
        return self.add("GET /", kind=Kind.SERVER)

    def query(
        self, parent: Span | None, sql: str, line: int = 1, ms: int = 1, **more: Value
    ) -> Span:
        return self.add(
            "SELECT", parent, Kind.CLIENT, ms,
            db__system__name="sqlite", db__query__text=sql,
            **{semconv.CODE_FILE_PATH: "app.py", semconv.CODE_LINE_NUMBER: line}, **more,
        )  # fmt: skip

    def find(self) -> Findings:
        return find(Trace.of("t", self.spans, 10**12), 5, 50 * MS)


SQL = "SELECT * FROM items WHERE order_id = ?"


def parameter(value: Value) -> dict[str, Value]:
    return {semconv.DB_QUERY_PARAMETER + "0": value}


def test_a_loop_in_a_trace() -> None:
    recorded = Recorded()
    request = recorded.request()
    task = recorded.add("task", request)
    spans = [
        recorded.query(
            request if number % 2 else task,
            SQL,
            **parameter(str(number)),
            toolbar__query__lazy_loaded_from="Order.items",
        )
        for number in range(5)
    ]
    (found,) = recorded.find().n_plus_one
    assert found.spans == tuple(spans)
    assert found.scope == request
    assert found.call_site == "app.py:1"
    assert found.duration == 5 * MS
    assert (found.rule, found.warning, found.distinct) == ("count", True, 5)
    assert found.relationship == "Order.items"
    assert recorded.find().duplicates == ()


def test_live_and_later_give_the_same_group() -> None:
    recorded = Recorded()
    request = recorded.request()
    for number in range(2):
        recorded.query(request, SQL, toolbar__query__fingerprint="00ff", **parameter(str(number)))
    (found,) = recorded.find().n_plus_one
    assert found.group == group_id("00ff", "app.py:1")
    assert (found.rule, found.warning) == ("repeat", False)


def test_inlined_literals_and_old_names() -> None:
    recorded = Recorded()
    request = recorded.request()
    for number in range(5):
        recorded.add(
            "SELECT", request, Kind.CLIENT, db__system="mysql", db__statement=f'SELECT "{number}" FROM t',
            code__filepath="app.py", code__lineno=7,
        )  # fmt: skip
    (found,) = recorded.find().n_plus_one
    assert (found.call_site, found.distinct, found.warning) == ("app.py:7", 5, True)


def test_without_parameters_or_line_queries_are_taken_for_different() -> None:
    recorded = Recorded()
    request = recorded.request()
    for _ in range(5):
        recorded.add("SELECT", request, Kind.CLIENT, db__system="postgresql", db__statement=SQL)
    (found,) = recorded.find().n_plus_one
    assert (found.call_site, found.warning) == ("", True)
    assert recorded.find().duplicates == ()


def test_a_file_without_a_line() -> None:
    recorded = Recorded()
    for number in range(2):
        recorded.add(
            "q",
            None,
            Kind.CLIENT,
            db__system="x",
            db__statement=f"SELECT {number}",
            code__filepath="a",
        )
    assert recorded.find().n_plus_one[0].call_site == "a"


@pytest.mark.parametrize("hidden", ["***", "cut…"])
def test_hidden_parameters_are_taken_for_different(hidden: str) -> None:
    recorded = Recorded()
    request = recorded.request()
    for _ in range(2):
        recorded.query(request, SQL, **parameter(hidden))
    assert recorded.find().duplicates == ()
    assert len(recorded.find().n_plus_one) == 1


def test_more_parameters_than_are_shown_are_taken_for_different() -> None:
    recorded = Recorded()
    request = recorded.request()
    for _ in range(2):
        recorded.query(request, SQL, **parameter("1"), toolbar__query__parameters__more=3)
    assert recorded.find().duplicates == ()


def test_duplicates_in_a_trace() -> None:
    recorded = Recorded()
    request = recorded.request()
    spans = [recorded.query(request, SQL, **parameter("1")) for _ in range(6)]
    found = recorded.find()
    assert found.n_plus_one == ()
    (duplicates,) = found.duplicates
    assert duplicates.spans == tuple(spans)
    assert duplicates.duration == 6 * MS


def test_who_recorded_it_knows_what_is_the_same() -> None:
    """Its parameters are masked here, or they are lazy loads for different objects."""
    recorded = Recorded()
    request = recorded.request()
    judged: dict[str, Value] = {"toolbar__query__fingerprint": "f", **parameter("***")}
    first = recorded.query(request, SQL, **judged)
    other = recorded.query(request, SQL, **judged)
    again = recorded.query(request, SQL, **judged, toolbar__query__duplicate=True)
    found = recorded.find()
    (n_plus_one,) = found.n_plus_one
    assert n_plus_one.spans == (first, other, again)
    assert n_plus_one.distinct == 2
    (duplicates,) = found.duplicates
    assert duplicates.spans == (first, again)


@pytest.mark.parametrize(
    "more",
    [
        {"toolbar__detached": True},
        {"db__operation__batch__size": 3},
        {"toolbar__query__eager_loaded": "Order.items"},
    ],
)
def test_what_the_rule_is_not_about(more: dict[str, Value]) -> None:
    recorded = Recorded()
    request = recorded.request()
    for number in range(9):
        recorded.query(request, SQL, **parameter(str(number)), **more)
    assert recorded.find() == Findings((), ())


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES ({})",
        "UPDATE t SET a = {}",
        "BEGIN",
        'SELECT * FROM "users{}"',
        "SELECT * FROM t WHERE id IN (" + "{0}, " * (BULK - 1) + "{0})",
        "",
    ],
)
def test_statements_that_are_none(sql: str) -> None:
    recorded = Recorded()
    request = recorded.request()
    for number in range(9):
        recorded.query(request, sql.format(number))
    assert recorded.find().n_plus_one == ()


def test_each_line_is_its_own_place() -> None:
    recorded = Recorded()
    request = recorded.request()
    for line in range(9):
        recorded.query(request, SQL, line, **parameter(str(line)))
    assert recorded.find().n_plus_one == ()


def test_a_running_query_waits_for_its_end() -> None:
    recorded = Recorded()
    request = recorded.request()
    recorded.query(request, SQL, **parameter("1"))
    recorded.add("SELECT", request, Kind.CLIENT, running=True, db__system="x", db__statement=SQL)
    assert recorded.find().n_plus_one == ()


def test_scopes_are_apart() -> None:
    """A request, and the messages of a websocket: each has its own."""
    recorded = Recorded()
    socket = recorded.request()
    for number in range(4):
        message = recorded.add("websocket receive", socket, Kind.CONSUMER)
        recorded.query(message, SQL, **parameter(str(number)))
    recorded.query(None, SQL, **parameter("9"))
    script = recorded.add("script")
    recorded.query(recorded.add("step", script), SQL, **parameter("10"))
    assert recorded.find().n_plus_one == ()
    recorded.query(recorded.add("step", script), SQL, 1, 60, **parameter("11"))
    (found,) = recorded.find().n_plus_one
    assert (found.scope, found.rule) == (script, "duration")


def test_the_longest_comes_first() -> None:
    recorded = Recorded()
    request = recorded.request()
    for line, ms in ((1, 1), (2, 20)):
        for number in (1, 1, 2):
            recorded.query(request, SQL, line, ms, **parameter(str(number)))
    found = recorded.find()
    assert [each.call_site for each in found.n_plus_one] == ["app.py:2", "app.py:1"]
    assert [each.call_site for each in found.duplicates] == ["app.py:2", "app.py:1"]
    assert found.n_plus_one[0].distinct == 2


def test_a_trace_is_looked_through_once() -> None:
    recorded = Recorded()
    recorded.query(recorded.request(), SQL, **parameter("1"))
    trace = Trace.of("t", recorded.spans, 10**12)
    assert find(trace, 5, 50 * MS) is find(trace, 5, 50 * MS)
    assert find(trace, 5, 50 * MS) is not find(trace, 6, 50 * MS)
