"""The shop's pages that show outgoing calls, a cache, log records and a websocket, as a visitor meets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.servers.serving import EXAMPLES, Server, serving, wait_for


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("shop")
    with serving(
        EXAMPLES / "shop", folder, environment={"OTEL_PYTHON_DISTRO": "otel_toolbar"}
    ) as server:
        yield server


def trace_of(shop: Server, name: str) -> str:
    def newest() -> Any:
        found = shop.get("/_toolbar/api/traces?limit=500").json()["traces"]
        return next((each["trace_id"] for each in found if each["name"] == name), None)

    return wait_for(newest)


def panel(shop: Server, name: str, panel_id: str) -> Any:
    return shop.get(f"/_toolbar/api/traces/{trace_of(shop, name)}/panels/{panel_id}").json()


def test_delivery(shop: Server) -> None:
    page = shop.get("/delivery?weight=2")
    assert page.status_code == 200
    assert "€5.80" in page.text
    assert "$6.26" in page.text
    calls = panel(shop, "GET /delivery", "http")
    assert calls["count"] == 4
    assert {each["status"] for each in calls["calls"]} == {200}
    asked = panel(shop, "GET /delivery", "cache")
    assert (asked["hits"], asked["misses"]) == (0, 1)

    heavy = shop.get("/delivery?weight=40")
    assert "Slow Boat" in heavy.text
    assert "Gull Express" not in heavy.text
    asked = panel(shop, "GET /delivery", "cache")
    assert (asked["hits"], asked["misses"]) == (1, 0)
    logged = panel(shop, "GET /delivery", "logs")
    assert "Gull Express takes no parcel of 40 kg" in json.dumps(logged)


def test_help(shop: Server) -> None:
    assert shop.get("/help").status_code == 200
    with connect(shop.url.replace("http", "ws") + "/help/chat") as socket:
        assert json.loads(socket.recv())["products"] == []
        socket.send("tea")
        answer = json.loads(socket.recv())
        assert len(answer["products"]) >= 1
        socket.send("%")  # no wildcard
        assert json.loads(socket.recv())["products"] == []
    (connection,) = panel(shop, "/help/chat", "websockets")["connections"]
    assert connection["state"] == "closed"
