"""The queries panel: what repeats, what is alike, what is slow, and how to run it again."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from otel_toolbar import panels
from otel_toolbar.insights import sql_text
from otel_toolbar.insights.sql_lexer import tokens
from otel_toolbar.model import Kind, Span, Status, Trace
from otel_toolbar.panels import queries
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.queries.transactions import Boundary
from otel_toolbar.panels.queries.view import QueriesView
from otel_toolbar.settings import Settings
from tests import recorded

MS = 1_000_000


def query(
    number: int, text: str, ms: Any = 1, status: Any = Status.UNSET, **attributes: Any
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
    assert [each["name"] for each in update.pop("around")] == []
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
        "process": "p-4711",
        "transaction": 0,
        "lazy": "",
        "error": "",
        "error_code": "",
        "error_type": "",
        "reads_only": False,
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
def test_duplicates(first: dict[str, Any], second: dict[str, Any], duplicate: bool) -> None:
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
        ("SELECT ?, ?", {"id_1": "1", "name_1": "007"}, "SELECT 1, '007'"),
        ("SELECT $2, $1, $2", {"b": "1", "a": "2"}, "SELECT 2, 1, 2"),
        ("SELECT ?, ?", {"id_1": "1"}, "SELECT ? /* not kept */, ? /* not kept */"),
        ("SELECT %(a)s LIKE '5%%'", {"a": "x"}, "SELECT 'x' LIKE '5%'"),
        ("SELECT '5%%', ?", {"0": "x"}, "SELECT '5%%', 'x'"),
        ("SELECT ?, ?", {"0": "long…", "1": "<5 bytes>"}, "SELECT ? /* cut */, ? /* not kept */"),
        ("SELECT '?', ?", {"0": "None"}, "SELECT '?', NULL"),
        ("SELECT :a, x::text, ':a'", {"a": "true"}, "SELECT TRUE, x::text, ':a'"),
        ("SELECT %(a)s, %s", {"a": "-1.5"}, "SELECT -1.5, %s /* not kept */"),
        ("SELECT $2, $1, $99", {"0": "x", "1": "2"}, "SELECT 2, 'x', $99 /* not kept */"),
        ("SELECT ?", {}, "SELECT ?"),
        ("SELECT ? -- ?", {"0": "***"}, "SELECT ? /* masked */ -- ?"),
    ],
)
def test_filled_in(statement: str, parameters: dict[str, str], expected: str) -> None:
    assert sql_text.filled_in(statement, parameters) == expected


def test_a_backslash_is_an_escape_in_mysql_alone() -> None:
    for system, expected in (("mysql", r"SELECT 'a\\''b'"), ("postgresql", r"SELECT 'a\''b'")):
        assert sql_text.filled_in("SELECT ?", {"0": r"a\'b"}, system) == expected


def test_lines() -> None:
    text = (
        "SELECT a.x, (SELECT max(y) FROM b WHERE b.a = a.id) FROM a"
        " LEFT OUTER JOIN c ON c.a = a.id WHERE a.x = 'FROM' ORDER BY a.x"
    )
    assert "".join(token.text for token in sql_text.lines(text)).split("\n") == [
        "SELECT a.x, (",
        "  SELECT max(y)",
        "  FROM b",
        "  WHERE b.a = a.id",
        ")",
        "FROM a",
        "LEFT OUTER JOIN c ON c.a = a.id",
        "WHERE a.x = 'FROM'",
        "ORDER BY a.x",
    ]
    assert "".join(token.text for token in sql_text.lines("DELETE FROM a")) == "DELETE FROM a"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "INSERT INTO stock (product_id, amount) VALUES (?, ?)\nON CONFLICT (product_id) DO NOTHING",
            [
                "INSERT INTO stock (product_id, amount)",
                "VALUES (?, ?) ON CONFLICT (product_id) DO NOTHING",
            ],
        ),
        (
            "SELECT left(a, 2) -- the start\n, b FROM t WHERE a BETWEEN 1 AND 2 AND (b OR c) AND d",
            [
                "SELECT left(a, 2) -- the start",
                ", b",
                "FROM t",
                "WHERE a BETWEEN 1 AND 2",
                "  AND (b OR c)",
                "  AND d",
            ],
        ),
        (
            "SELECT a FROM t WHERE a IN (" + ", ".join("?" * 40) + ") ORDER BY a",
            [
                "SELECT a",
                "FROM t",
                "WHERE a IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, … 28 more)",
                "ORDER BY a",
            ],
        ),
        (
            "SELECT "
            + ", ".join(f"products.column_number_{n}" for n in range(5))
            + " FROM products",
            [
                "SELECT products.column_number_0, products.column_number_1, products.column_number_2,",
                "    products.column_number_3, products.column_number_4",
                "FROM products",
            ],
        ),
        (
            "VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)",
            ["VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)"],
        ),
        (")))) FROM ((((SELECT" * 4, None),
    ],
)
def test_layout(statement: str, expected: list[str] | None) -> None:
    found = "".join(token.text for token in sql_text.lines(statement))
    if expected is None:
        assert "".join(found.split()) == "".join(statement.split())
    else:
        assert found.split("\n") == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT a,\n  b FROM t", "SELECT a, b FROM t"),
        (
            "SELECT orders.id, orders.customer_id, (SELECT 1 FROM x) AS one\nFROM orders",
            "SELECT … FROM orders",
        ),
        ("SELECT 1", "SELECT 1"),
        ("", ""),
        ("UPDATE t SET a = ?", "UPDATE t SET a = ?"),
    ],
)
def test_one_line(statement: str, expected: str) -> None:
    assert "".join(token.text for token in sql_text.one_line(statement)) == expected


def test_one_line_ends() -> None:
    assert len("".join(t.text for t in sql_text.one_line("UPDATE t SET " + "a = b, " * 999))) < 260


@pytest.mark.parametrize("text", ["'" * 5001, "/*" * 5000, '"' * 5001, "(" * 9000, "\ud800?"])
def test_any_text_is_read_quickly_and_whole(text: str) -> None:
    assert "".join(token.text for token in tokens(text)) == text
    assert len("".join(token.text for token in sql_text.lines(text))) <= 3 * len(text)


# The list that a reader asks for.


def listed(found: QueriesView, **asked: str) -> list[int | str]:
    entries = found.listed({key.rstrip("_"): value for key, value in asked.items()}).entries
    return [each.action if isinstance(each, Boundary) else each.position for each in entries]


def mixed() -> QueriesView:
    return view(
        query(1, "SELECT * FROM users WHERE id = ?", **{"db.query.parameter.0": "77"}),
        query(2, "SELECT * FROM users WHERE id = ?", **{"db.query.parameter.0": "77"}),
        query(3, "UPDATE carts SET total = 0", ms=300),
        query(4, "SELECT * FROM nothing", status=Status.ERROR, **{"error.type": "Oops"}),
        query(5, "SELECT * FROM users WHERE id = ?", **{"db.query.parameter.0": "78"}),
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"q": "CARTS"}, [3]),
        ({"q": " 78 "}, [5]),
        ({"q": "oops"}, [4]),
        ({"q": "absent"}, []),
        ({"only": "slow"}, [3]),
        ({"only": "duplicates"}, [2]),
        ({"only": "errors"}, [4]),
        ({"only": "n+1"}, [1, 2, 5]),
        ({"only": "nonsense"}, [1, 2, 3, 4, 5]),
        ({"sort": "time"}, [3, 1, 2, 4, 5]),
        ({"from_": "4"}, [4, 5]),
        ({"from_": "99999"}, [5]),
        ({"from_": "x" * 99, "show": "3"}, [1, 2, 3, 4, 5]),
    ],
)
def test_the_list_is_narrowed_and_sorted(asked: dict[str, str], expected: list[int]) -> None:
    assert listed(mixed(), **asked) == expected


def test_the_list_of_one_group() -> None:
    found = mixed()
    assert listed(found, group=found.queries[0].statement_group) == [1, 2, 5]
    assert listed(found, group=found.n_plus_one[0].id, only="duplicates") == [2]


def test_a_query_is_shown_on_its_page() -> None:
    found = view(*(query(number, f"SELECT {number}") for number in range(1, 251)))
    shown = found.listed({"show": "205"})
    assert (shown.opened, shown.first, shown.last, shown.found) == (205, 201, 250, 250)
    assert (found.listed({}).first, found.listed({}).last) == (1, 100)


# Transactions.


def boundary(number: int, action: str, **attributes: Any) -> Span:
    return query(number, "", **{"db.operation.name": action, **attributes})


def test_transactions_are_no_queries_and_stand_between_them() -> None:
    found = view(
        boundary(1, "BEGIN"),
        query(2, "SELECT 1"),
        boundary(3, "SAVEPOINT"),
        boundary(4, "ROLLBACK TO SAVEPOINT"),
        query(5, "SELECT 2"),
        boundary(6, "COMMIT"),
        query(7, "SELECT 3"),
        query(8, "ROLLBACK;"),
    )
    assert found.count == 3
    assert [each.transaction for each in found.queries] == [1, 1, 0]
    assert listed(found) == [
        "BEGIN", 1, "SAVEPOINT", "ROLLBACK TO SAVEPOINT", 2, "COMMIT", 3, "ROLLBACK;",
    ]  # fmt: skip
    (transaction,) = found.transactions
    assert (transaction.outcome, transaction.queries) == ("COMMIT", 2)
    assert transaction.duration == pytest.approx(0.051)
    assert listed(found, only="slow") == []
    assert listed(found, sort="time") == [1, 2, 3]


def test_an_end_that_tells_its_length_tells_the_beginning() -> None:
    found = view(
        query(1, "SELECT 0"),
        query(2, "SELECT 1"),
        query(3, "SELECT 2"),
        boundary(4, "COMMIT", **{"transaction.duration": 0.0205}),
        query(5, "SELECT 3"),
    )
    assert listed(found) == [1, "BEGIN (implicit)", 2, 3, "COMMIT", 4]
    assert [each.transaction for each in found.queries] == [0, 1, 1, 0]
    (transaction,) = found.transactions
    assert (transaction.duration, transaction.queries) == (pytest.approx(0.021), 2)


def test_of_overlapping_transactions_nothing_is_claimed() -> None:
    found = view(
        boundary(1, "BEGIN"),
        boundary(2, "BEGIN"),
        query(3, "SELECT 1"),
        query(4, "SELECT 2", **{"db.namespace": "another"}),
        boundary(5, "COMMIT"),
        boundary(6, "COMMIT"),
    )
    assert [each.transaction for each in found.queries] == [0, 0]
    assert [each.outcome for each in found.transactions] == ["COMMIT", ""]


def test_a_page_has_the_boundaries_between_its_queries() -> None:
    spans = [query(number, f"SELECT {number}") for number in range(1, 251)]
    found = view(boundary(0, "BEGIN"), *spans, boundary(300, "COMMIT"))
    assert (listed(found)[0], listed(found, from_="201")[-1]) == ("BEGIN", "COMMIT")
    assert len(listed(found, from_="101")) == 100


# What a query ran in, and what the database said.


def test_what_a_query_ran_in() -> None:
    def above(number: int, parent: int | None, name: str, **attributes: Any) -> Span:
        server = f"{parent:016x}" if parent else "f" * 16
        return dataclasses.replace(
            query(number, "", **attributes),
            parent_id=server,
            name=name,
            kind=Kind.INTERNAL,
            attributes=attributes,
        )

    found = view(
        above(1, None, "get_db"),
        above(2, 1, "task load", **{"asyncio.task.name": "Task-1"}),
        above(3, 2, "render order.html", **{"template.name": "order.html"}),
        dataclasses.replace(query(4, "SELECT 1"), parent_id=f"{3:016x}"),
    )
    assert [(each.name, each.kind) for each in found.queries[0].around] == [
        ("render order.html", "template"),
        ("task load", "task"),
        ("get_db", "span"),
    ]
    assert found.listed({"q": "order.html"}).found == 1


def test_the_databases_own_code() -> None:
    told: dict[str, Any] = {"db.response.status_code": "23505", "error.type": "UniqueViolation"}
    (failed,) = view(query(1, "INSERT INTO a VALUES (1)", status=Status.ERROR, **told)).queries
    assert (failed.error_code, failed.error_type, failed.reads_only) == (
        "23505",
        "UniqueViolation",
        False,
    )


def test_hints_come_with_their_queries() -> None:
    told: dict[str, Any] = {
        "db.response.returned_rows": 9000,
        "code.file.path": "/app/a.py",
        "code.line.number": 3,
    }
    (hint,) = view(query(1, "SELECT id FROM products", **told)).hints
    assert (hint.rule, hint.severity, hint.queries) == ("missing-limit", "warn", (1,))
    assert hint.place is not None
    assert hint.place.link == "vscode://file/app/a.py:3"


@pytest.mark.parametrize("name", recorded.NAMES)
@pytest.mark.parametrize("panel", panels.load(), ids=lambda panel: panel.id)
def test_a_glance_sees_what_the_view_says(name: str, panel: panels.Panel) -> None:
    trace, options = recorded.load(name), Settings()
    assert panels.view(panel, trace, options).badge == panel.badge(panel.view(trace, options))
