"""The GraphQL panel, and what is concluded of operations and documents, from traces alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from otel_toolbar.insights import graphql, graphql_document
from otel_toolbar.insights.graphql_document import Complexity
from otel_toolbar.insights.summary import summarize
from otel_toolbar.model import Event, Kind, Span, Status, Trace
from otel_toolbar.panels import graphql as panel
from otel_toolbar.panels import view
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.graphql.view import GraphqlView
from otel_toolbar.panels.shared import Field
from otel_toolbar.settings import Settings
from otel_toolbar.web import render
from tests import recorded

MS = 1_000_000
TRACE = "a" * 32
DOCUMENT = "query Page { orders { id customer { name } } }"


class Made:
    """Spans of a trace, made in ms; the request lasts 100 ms."""

    def __init__(self, **server: Any) -> None:
        self.spans = [Span(TRACE, "0" * 15 + "1", None, "POST /", Kind.SERVER, 0, 100 * MS, server)]

    def span(
        self, parent: Span | None, name: str, start: float, end: float | None, **more: Any
    ) -> Span:
        rest = {key: more.pop(key) for key in ("status", "events") if key in more}
        attributes = {key.replace("__", "."): value for key, value in more.items()}
        made = Span(
            TRACE,
            f"{len(self.spans) + 1:016x}",
            (parent or self.spans[0]).span_id,
            name,
            Kind.CLIENT if "db.query.text" in attributes else Kind.INTERNAL,
            int(start * MS),
            None if end is None else int(end * MS),
            attributes,
            **rest,
        )
        self.spans.append(made)
        return made

    def operation(self, start: float = 0, end: float | None = 50, **more: Any) -> Span:
        facts = {"graphql__document": DOCUMENT, "graphql__operation__type": "query"}
        return self.span(None, "query", start, end, **(facts | more))

    def resolver(
        self, parent: Span, path: str, start: float, end: float | None, **more: Any
    ) -> Span:
        facts = {"graphql__field__path": path, "graphql__field__name": path.rpartition(".")[2]}
        return self.span(parent, f"resolve {path}", start, end, **(facts | more))

    def query(
        self,
        parent: Span,
        start: float,
        text: str = "SELECT name FROM customers WHERE id = ?",
        **more: Any,
    ) -> Span:
        facts = {"db__query__text": text, "db__operation__name": text.partition(" ")[0]}
        return self.span(parent, "SELECT customers", start, start + 1, **facts, **more)

    @property
    def trace(self) -> Trace:
        return Trace.of(TRACE, self.spans, 100 * MS)

    @property
    def view(self) -> GraphqlView:
        return panel.view(self.trace, Settings())


def failure(path: str = "", **more: Any) -> Event:
    facts: dict[str, Any] = {
        "exception.type": "RuntimeError",
        "exception.message": "broken",
        "exception.stacktrace": (
            "Traceback (most recent call last):\n"
            '  File "/venv/lib/python3.12/site-packages/graphql/execute.py", line 4, in execute\n'
            '  File "/app/orders.py", line 9, in broken\n'
            '  File "/app/money.py", line 3, in pay\n'
            "RuntimeError: broken"
        ),
    }
    told = {"graphql.error.path": path} if path else {}
    return Event("exception", 5 * MS, facts | told | more)


def page(trace: Trace) -> str:
    options = Settings()
    context = render.Context("/_toolbar", options)
    views = [view(panel.PANEL, trace, options)]
    return render.trace_page(context, trace, summarize(trace, options), views, {"panel": "graphql"})


def listed(made: Made) -> Made:
    """A list of which each item asks the database."""
    operation = made.operation(graphql__resolvers__count=5)
    made.resolver(operation, "orders", 1, 2)
    for number in range(5):
        task = made.span(operation, "task", 2, 40)
        one = made.resolver(task, f"orders.{number}.customer.name", 2 + number, 12)
        made.query(one, 3 + number)
    for number in range(5):
        made.resolver(operation, f"orders.{number}.customer", 2, 2 + number)
    return made


def test_a_list_is_one_row() -> None:
    (operation,) = listed(Made()).view.operations
    assert [(r.path, r.depth, r.count, r.queries) for r in operation.resolvers] == [
        ("orders", 0, 1, 0),
        ("orders.*.customer", 1, 5, 0),
        ("orders.*.customer.name", 2, 5, 5),
    ]
    name = operation.resolvers[2]
    assert (name.duration, name.longest) == (pytest.approx(0.04), pytest.approx(0.01))
    assert (operation.calls, operation.queries) == (11, 5)


def test_resolvers_that_ask_one_by_one() -> None:
    made = listed(Made())
    (hint,) = made.view.hints
    assert (hint.severity, len(hint.spans)) == ("warn", 5)
    assert hint.evidence == (
        "`orders.*.customer.name` was resolved 5 times, with 5 like queries (SELECT customers),"
        " 5.0 ms together."
    )
    assert made.view.operations[0].error_count == 0
    assert panel.badge(made.view) == Badge("1", "warn")
    assert "Resolved one by one" in page(made.trace)
    assert "DataLoader" in page(made.trace)


@pytest.mark.parametrize(
    ("calls", "texts", "severity"),
    [
        (2, ["SELECT a FROM b WHERE c = ?"] * 2, None),
        (3, ["SELECT a FROM b WHERE c = ?"] * 3, "info"),
        (3, ["SELECT a FROM b WHERE c = 1", "SELECT a FROM b WHERE c = 22", "SELECT a FROM b WHERE c = 3"], "info"),
        (3, ["SELECT a FROM b", "SELECT a FROM c", "SELECT a FROM d"], None),
        (5, ["SELECT a FROM b WHERE c = ?"] * 2, None),
        (5, ["INSERT INTO a (b) VALUES (?)"] * 5, None),
        (5, ["SELECT a FROM b WHERE c IN (" + ", ".join(["?"] * 50) + ")"] * 5, None),
        (5, ["SELECT a FROM b WHERE c = ?"] * 5, "warn"),
    ],
)  # fmt: skip
def test_what_wants_a_data_loader(calls: int, texts: list[str], severity: str | None) -> None:
    made = Made()
    operation = made.operation()
    for number in range(calls):
        one = made.resolver(operation, f"orders.{number}.customer", 1, 2)
        for text in texts[number : number + 1]:
            made.query(one, 1, text)
    assert [hint.severity for hint in made.view.hints] == ([severity] if severity else [])


def test_the_rest_of_a_list() -> None:
    made = Made()
    operation = made.operation()
    made.resolver(operation, "orders.0.id", 1, 3)
    rest = made.resolver(
        operation, "orders.*.id", 3, 40,
        graphql__resolver__count=9, graphql__resolver__duration=0.009,
    )  # fmt: skip
    for number in range(3):
        made.query(rest, 4 + number)
    (row,) = made.view.operations[0].resolvers
    assert (row.path, row.count, row.queries) == ("orders.*.id", 10, 3)
    assert (row.duration, row.longest) == (pytest.approx(0.011), pytest.approx(0.002))
    assert len(made.view.hints) == 1


def test_errors() -> None:
    made = Made()
    operation = made.operation(
        status=Status.ERROR,
        graphql__errors__count=30,
        events=(failure(**{"toolbar.exception.handled": True, "exception.stacktrace": ""}),),
    )
    made.resolver(
        operation,
        "orders.1.broken",
        1,
        5,
        status=Status.ERROR,
        events=(failure("orders.1.broken"),),
    )
    found = made.view.operations[0]
    answer, broken = found.errors
    assert (answer.path, answer.handled, answer.place) == ("", True, None)
    assert (broken.path, broken.type, broken.message) == (
        "orders.1.broken",
        "RuntimeError",
        "broken",
    )
    assert broken.place is not None
    assert (broken.place.path, broken.place.line) == ("/app/money.py", 3)
    assert [frame.path for frame in broken.frames] == ["/app/orders.py", "/app/money.py"]
    assert found.error_count == 30
    assert found.resolvers[0].errors == 1
    assert panel.badge(made.view) == Badge("1", "error")
    shown = page(made.trace)
    assert "orders.1.broken" in shown
    assert "30 errors in all" in shown
    assert "2 frames of the app" in shown


def test_what_was_asked() -> None:
    made = Made()
    made.operation(
        graphql__operation__name="Page",
        graphql__variables__first="6",
        graphql__variables__password="***",
        graphql__parsing__duration=0.001,
        graphql__validation__duration=0.002,
    )
    made.operation(10, None, graphql__document="{ a: b, c { d } }", graphql__complexity__depth=9,
                   graphql__complexity__fields=8, graphql__complexity__aliases=7,
                   graphql__results__count=3)  # fmt: skip
    first, second = made.view.operations
    assert (first.name, first.roots, first.position) == ("Page", ("orders",), 1)
    assert (first.depth, first.fields, first.aliases) == (3, 4, 0)
    assert first.variables == (Field("first", "6"), Field("password", "***"))
    assert (first.parsing, first.validation) == (0.001, 0.002)
    assert (second.depth, second.fields, second.aliases) == (9, 8, 7)
    assert (second.running, second.results, second.roots) == (True, 3, ("b", "c"))
    shown = page(made.trace)
    for text in ("3 deep, 4 fields", "parsed in 1.00 ms, validated in 2.00 ms", "b, c }", "3 sent"):
        assert text in shown, text


def test_spans_of_other_libraries() -> None:
    """As far as they tell: JavaScript's instrumentation names fields as ours does."""
    made = Made()
    operation = made.span(None, "graphql.execute", 0, 9, graphql__operation__type="mutation")
    made.span(operation, "graphql.resolve pay", 1, 2, graphql__field__path="pay")
    (found,) = made.view.operations
    assert (found.type, found.depth, found.calls) == ("mutation", None, 1)
    assert found.resolvers[0].field == "pay"
    assert "mutation" in page(made.trace)


def test_spans_outside_of_operations_are_left_alone() -> None:
    made = Made()
    made.resolver(made.spans[0], "orders", 1, 2)
    made.query(made.spans[0], 1)
    assert made.view.operations == ()


def test_empty_says_what_to_install() -> None:
    made = Made()
    assert panel.badge(made.view) == Badge()
    assert "otel-toolbar[strawberry]" in page(made.trace)
    made.spans[0] = Span(TRACE, "0" * 15 + "1", None, "POST /", Kind.SERVER, 0, None)
    assert "None so far" in page(made.trace)


def test_what_is_cut_says_so() -> None:
    made = Made(**{"toolbar.dropped": 7})
    for number in range(51):
        made.operation(number, number + 1)
    for number in range(201):
        made.resolver(made.spans[1], f"a{number}", 1, 2)
    shown = page(made.trace)
    for text in ("Cut: 7 spans", "The first 50 of 51", "The first 200 of 201"):
        assert text in shown, text


def test_markup_is_text() -> None:
    made = Made()
    nasty = "<script>alert(1)</script>"
    operation = made.operation(
        graphql__document=nasty,
        graphql__operation__name=nasty,
        graphql__operation__type=nasty,
        graphql__variables__x=nasty,
        events=(failure(nasty, **{"exception.type": nasty, "exception.message": nasty}),),
    )
    made.resolver(operation, nasty, 1, 2, graphql__field__type=nasty)
    assert nasty not in page(made.trace)


def test_a_recorded_trace() -> None:
    found = panel.view(recorded.load("graphql"), Settings())
    assert [(each.type, each.name, each.error_count) for each in found.operations] == [
        ("query", "Page", 1),
        ("mutation", "Login", 0),
        ("query", "", 1),
    ]
    assert [hint.rule for hint in found.hints] == ["graphql-data-loader"]
    assert "hunter2" not in str(asdict(found))


# Documents.


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        (DOCUMENT, "", (3, 4, 0)),
        ("{ a b c }", "", (1, 3, 0)),
        ("{ x: a { y: b } }", "", (2, 2, 2)),
        ("{ ...F ... on T { b } ... @include(if: $x) { c } } fragment F on T { a { d } }", "", (2, 4, 0)),
        ("query A { a } query B { a { b } }", "B", (2, 2, 0)),
        ("query A { a } query B { a { b } }", "C", None),
        ("fragment F on T { a }", "", None),
        ("{ ...F } fragment F on T { a ...F }", "", (1, 1, 0)),
        ("{ ...F } fragment F on T { a ...G } fragment G on T { b ...F }", "", (1, 2, 0)),
        ("{ ...Nowhere a }", "", (1, 1, 0)),
        ('{ a(b: "}{", c: {d: [1, "("]}, e: """ " }{ """) @skip(if: $x) { f } }', "", (2, 2, 0)),
        ("query ($a: Int = 3, $b: [T!]! = [{c: 1}]) @d(e: 1) { f }", "", (1, 1, 0)),
        ("# { a }\n{ b } # }", "", (1, 1, 0)),
        ("subscription S { a { b", "", (2, 2, 0)),
        ("} } {a}", "", (1, 1, 0)),
        ("mutation", "", (0, 0, 0)),
        ("...", "", None),
        ("", "", None),
        ("{ ... ", "", (0, 0, 0)),
        ("{ a(b: (1) ) c( ", "", (1, 2, 0)),
    ],
)  # fmt: skip
def test_complexity(given: str, name: str, expected: tuple[int, int, int] | None) -> None:
    found = graphql_document.complexity(given, name)
    assert found == (None if expected is None else Complexity(*expected))


def test_fragments_that_multiply_are_counted_up_to_a_limit() -> None:
    fragments = " ".join(f"fragment F{n} on T {{ a ...F{n + 1} ...F{n + 1} }}" for n in range(200))
    assert graphql_document.complexity("{ ...F0 }" + fragments) == (1, graphql_document.MANY, 0)


def test_long_documents_are_not_read() -> None:
    long = "{ a " * 20_000
    assert len(long) > graphql_document.MAX_LENGTH
    assert graphql_document.complexity(long) is None
    deep = graphql_document.complexity("{a" * 30_000)
    assert deep is not None
    assert deep.depth == 30_000


def test_roots_are_cut() -> None:
    found = graphql_document.operation("{" + " ".join(f"a{n}" for n in range(50)) + "}")
    assert found is not None
    assert len(found.roots) == 20


def test_operations_are_kept_with_the_trace() -> None:
    trace = listed(Made()).trace
    assert graphql.operations(trace) is graphql.operations(trace)
