"""Plans of databases that no test here talks to. MySQL 8's form is written after its manual."""

from __future__ import annotations

from otel_toolbar.insights.plans import mysql, redact, sqlite

MYSQL_8 = {
    "query_block": {
        "select_id": 1,
        "cost_info": {"query_cost": "40.00"},
        "ordering_operation": {
            "using_temporary_table": True,
            "using_filesort": True,
            "nested_loop": [
                {
                    "table": {
                        "table_name": "o",
                        "access_type": "ALL",
                        "rows_examined_per_scan": 20000,
                        "filtered": "10.00",
                        "cost_info": {
                            "read_cost": "20.00", "eval_cost": "10.00", "prefix_cost": "30.00",
                        },
                        "attached_condition": "(`shop`.`o`.`note` = 'canary')",
                    }
                },
                {
                    "table": {
                        "table_name": "c",
                        "access_type": "eq_ref",
                        "key": "PRIMARY",
                        "rows_examined_per_scan": 1,
                        "cost_info": {
                            "read_cost": "5.00", "eval_cost": "5.00", "prefix_cost": "40.00",
                        },
                    }
                },
            ],
        },
    }
}  # fmt: skip


def test_mysql_8() -> None:
    (top,), duration = mysql.read(MYSQL_8)
    assert duration is None
    assert top.cost == 40
    sort, orders, customers = list(top.walk())[1:]
    assert (sort.kind, sort.notes) == ("sort", ("using filesort", "using a temporary table"))
    assert (orders.kind, orders.alias, orders.rows, orders.share) == ("scan", "o", 20000, 0.75)
    assert orders.conditions == (("attached condition", "(`shop`.`o`.`note` = ?)"),)
    assert (customers.kind, customers.index, customers.share) == ("search", "PRIMARY", 0.25)
    assert "canary" not in str(redact.whole(MYSQL_8, mysql=True))


def test_an_old_sqlite() -> None:
    first, second, third = sqlite.read(
        [
            (2, 0, 0, "SCAN TABLE orders AS o"),
            (3, 0, 0, "SEARCH TABLE c USING AUTOMATIC COVERING INDEX (id=?)"),
            (4, 0, 0, "USE TEMP B-TREE FOR ORDER BY"),
        ]
    )
    assert (first.kind, first.alias) == ("scan", "o")
    assert (second.kind, second.index, second.notes) == ("search", "", (sqlite.AUTOMATIC,))
    assert third.kind == "sort"
