"""Hints on traces from anywhere: other drivers' placeholders, transactions, nonsense, and many queries."""

from __future__ import annotations

from typing import Any

import pytest

from otel_toolbar import guard
from otel_toolbar.insights import hints
from otel_toolbar.insights.hint import Hint
from otel_toolbar.insights.hints import structure
from otel_toolbar.model import Trace
from tests import recorded

MS = 1_000_000


def trace(*spans: dict[str, Any], end: int = 10_000 * MS) -> Trace:
    """A request with these spans in it; times in ms."""
    request = {"id": "0" * 16, "name": "GET /", "kind": "server", "start": 0, "end": end}
    children = [
        {
            "id": f"{number:016x}",
            "parent": "0" * 16,
            "name": "query",
            "kind": "client",
            **span,
            "start": span.get("start", number) * MS,
            "end": span.get("end", number + 1) * MS,
        }
        for number, span in enumerate(spans, 1)
    ]
    data = {"trace_id": "a" * 32, "start": 0, "now": end, "spans": [request, *children]}
    return recorded.parse(data)


def query(
    text: str, system: str = "postgresql", rows: int | None = None, **more: Any
) -> dict[str, Any]:
    attributes = {
        "db.system.name": system,
        "db.query.text": text,
        "code.file.path": "/app/a.py",
        "code.line.number": 7,
        **{f"db.query.parameter.{key}": value for key, value in more.pop("values", {}).items()},
        **({} if rows is None else {"db.response.returned_rows": rows}),
    }
    return {"attributes": attributes | more.pop("attributes", {}), **more}


def rules(*spans: dict[str, Any]) -> list[str]:
    return [hint.rule for hint in hints.find(trace(*spans))]


def only(*spans: dict[str, Any]) -> Hint:
    (hint,) = hints.find(trace(*spans))
    return hint


DEEP = [
    ("postgresql", "SELECT a FROM t ORDER BY a LIMIT $1 OFFSET $2", {"0": "5", "1": "4000"}),
    ("postgresql", "SELECT a FROM t ORDER BY a LIMIT $2 OFFSET $1", {"0": "4000", "1": "5"}),
    ("postgresql", "SELECT a FROM t LIMIT %(n)s::INTEGER OFFSET %(o)s::INTEGER", {"n": "5", "o": "4000"}),
    ("mysql", "SELECT a FROM t LIMIT %s, %s", {"0": "4000", "1": "5"}),
    ("mariadb", "SELECT `a` FROM `t` LIMIT %s OFFSET %s", {"n": "5", "o": "4000"}),
    ("sqlite", "SELECT a FROM t LIMIT ? OFFSET ?", {"param_1": "5", "param_2": "4000"}),
    ("oracle.db", "SELECT a FROM t OFFSET :o ROWS FETCH NEXT :n ROWS ONLY", {"o": "4000", "n": "5"}),
    ("", "SELECT a FROM t LIMIT 5 OFFSET 4000", {}),
]  # fmt: skip


@pytest.mark.parametrize(("system", "text", "values"), DEEP, ids=[case[1] for case in DEEP])
def test_values_are_found_whatever_the_placeholder(
    system: str, text: str, values: dict[str, str]
) -> None:
    hint = only(query(text, system, 5, values=values))
    assert (hint.rule, hint.figures[0].value) == ("deep-offset", 4000)


@pytest.mark.parametrize(
    "values",
    [{}, {"0": "5"}, {"0": "5", "1": "•••"}, {"0": "5", "1": "40…"}, {"0": "5", "1": "-1"}],
)
def test_values_that_are_not_known_say_nothing(values: dict[str, str]) -> None:
    assert rules(query("SELECT a FROM t LIMIT $1 OFFSET $2", values=values)) == []


def test_the_deepest_of_several_pages() -> None:
    pages = [
        query("SELECT a FROM t LIMIT 5 OFFSET $1", values={"0": str(n)}) for n in (0, 50_000, 10)
    ]
    hint = next(hint for hint in hints.find(trace(*pages)) if hint.rule == "deep-offset")
    assert (hint.spans, hint.severity) == (("0" * 15 + "2",), "warn")


CASES = [
    ("postgresql", "SELECT a FROM t WHERE name ILIKE $1::VARCHAR", {"0": "%x%"}, ["leading-wildcard"]),
    ("postgresql", "SELECT a FROM t WHERE name ILIKE $1::VARCHAR", {"0": "x%"}, []),
    ("mysql", "SELECT a FROM t WHERE name LIKE concat('%%', %s, '%%')", {"0": "x"}, ["leading-wildcard"]),
    ("postgresql", "SELECT a FROM t WHERE date_trunc('day', at) = $1", {"0": "x"}, ["function-on-column"]),
    ("mysql", "SELECT a FROM t WHERE DATE(at) BETWEEN %s AND %s", {}, ["function-on-column"]),
    ("postgresql", "SELECT a FROM t WHERE data ->> 'k' = $1", {"0": "x"}, []),
    ("postgresql", "SELECT a FROM t WHERE at > now() - interval '1 day'", {}, []),
    ("postgresql", "SELECT a.x FROM a, b WHERE a.x = 1", {}, ["cartesian-product"]),
    ("postgresql", "SELECT a.x FROM a, unnest(a.y) AS u", {}, []),
    ("postgresql", "SELECT a.x FROM a, LATERAL (SELECT 1 FROM b WHERE b.id = a.id) AS l", {}, []),
    ("postgresql", "SELECT a.x FROM a JOIN b ON a.id = b.a_id, c WHERE c.b_id = b.id", {}, []),
    ("mysql", "SELECT a.x FROM a, b WHERE a.id = b.a_id", {}, []),
    ("mysql", "SELECT a.x FROM a, b", {}, ["cartesian-product"]),
    ("mysql", "SELECT a FROM t ORDER BY RAND() LIMIT 3", {}, ["order-by-random"]),
    ("microsoft.sql_server", "SELECT TOP 3 a FROM t ORDER BY NEWID()", {}, ["order-by-random"]),
    ("postgresql", "SELECT a FROM t ORDER BY random() LIMIT 3", {}, ["order-by-random"]),
    ("postgresql", "SELECT 1 WHERE (SELECT count(*) FROM t) > $1", {"0": "0"}, ["count-for-existence"]),
    ("postgresql", "SELECT 1 WHERE (SELECT count(*) FROM t) > $1", {"0": "7"}, []),
    ("postgresql", "SELECT 1 WHERE 1 > (SELECT count(*) FROM t)", {}, ["count-for-existence"]),
    ("postgresql", "SELECT 1 WHERE (SELECT count(*) FROM t GROUP BY a) > 0", {}, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("system", "text", "values", "label"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES]
)
def test_dialects(system: str, text: str, values: dict[str, str], label: list[str]) -> None:
    assert rules(query(text, system, values=values)) == label


# Transactions.


def commit(duration: float, start: int, end: int, operation: str = "COMMIT") -> dict[str, Any]:
    attributes = {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "transaction.duration": duration,
    }
    return {"name": operation, "start": start, "end": end, "attributes": attributes}


CALL = {
    "name": "GET https://slow/",
    "start": 100,
    "end": 700,
    "attributes": {"http.request.method": "GET"},
}


def at(start: int, end: int) -> dict[str, Any]:
    return query("SELECT a FROM t WHERE id = 1", start=start, end=end)


TRANSACTIONS = [
    ("short", [at(0, 9), commit(0.01, 9, 10)], []),
    ("long, and busy", [at(0, 595), commit(0.6, 595, 600)], ["long-transaction"]),
    ("busy with several", [at(0, 300), at(200, 595), commit(0.6, 595, 600)], ["long-transaction"]),
    (
        "waiting for another service",
        [at(0, 50), CALL, commit(0.8, 795, 800)],
        ["long-transaction", "idle-in-transaction"],
    ),
    ("waiting, not long", [at(0, 50), commit(0.3, 295, 300)], ["idle-in-transaction"]),
    ("waiting before it", [{**CALL}, at(700, 750), commit(0.1, 795, 800)], []),
    ("a savepoint", [commit(0.9, 895, 900, "RELEASE SAVEPOINT")], []),
    ("nonsense", [commit("x", 1, 2), commit(float("nan"), 1, 2)], []),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize(
    ("spans", "label"), [case[1:] for case in TRANSACTIONS], ids=[case[0] for case in TRANSACTIONS]
)
def test_transactions(spans: list[dict[str, Any]], label: list[str]) -> None:
    assert rules(*spans) == label


def test_what_the_transaction_waited_for() -> None:
    found = hints.find(trace(at(0, 50), CALL, commit(0.8, 795, 800)))
    assert found[1].evidence == (
        "For 0.74 s of the 0.80 s that the transaction was open, no query ran, 0.60 s of it in"
        " GET https://slow/."
    )
    assert len(found[1].spans) == 2


def test_other_requests_do_not_count() -> None:
    request = {"id": "1" * 16, "name": "GET /b", "kind": "server", "start": 0, "end": 900}
    elsewhere = at(0, 795) | {"id": "2" * 16, "parent": "1" * 16}
    assert rules(request, elsewhere, at(0, 10), commit(0.4, 395, 400)) == ["idle-in-transaction"]


# Bounds.


def test_what_cannot_be_parsed_has_no_structure() -> None:
    broken = "SELECT (a FROM t WHERE lower(x) = 'a' ORDER BY random( LIMIT 3 OFFSET 9999"
    assert rules(query(broken)) == []
    nested = "SELECT " + "(" * 3000 + "1" + ")" * 3000 + " FROM t WHERE lower(a) = 1 OFFSET 9999"
    assert rules(query(nested)) == []


def test_only_so_much_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    real = structure._parse

    def counted(text: str, system: str) -> Any:
        parsed.append(text)
        return real(text, system)

    monkeypatch.setattr(structure, "_parse", counted)
    monkeypatch.setattr(structure, "MAX_CHARACTERS", 200)
    many = [query(f"SELECT a FROM t{number} WHERE lower(b) = 'x'") for number in range(20)]
    assert len(rules(*many)) == len(parsed)
    assert sum(map(len, parsed)) <= 200


def test_one_statement_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    structure._parse.cache_clear()
    like = [
        query("SELECT a FROM t WHERE id = $1 AND lower(b) = 'x'", values={"0": str(number)})
        for number in range(2000)
    ]
    hints.find(trace(*like))
    assert structure._parse.cache_info().misses == 1


def test_a_broken_rule_costs_its_own_hints_only(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[str] = []
    monkeypatch.setattr(guard, "failed", failed.append)

    def broken(_: Trace) -> Any:
        raise RuntimeError

    first = hints.RULES[0]
    monkeypatch.setattr(
        hints, "RULES", (type(first)(**{**vars(first), "find": broken}), *hints.RULES[1:])
    )
    assert rules(query("SELECT a FROM t ORDER BY random() LIMIT 3")) == ["order-by-random"]
    assert failed == [f"hints of the rule {first.id}"]


def test_found_once_for_a_trace() -> None:
    found = trace(query("SELECT a FROM t ORDER BY random() LIMIT 3"))
    assert hints.find(found) is hints.find(found)


def test_without_a_place() -> None:
    bare = {"attributes": {"db.system": "mysql", "db.statement": "SELECT a.x FROM a, b"}}
    assert only(bare).place is None


@pytest.mark.parametrize("name", recorded.NAMES)
def test_recorded_traces(name: str) -> None:
    for hint in hints.find(recorded.load(name)):
        assert hint.spans
        assert hint.evidence


def test_rules_are_described() -> None:
    ids = [rule.id for rule in hints.RULES]
    assert len(set(ids)) == len(ids)
    for rule in hints.RULES:
        assert rule.when.endswith(".")
        assert rule.evidence.endswith(".")
        assert rule.fix.endswith(".")
        assert rule.link.startswith("https://")
