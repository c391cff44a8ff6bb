"""Litestar's stores, its response cache, and aiocache: seen, and as they are without us."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from aiocache import RedisCache, SimpleMemoryCache, cached
from aiocache.serializers import PickleSerializer
from inline_snapshot import snapshot
from litestar import Litestar, get
from litestar.stores.base import Store
from litestar.stores.file import FileStore
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore

from otel_toolbar.settings import Settings
from otel_toolbar.signals import cache
from otel_toolbar.signals.cache import stores
from otel_toolbar.signals.core import places
from tests.clients.conftest import during_a_request
from tests.redis_server import Redis
from tests.telemetry import Telemetry, exchange, http_scope, watched


def calls(signals: Telemetry) -> list[dict[str, Any]]:
    """The spans below the request, their names with their cache's facts."""
    return [
        {"name": span["name"], "parent": span["parent"]}
        | {
            key.removeprefix("cache."): value
            for key, value in span["attributes"].items()
            if key.startswith(("cache.", "error"))
        }
        for span in signals.snapshot()
        if span["kind"] == "CLIENT"
    ]


async def used(store: Store) -> list[Any]:
    """All that a store does, and what it returns."""
    return [
        await store.set("a", "text"),
        await store.get("a"),
        await store.get(key="none"),
        await store.exists("a"),
        await store.set("b", b"bytes", expires_in=10),
        await store.get("b", renew_for=10),
        await store.delete("a"),
        await store.delete_all(),
    ]


RETURNED = [None, b"text", None, True, None, b"bytes", None, None]


@pytest.mark.parametrize("kind", ["memory", "file", "redis"])
async def test_litestar_stores(signals: Telemetry, redis: Redis, tmp_path: Path, kind: str) -> None:
    client = open_redis(redis)
    store: Store = {
        "memory": MemoryStore,
        "file": lambda: FileStore(tmp_path),
        "redis": lambda: RedisStore(client),
    }[kind]()
    try:
        assert await during_a_request(lambda: used(store)) == RETURNED
    finally:
        await client.aclose()
    whole = calls(signals)
    found = [call for call in whole if call["system"] == f"litestar.{kind}"]
    if kind == "file":  # it renews by writing again
        assert found.pop(6)["operation"] == "SET"
    assert [{k: v for k, v in call.items() if k not in ("system", "parent")} for call in found] == [
        {"name": "SET", "operation": "SET", "key": "a", "item.size": 4},
        {"name": "GET", "operation": "GET", "key": "a", "hit": True, "item.size": 4},
        {"name": "GET", "operation": "GET", "key": "none", "hit": False},
        {"name": "EXISTS", "operation": "EXISTS", "key": "a"},
        {"name": "SET", "operation": "SET", "key": "b", "item.size": 5},
        {"name": "GET", "operation": "GET", "key": "b", "hit": True, "item.size": 5},
        {"name": "DELETE", "operation": "DELETE", "key": "a"},
        {"name": "DELETE_ALL", "operation": "DELETE_ALL"},
    ]
    inner = [call for call in calls(signals) if call["system"] == "redis"]
    assert bool(inner) is (kind == "redis")
    assert {call["parent"] for call in inner} <= {"SET", "GET", "EXISTS", "DELETE", "DELETE_ALL"}


def open_redis(server: Redis) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(server.url())


async def test_the_response_cache(signals: Telemetry) -> None:
    @get("/items", cache=True)
    async def items() -> list[int]:
        return [1, 2]

    app = watched(Litestar([items], openapi_config=None))
    bodies = [(await exchange(app, http_scope("/items"))).body for _ in range(2)]
    assert bodies == [b"[1,2]", b"[1,2]"]
    found = [(call["operation"], call["key"], call.get("hit")) for call in calls(signals)]
    assert found == snapshot(
        [("GET", "GET/items", False), ("SET", "GET/items", None), ("GET", "GET/items", True)]
    )


async def test_aiocache(signals: Telemetry) -> None:
    memory = SimpleMemoryCache(namespace="t")
    value = {"an": "object"}

    async def work() -> list[Any]:
        return [
            await memory.set("a", value),
            await memory.get("a"),
            await memory.get("none"),
            await memory.get("none", default=7),
            await memory.multi_set([("b", "1"), ("c", b"22")]),
            await memory.multi_get(["b", "c", "d"]),
            await memory.add("n", 1),
            await memory.increment("n"),
            await memory.exists("a"),
            await memory.delete("a"),
            await memory.clear(),
        ]

    result = await during_a_request(work)
    assert result == [True, value, None, 7, True, ["1", b"22", None], True, 2, True, 1, True]
    assert result[1] is value
    assert [
        {k: v for k, v in call.items() if k not in ("name", "parent")} for call in calls(signals)
    ] == snapshot(
        [
            {"item.size": 8, "key": "a", "operation": "SET", "system": "aiocache.memory"},
            {
                "hit": True,
                "item.size": 8,
                "key": "a",
                "operation": "GET",
                "system": "aiocache.memory",
            },
            {"hit": False, "key": "none", "operation": "GET", "system": "aiocache.memory"},
            {"hit": False, "key": "none", "operation": "GET", "system": "aiocache.memory"},
            {
                "key": "b, c",
                "key_count": 2,
                "keys": ["b", "c"],
                "operation": "MULTI_SET",
                "system": "aiocache.memory",
            },
            {
                "hits": 2,
                "item.size": 3,
                "key": "b, c, d",
                "key_count": 3,
                "keys": ["b", "c", "d"],
                "misses": 1,
                "operation": "MULTI_GET",
                "system": "aiocache.memory",
            },
            {"item.size": 1, "key": "n", "operation": "ADD", "system": "aiocache.memory"},
            {"key": "n", "operation": "INCREMENT", "system": "aiocache.memory"},
            {"key": "a", "operation": "EXISTS", "system": "aiocache.memory"},
            {"key": "a", "operation": "DELETE", "system": "aiocache.memory"},
            {"operation": "CLEAR", "system": "aiocache.memory"},
        ]
    )


async def test_aiocache_on_redis_and_its_decorator(signals: Telemetry, redis: Redis) -> None:
    made = 0

    @cached(
        cache=RedisCache,
        key_builder=lambda _f, number: f"square:{number}",
        endpoint="127.0.0.1",
        port=redis.port,
        serializer=PickleSerializer(),
    )
    async def square(number: int) -> int:
        nonlocal made
        made += 1
        return number * number

    async def work() -> list[int]:
        return [await square(3), await square(3)]

    try:
        assert await during_a_request(work) == [9, 9]
    finally:
        await square.cache.client.aclose()
    assert made == 1
    outer = [call for call in calls(signals) if call["system"] == "aiocache.redis"]
    assert [(call["operation"], call["key"], call.get("hit")) for call in outer] == [
        ("GET", "square:3", False),
        ("SET", "square:3", None),
        ("GET", "square:3", True),
    ]


async def test_errors_and_cancellation(signals: Telemetry) -> None:
    class Broken(SimpleMemoryCache):
        async def _get(self, key: str, encoding: Any = None, _conn: Any = None) -> Any:
            raise ValueError("token=hunter2hunter2")

        async def _exists(self, key: str, _conn: Any = None) -> Any:
            await asyncio.sleep(10)

    async def work() -> None:
        found = Broken()
        with pytest.raises(ValueError, match="hunter2"):
            await found.get("a")
        task = asyncio.ensure_future(found.exists("b"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await found.exists("c", timeout=0.01)

    await during_a_request(work)
    failed, cancelled, late = [each for each in signals.snapshot() if each["kind"] == "CLIENT"]
    assert (failed["status"], failed["attributes"]["error.type"]) == ("ERROR", "ValueError")
    assert "hunter2" not in repr(failed)
    assert "status" not in cancelled
    assert late["status"] == "ERROR"


async def test_a_fault_in_any_hook_leaves_the_app_alone(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("ours")

    for module, name in (
        (stores, "_keys"),
        (stores.keys, "size"),
        (stores.exceptions, "record"),
        (stores.otel_context, "detach"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            store = MemoryStore()

            async def work(store: Store = store) -> Any:
                await store.set("a", "1")
                return await store.get("a")

            assert await during_a_request(work) == b"1"

            async def raising() -> None:
                found = SimpleMemoryCache()
                await found.set("word", "not a number")
                await found.increment("word")

            with pytest.raises(TypeError):
                await during_a_request(raising)
    reported = {each.getMessage().partition(" failed")[0] for each in caplog.records}
    assert reported >= {
        f"otel-toolbar: {place} of a {what}"
        for place, what in (
            ("call", "cache"),
            ("error", "cache"),
            ("answer", "cache"),
            ("end", "call of a cache"),
        )
    }


async def test_switched_off_and_outside_of_a_request(signals: Telemetry) -> None:
    store = MemoryStore()
    await store.set("a", "1")
    assert [call["operation"] for call in calls(signals)] == ["SET"]  # a trace of its own
    cache.uninstall()
    assert await store.get("a") == b"1"
    assert len(calls(signals)) == 1


async def test_a_version_without_the_method_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "otel_toolbar"):
        stores._when_imported(
            "litestar.stores.memory", "MemoryStore", ("no_such",), "litestar.memory"
        )
    assert "MemoryStore.no_such are not shown" in caplog.text


async def test_a_place_that_fails_costs_the_place_only(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(places.callsite, "stack", broken)
    assert await during_a_request(lambda: MemoryStore().get("a")) is None
    (call,) = [each for each in signals.snapshot() if each["kind"] == "CLIENT"]
    assert call["attributes"]["cache.key"] == "a"
    assert "code.file.path" not in call["attributes"]


async def test_stacks_switched_off(signals: Telemetry) -> None:
    places.configure(Settings(stacks=False))
    try:
        await during_a_request(lambda: MemoryStore().get("a"))
    finally:
        places.configure(Settings())
    (call,) = [each for each in signals.snapshot() if each["kind"] == "CLIENT"]
    assert call["attributes"]["code.file.path"] == "/tests/clients/conftest.py"
    assert "code.stacktrace" not in call["attributes"]


async def test_several_keys_from_an_iterator_are_left_to_the_cache(signals: Telemetry) -> None:
    memory = SimpleMemoryCache()
    assert await memory.multi_get(key for key in ("x", "y")) == [None, None]
    assert calls(signals)[0]["misses"] == 2
    assert "key" not in calls(signals)[0]
