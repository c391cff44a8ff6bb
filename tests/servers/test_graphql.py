"""A Strawberry schema on a real server under `opentelemetry-instrument`, no line of it changed."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from .serving import EXAMPLES, NO_PROXY, Server, serving, wait_for

APPS = Path(__file__).parent / "apps"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}
PAGE = "query Page($first: Int!) { orders(first: $first) { id customer { name } loaded invoice } }"


def ask(running: Server, body: Any) -> httpx.Response:
    answer = httpx.post(running.url + "/graphql", json=body, **NO_PROXY)
    assert answer.status_code == 200, (answer.text, running.log)
    return answer


def panel_of(running: Server, answer: httpx.Response, name: str = "graphql") -> Any:
    return running.api(f"traces/{running.trace_of(answer)}/panels/{name}")


def test_panels_of_a_real_app(tmp_path: Path) -> None:
    with serving(APPS, tmp_path, target="graph:app", environment=OURS) as running:
        answer = ask(running, {"query": PAGE, "variables": {"first": 6, "password": "hunter2"}})
        view, errors = panel_of(running, answer), panel_of(running, answer, "errors")
        alerts = panel_of(running, answer, "alerts")
        logs = panel_of(running, answer, "logs")
        page = running.get(f"/_toolbar/t/{running.trace_of(answer)}?panel=graphql").text
        assert "otel-toolbar:" not in running.log, "no hook has failed"
    (operation,) = view["operations"]
    assert (operation["type"], operation["name"]) == ("query", "Page")
    assert operation["variables"] == [
        {"name": "first", "value": "6"},
        {"name": "password", "value": "***"},
    ]
    assert (operation["depth"], operation["fields"], operation["aliases"]) == (3, 6, 0)
    rows = {each["path"]: each for each in operation["resolvers"]}
    assert {
        path: (each["count"], each["queries"], each["errors"]) for path, each in rows.items()
    } == {
        "orders": (1, 0, 0),
        "orders.*.customer": (6, 0, 0),
        "orders.*.customer.name": (6, 6, 0),
        "orders.*.loaded": (6, 1, 0),
        "orders.*.invoice": (6, 0, 1),
    }
    assert rows["orders.*.invoice"]["place"]["path"].endswith("apps/graph.py")
    (error,) = operation["errors"]
    assert (error["path"], error["message"]) == ("orders.1.invoice", "no invoice; password=***")
    assert error["place"]["function"] == "invoice"
    assert [hint["evidence"].partition(",")[0] for hint in view["hints"]] == [
        "`orders.*.customer.name` was resolved 6 times"
    ]
    (told,) = errors["errors"]
    assert (told["type"], told["count"], told["span"]) == (
        "RuntimeError",
        1,
        "resolve Order.invoice",
    )
    assert "RuntimeError: no invoice" in json.dumps(alerts)
    assert "hunter2" not in json.dumps([view, errors, alerts, logs])
    assert "Resolved one by one" in page


def test_a_batch_and_a_mutation(tmp_path: Path) -> None:
    login = 'mutation { login(name: "ann", password: "hunter2-Zk3") }'
    with serving(APPS, tmp_path, target="graph:app", environment=OURS) as running:
        answer = ask(running, [{"query": login}, {"query": "query Two { orders { id } }"}])
        view = panel_of(running, answer)
    assert answer.json()[0] == {"data": {"login": True}}
    assert [(each["type"], each["name"]) for each in view["operations"]] == [
        ("mutation", ""),
        ("query", "Two"),
    ]
    assert view["operations"][0]["document"] == 'mutation { login(name: "ann", password: "***") }'


def test_a_subscription(tmp_path: Path) -> None:
    with serving(APPS, tmp_path, target="graph:app", environment=OURS) as running:
        url = running.url.replace("http", "ws") + "/graphql"
        with connect(url, subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]
            socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(socket.recv())["type"] == "connection_ack"
            query = "subscription Ticks { ticks(to: 3) { id customer { name } } }"
            socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
            kinds = [json.loads(socket.recv())["type"] for _ in range(4)]
        assert kinds == ["next", "next", "next", "complete"]

        def seen() -> Any:
            for each in running.traces():
                view = running.api(f"traces/{each['trace_id']}/panels/graphql")
                if view["count"] and not view["running"]:
                    return view
            return None

        view = wait_for(seen, 10, lambda: running.log)
        assert "Traceback" not in running.log
    (operation,) = view["operations"]
    assert (operation["type"], operation["name"], operation["results"]) == (
        "subscription",
        "Ticks",
        3,
    )
    assert {each["path"]: (each["count"], each["queries"]) for each in operation["resolvers"]} == {
        "ticks.customer": (3, 0),
        "ticks.customer.name": (3, 3),
    }


@pytest.mark.parametrize("environment", [{"OTEL_TOOLBAR_SIGNALS": "-graphql"}, {}])
def test_the_answers_are_the_same(environment: dict[str, str], tmp_path: Path) -> None:
    asked = {"query": PAGE, "variables": {"first": 3}}
    with serving(APPS, tmp_path, target="graph:app", instrument=False) as running:
        bare = ask(running, asked).content
    with serving(APPS, tmp_path, target="graph:app", environment=OURS | environment) as running:
        answer = ask(running, asked)
        assert panel_of(running, answer)["count"] == (0 if environment else 1)
    assert answer.content == bare


def test_the_example(tmp_path: Path) -> None:
    with serving(EXAMPLES / "graphql_app", tmp_path, environment=OURS) as running:
        home = running.get("/").text
        pages = [html.unescape(path) for path in re.findall(r'href="(/graphql\?[^"]+)"', home)]
        answers = [running.get(page) for page in pages]
        views = [panel_of(running, answer) for answer in answers]
    found = [
        [
            (each["path"], each["count"], each["queries"], each["errors"])
            for each in operation["resolvers"]
        ]
        for view in views
        for operation in view["operations"]
    ]
    assert found == [
        [("authors", 1, 1, 0), ("authors.*.titles", 6, 6, 0)],
        [("authors", 1, 1, 0), ("authors.*.titlesAtOnce", 6, 1, 0)],
        [("authors", 1, 1, 0), ("authors.*.loan", 6, 0, 1)],
    ]
    assert [len(view["hints"]) for view in views] == [1, 0, 0]
