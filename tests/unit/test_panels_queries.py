"""The queries panel: what repeats, what is alike, what is slow, and how to run it again."""

from __future__ import annotations

import dataclasses

import pytest

from otel_toolbar.insights import sql_text
from otel_toolbar.insights.sql_lexer import tokens
from otel_toolbar.model import Kind, Span, Status, Trace
from otel_toolbar.panels import queries
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.queries.view import QueriesView
from otel_toolbar.settings import Settings
from tests import recorded

MS = 1_000_000


def query(
    number: int, text: str, ms: int = 1, status: Status = Status.UNSET, **attributes: object
) -> Span:
    start = number * 10 * MS
    known = {"db.system.name": "sqlite", "db.query.text": text, **attributes}
    return Span(
        "a" * 32,
        f"{number:016x}",
        None,
        "query",
        Kind.CLIENT,
        start,
        start + ms * MS,
        known,
        status,
    )  # type: ignore[arg-type]


def view(*spans: Span) -> QueriesView:
    server = Span("a" * 32, "f" * 16, None, "GET /", Kind.SERVER, 0, 1000 * MS)
    return queries.PANEL.view(Trace.of("a" * 32, [server, *spans], 2000 * MS), Settings())


def test_figures_of_a_page_with_an_n_plus_one() -> None:
    found = queries.PANEL.view(recorded.load("orders"), Settings())
    figures = {
        name: getattr(found, name)
        for name in ("count", "afterwards", "rows", "slow", "duplicates", "similar", "errors")
    }
    assert figures == {
        "count": 26,
        "afterwards": 0,
        "rows": 85,
        "slow": 0,
        "duplicates": 0,
        "similar": 23,
        "errors": 0,
    }
    assert found.duration == pytest.approx(0.1057)
    assert found.share == pytest.approx(0.494, abs=0.001)
    assert queries.PANEL.badge(found) == Badge("26", "warn")


def test_n_plus_one_comes_with_its_fix() -> None:
    (group,) = queries.PANEL.view(recorded.load("orders"), Settings()).n_plus_one
    assert (group.count, group.level, group.queries) == (24, "warn", tuple(range(3, 27)))
    assert group.duration == pytest.approx(0.0956)
    assert group.place is not None
    assert (group.place.short, group.place.function) == (
        "shop/orders.py:47",
        "shop.orders.total_of",
    )
    assert group.lazy == "Order.items"
    assert group.code == "select(Order).options(selectinload(Order.items))"


def test_one_query_whole() -> None:
    found = queries.PANEL.view(recorded.load("checkout"), Settings())
    update = dataclasses.asdict(found.queries[2])
    del update["statement_group"], update["place"], update["stack"]
    assert update == {
        "id": "a000000000000003",
        "position": 3,
        "start": 0.012,
        "duration": 0.143,
        "share": pytest.approx(0.1114, abs=0.0001),
        "running": False,
        "detached": False,
        "summary": "UPDATE stock",
        "statement": "UPDATE stock SET reserved = reserved + ? WHERE product_id IN (?, ?, ?)",
        "operation": "UPDATE",
        "system": "sqlite",
        "database": "shop.db",
        "parameters": tuple(
            {"name": str(at), "value": value} for at, value in enumerate(("1", "3", "14", "15"))
        ),
        "more_parameters": 0,
        "batch": None,
        "rows": None,
        "affected": 3,
        "lazy": "",
        "error": "",
        "slow": True,
        "duplicate": False,
        "n_plus_one": "",
    }


def test_query_to_paste() -> None:
    update = queries.PANEL.view(recorded.load("checkout"), Settings()).queries[2]
    filled_in = "UPDATE stock SET reserved = reserved + 1 WHERE product_id IN (3, 14, 15)"
    assert update.filled_in == filled_in


def test_figures_of_a_failed_request() -> None:
    found = queries.PANEL.view(recorded.load("checkout"), Settings())
    assert (found.count, found.afterwards, found.duplicates, found.slow, found.errors) == (
        5,
        1,
        1,
        1,
        1,
    )
    assert found.queries[4].error == "sqlalchemy.exc.OperationalError: no such table: audit"
    assert queries.PANEL.badge(found) == Badge("5", "error")
    assert [group.count for group in found.statements] == [1, 2, 1, 1, 1]


def test_queries_of_another_sdk() -> None:
    (found,) = queries.PANEL.view(recorded.load("old_names"), Settings()).queries
    assert (found.summary, found.system, found.database) == (
        "SELECT products",
        "postgresql",
        "store",
    )


def test_no_query_and_what_is_none() -> None:
    connect = Span(
        "a" * 32, "b" * 16, None, "connect", Kind.CLIENT, 0, 5, {"db.system.name": "sqlite"}
    )
    redis = query(1, "GET key", **{"db.system.name": "redis"})
    found = view(connect, redis)
    assert (found.found, found.count, found.queries) == (False, 0, ())
    assert queries.PANEL.badge(found) == Badge()


def test_alike_by_text_when_no_fingerprint_was_told() -> None:
    found = view(
        query(1, "SELECT * FROM a WHERE id = 1"),
        query(2, "select * from a where id = 1"),
        query(3, "SELECT * FROM a WHERE id = 2 -- again"),
        query(4, 'SELECT * FROM "a1"'),
        query(5, 'SELECT * FROM "a2"'),
    )
    assert sorted(group.queries for group in found.statements) == [(1, 2, 3), (4,), (5,)]


@pytest.mark.parametrize(
    ("first", "second", "duplicate"),
    [
        ({}, {}, True),
        ({"db.query.parameter.0": "1"}, {"db.query.parameter.0": "1"}, True),
        ({"db.query.parameter.0": "1"}, {"db.query.parameter.0": "2"}, False),
        ({"db.operation.batch.size": 3}, {"db.operation.batch.size": 3}, False),
        ({"toolbar.query.parameters.more": 2}, {"toolbar.query.parameters.more": 2}, False),
    ],
)
def test_duplicates(first: dict[str, object], second: dict[str, object], duplicate: bool) -> None:
    found = view(query(1, "SELECT 1", **first), query(2, "SELECT 1", **second))
    assert [each.duplicate for each in found.queries] == [False, duplicate]


def test_unknown_parameters_make_no_duplicate() -> None:
    found = view(query(1, "SELECT ?"), query(2, "SELECT ?"))
    assert found.duplicates == 0


def test_queries_that_were_not_kept_are_counted() -> None:
    server = Span(
        "a" * 32, "f" * 16, None, "GET /", Kind.SERVER, 0, MS, {"toolbar.queries.count": 7}
    )
    found = queries.PANEL.view(Trace.of("a" * 32, [server, query(1, "SELECT 1")], 0), Settings())
    assert (found.found, found.count, found.dropped) == (True, 7, 6)


@pytest.mark.parametrize(
    ("statement", "parameters", "expected"),
    [
        ("SELECT ?, ?", {"0": "1", "1": "a'b"}, "SELECT 1, 'a''b'"),
        ("SELECT '?', ?", {"0": "None"}, "SELECT '?', NULL"),
        ("SELECT :a, x::text, ':a'", {"a": "true"}, "SELECT TRUE, x::text, ':a'"),
        ("SELECT %(a)s, %s", {"a": "-1.5"}, "SELECT -1.5, %s"),
        ("SELECT $2, $1, $99", {"0": "x", "1": "2"}, "SELECT 2, 'x', $99"),
        ("SELECT ?", {}, "SELECT ?"),
        ("SELECT ? -- ?", {"0": "***"}, "SELECT '***' -- ?"),
    ],
)
def test_filled_in(statement: str, parameters: dict[str, str], expected: str) -> None:
    assert sql_text.filled_in(statement, parameters) == expected


def test_lines() -> None:
    text = (
        "SELECT a.x, (SELECT max(y) FROM b WHERE b.a = a.id) FROM a"
        " LEFT OUTER JOIN c ON c.a = a.id WHERE a.x = 'FROM' ORDER BY a.x"
    )
    assert "".join(token.text for token in sql_text.lines(text)).split("\n") == [
        "SELECT a.x, (SELECT max(y) FROM b WHERE b.a = a.id) ",
        "FROM a ",
        "LEFT OUTER JOIN c ON c.a = a.id ",
        "WHERE a.x = 'FROM' ",
        "ORDER BY a.x",
    ]
    assert "".join(token.text for token in sql_text.lines("DELETE FROM a")) == "DELETE FROM a"


@pytest.mark.parametrize("text", ["'" * 5001, "/*" * 5000, '"' * 5001, "(" * 9000, "\ud800?"])
def test_any_text_is_read_quickly_and_whole(text: str) -> None:
    assert "".join(token.text for token in tokens(text)) == text
