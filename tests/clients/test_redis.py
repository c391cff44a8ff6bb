"""redis-py on a real Redis: what its spans say, and that it does what it does without us."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import redis
import redis.asyncio
from inline_snapshot import snapshot
from litestar.stores.memory import MemoryStore
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.trace import SpanKind

from otel_toolbar.settings import Settings
from otel_toolbar.signals import cache, queries
from otel_toolbar.signals.cache import keys
from otel_toolbar.signals.cache import redis as hooks
from otel_toolbar.signals.core import masking
from tests.clients.conftest import during_a_request
from tests.external.parts import free_addresses
from tests.redis_server import Redis
from tests.telemetry import Telemetry

SECRET = "hunter2hunter2"


def facts(signals: Telemetry) -> list[dict[str, Any]]:
    """The cache's own facts of each span, in order."""
    return [
        {
            key.removeprefix("cache."): value
            for key, value in span["attributes"].items()
            if key.startswith("cache.")
        }
        for span in signals.snapshot()
        if span["kind"] == "CLIENT"
    ]


async def test_what_a_command_says(signals: Telemetry, redis: Redis) -> None:
    async def work() -> Any:
        async with open_async(redis) as client:
            await client.set("user:1", "Ada")
            return await client.get("user:1"), await client.get("user:2")

    assert await during_a_request(work) == (b"Ada", None)
    found = signals.snapshot()
    for span in found:
        if span["attributes"].get("server.port") == redis.port:
            span["attributes"]["server.port"] = 6379
    assert found == snapshot(
        [
            {
                "name": "GET",
                "kind": "SERVER",
                "parent": None,
                "attributes": {
                    "client.address": "127.0.0.1",
                    "client.port": 5000,
                    "http.request.body.size": 0,
                    "http.request.header.host": ["localhost:8000"],
                    "http.request.method": "GET",
                    "http.response.body.size": 2,
                    "http.response.status_code": 200,
                    "network.protocol.version": "1.1",
                    "server.address": "localhost",
                    "server.port": 8000,
                    "toolbar.cpu.time": "...",
                    "toolbar.framework": "asgi",
                    "toolbar.jobs.count": 0,
                    "toolbar.jobs.n_plus_one.count": 0,
                    "toolbar.n_plus_one.count": 0,
                    "toolbar.queries.count": 0,
                    "toolbar.queries.duration": "...",
                    "toolbar.response.chunks": 1,
                    "toolbar.response.first_byte": "...",
                    "url.path": "/",
                    "url.scheme": "http",
                },
            },
            {
                "name": "SET",
                "kind": "CLIENT",
                "parent": "GET",
                "attributes": {
                    "cache.item.size": 3,
                    "cache.key": "user:1",
                    "cache.operation": "SET",
                    "cache.system": "redis",
                    "code.file.path": "/tests/clients/test_redis.py",
                    "code.function.name": "tests.clients.test_redis.work",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "db.query.text": "SET ? ?",
                    "db.redis.args_length": 3,
                    "db.system.name": "redis",
                    "network.transport": "tcp",
                    "server.address": "127.0.0.1",
                    "server.port": 6379,
                },
            },
            {
                "name": "GET",
                "kind": "CLIENT",
                "parent": "GET",
                "attributes": {
                    "cache.hit": True,
                    "cache.item.size": 3,
                    "cache.key": "user:1",
                    "cache.operation": "GET",
                    "cache.system": "redis",
                    "code.file.path": "/tests/clients/test_redis.py",
                    "code.function.name": "tests.clients.test_redis.work",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "db.query.text": "GET ?",
                    "db.redis.args_length": 2,
                    "db.system.name": "redis",
                    "network.transport": "tcp",
                    "server.address": "127.0.0.1",
                    "server.port": 6379,
                },
            },
            {
                "name": "GET",
                "kind": "CLIENT",
                "parent": "GET",
                "attributes": {
                    "cache.hit": False,
                    "cache.key": "user:2",
                    "cache.operation": "GET",
                    "cache.system": "redis",
                    "code.file.path": "/tests/clients/test_redis.py",
                    "code.function.name": "tests.clients.test_redis.work",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "db.query.text": "GET ?",
                    "db.redis.args_length": 2,
                    "db.system.name": "redis",
                    "network.transport": "tcp",
                    "server.address": "127.0.0.1",
                    "server.port": 6379,
                },
            },
        ]
    )


def open_async(server: Redis, **more: Any) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(server.url(), **more)


def test_sync(signals: Telemetry, redis: Redis) -> None:
    with open_sync(redis) as client:
        client.set("a", b"12345")
        assert client.get("a") == b"12345"
        assert client.get("b") is None
    assert facts(signals) == [
        {"system": "redis", "operation": "SET", "key": "a", "item.size": 5},
        {"system": "redis", "operation": "GET", "key": "a", "item.size": 5, "hit": True},
        {"system": "redis", "operation": "GET", "key": "b", "hit": False},
    ]


def open_sync(server: Redis, **more: Any) -> redis.Redis:
    return redis.Redis.from_url(server.url(), **more)


def test_commands_of_all_kinds(signals: Telemetry, redis: Redis) -> None:
    with open_sync(redis, decode_responses=True) as client:
        client.mset({"a": "1", "b": "22"})
        assert client.mget(["a", "b", "c"]) == ["1", "22", None]
        client.hset("h", mapping={"x": 1, "y": "zwei"})
        assert client.hgetall("h") == {"x": "1", "y": "zwei"}
        assert client.hgetall("none") == {}
        assert client.hmget("h", ["x", "no"]) == ["1", None]
        assert client.incr("n") == 1
        assert client.execute_command("SETEX", "e", 10, "ü")
        assert client.get("e") == "ü"
        assert client.eval("return redis.call('GET', KEYS[1])", 1, "a") == "1"
        assert client.delete("a", "b") == 2
        assert client.ping()
    assert facts(signals) == [
        {"system": "redis", "operation": "MSET", "key": "a, b", "keys": ["a", "b"], "key_count": 2, "item.size": 3},
        {"system": "redis", "operation": "MGET", "key": "a, b, c", "keys": ["a", "b", "c"], "key_count": 3, "hits": 2,
         "misses": 1, "item.size": 3},
        {"system": "redis", "operation": "HSET", "key": "h", "item.size": 5},
        {"system": "redis", "operation": "HGETALL", "key": "h", "hit": True, "item.size": 7},
        {"system": "redis", "operation": "HGETALL", "key": "none", "hit": False},
        {"system": "redis", "operation": "HMGET", "key": "h", "hits": 1, "misses": 1, "item.size": 1},
        {"system": "redis", "operation": "INCRBY", "key": "n"},
        {"system": "redis", "operation": "SETEX", "key": "e", "item.size": 2},
        {"system": "redis", "operation": "GET", "key": "e", "hit": True, "item.size": 2},
        {"system": "redis", "operation": "EVAL", "key": "a"},
        {"system": "redis", "operation": "DEL", "key": "a, b", "keys": ["a", "b"], "key_count": 2},
        {"system": "redis", "operation": "PING"},
    ]  # fmt: skip


async def test_pipelines(signals: Telemetry, redis: Redis) -> None:
    async def work() -> Any:
        async with open_async(redis) as client:
            async with client.pipeline(transaction=True) as pipe:
                answers = await pipe.set("a", "1").get("a").get("b").mget("a", "b").execute()
            async with client.pipeline() as many:
                for number in range(100):
                    many.get(f"k{number}")
                return answers, await many.execute()

    answers, many = await during_a_request(work)
    assert answers == [True, b"1", None, [b"1", None]]
    assert many == [None] * 100
    first, second = facts(signals)
    assert first == {
        "system": "redis",
        "operation": "PIPELINE",
        "commands": ["SET a", "GET a", "GET b", "MGET a b"],
        "hits": 2,
        "misses": 2,
        "item.size": 2,
    }
    assert len(second["commands"]) == keys.MOST
    assert second["misses"] == 100
    assert [span["name"] for span in signals.snapshot()][1:] == ["PIPELINE", "PIPELINE"]


def test_sync_pipeline_and_a_watched_key_that_changed(signals: Telemetry, redis: Redis) -> None:
    import redis as library

    with open_sync(redis) as client, open_sync(redis) as other:
        with client.pipeline() as pipe:
            pipe.watch("a")
            other.set("a", "changed")
            pipe.multi()
            pipe.set("a", "mine")
            with pytest.raises(library.WatchError):
                pipe.execute()
            assert client.get("a") == b"changed"
        with client.pipeline() as pipe:
            assert pipe.lpush("a", 1).get("a").execute(raise_on_error=False)[1] == b"changed"
    pipelines = [each for each in facts(signals) if each["operation"] == "PIPELINE"]
    assert [each["commands"] for each in pipelines] == [["SET a"], ["LPUSH a", "GET a"]]


@pytest.mark.parametrize("client", ["sync", "async"])
async def test_errors(signals: Telemetry, client: str) -> None:
    (address,) = free_addresses(1)  # nobody listens there
    server = Redis("127.0.0.1", int(address.partition(":")[2]))

    async def work() -> None:
        if client == "sync":
            with open_sync(server, retry=None) as found:
                found.get("a")
        else:
            async with open_async(server, retry=None) as found:
                await found.get("a")

    with pytest.raises(redis.ConnectionError, match="111"):
        await during_a_request(work)
    (span,) = [each for each in signals.snapshot() if each["kind"] == "CLIENT"]
    assert span["status"] == "ERROR"
    assert span["attributes"]["cache.key"] == "a"
    assert "cache.hit" not in span["attributes"]
    assert span["events"][0][1]["exception.type"] == "redis.exceptions.ConnectionError"


async def test_a_timeout(signals: Telemetry, redis: Redis) -> None:
    import redis as library

    async def work() -> None:
        async with open_async(redis, socket_timeout=0.05, retry=None) as client:
            await client.blpop(["never"], timeout=5)

    with pytest.raises(library.TimeoutError):
        await during_a_request(work)
    span = next(each for each in signals.snapshot() if each["name"] == "BLPOP")
    assert span["status"] == "ERROR"


async def test_secrets_in_keys_and_arguments_are_masked(signals: Telemetry, redis: Redis) -> None:
    token = "8f3a9c21e0b74d5f8f3a9c21e0b74d5f"

    async def work() -> None:
        async with open_async(redis) as client:
            await client.get(f"session:{SECRET}")
            await client.get(token)
            await client.get(f"starsessions.{token}")
            await client.set("user:1", SECRET)
            with pytest.raises(Exception, match="AUTH"):
                await client.execute_command("AUTH", SECRET)
            async with client.pipeline() as pipe:
                await pipe.get(f"session:{SECRET}").execute()

    await during_a_request(work)
    exported = "".join(span.to_json() for span in signals.exported())
    assert SECRET not in exported
    assert token not in exported


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("user:1", "user:1"),
        (b"user:\xff", "user:\ufffd"),
        (memoryview(b"bytes"), "bytes"),
        (7, "7"),
        ("user:1:profile:2:items:33", "user:1:profile:2:items:33"),
        ("GET/items?page=2&token=hunter2", "GET/items?page=2&token=***"),
        ("x" * 300, "x" * 255 + "…"),
        ("user:550e8400-x", "user:550e8400-x"),
        (object(), "<object>"),
    ],
)
def test_keys(given: Any, expected: str) -> None:
    assert keys.shown(given) == expected


def test_masked_keys_stay_different() -> None:
    one, other = keys.shown("session:one"), keys.shown("session:other")
    assert one != other
    assert one == keys.shown("session:one")
    assert one.startswith("session:***#")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ab", 2), ("ü", 2), (b"abc", 3), (bytearray(4), 4), (memoryview(b"12"), 2), (12, 2), (1.5, 3),
        ([b"a", None, "bc"], 3), ({"a": b"12"}, 3), (object(), None), (None, None), (["x"] * 2000, None),
        (2**70, None),
    ],
)  # fmt: skip
def test_sizes(given: Any, expected: int | None) -> None:
    assert keys.size(given) == expected


async def test_a_fault_in_any_hook_leaves_the_app_alone(
    signals: Telemetry,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("ours")

    for name in ("_operation", "_of_one", "_begun"):
        monkeypatch.setattr(hooks, name, broken)

    async def work() -> Any:
        async with open_async(redis) as client:
            await client.set("a", "1")
            async with client.pipeline() as pipe:
                return await client.get("a"), await pipe.get("a").execute()

    with caplog.at_level(logging.WARNING, "otel_toolbar"):
        assert await during_a_request(work) == (b"1", [b"1"])
    reported = [each.message for each in caplog.records if each.name == "otel_toolbar"]
    assert len(reported) == 2  # the hook of the command, and the pipeline's


async def test_hooks_of_the_app_are_called_too(redis: Redis, signals: Telemetry) -> None:
    RedisInstrumentor().uninstrument()
    seen: list[Any] = []
    RedisInstrumentor().instrument(
        tracer_provider=signals.provider,
        request_hook=lambda _span, _client, args, _kwargs: seen.append(args),
        response_hook=lambda _span, _client, response: seen.append(response),
    )
    with open_sync(redis) as client:
        client.get("a")
    assert seen == [("GET", "a"), None]
    assert facts(signals) == [{"system": "redis", "operation": "GET", "key": "a", "hit": False}]


async def test_switched_off(signals: Telemetry, redis: Redis) -> None:
    cache.uninstall()
    with open_sync(redis) as client, client.pipeline() as pipe:
        client.get("a")
        pipe.get("a").execute()
    assert facts(signals) == [{}, {}]


async def test_a_loop_of_hundreds_is_bounded(signals: Telemetry, redis: Redis) -> None:
    """SDK spans are handed on in parts, and the store keeps what MAX_SPANS allows."""
    from otel_toolbar.signals.core import record as records
    from otel_toolbar.signals.core.record import KEPT_BACK

    most = 0

    async def work() -> None:
        nonlocal most
        async with open_async(redis) as client:
            for number in range(KEPT_BACK * 2 + 10):
                await client.get(f"k{number % 7}")
                record = records.current()
                assert record is not None
                most = max(most, len(record.ended))

    await during_a_request(work)
    assert most < KEPT_BACK
    assert len(signals.exported()) == KEPT_BACK * 2 + 11


def test_without_instrumentation_nothing_is_annotated(redis: Redis) -> None:
    masking.configure(Settings())
    with open_sync(redis) as client, client.pipeline() as pipe:
        assert pipe.set("a", 1).get("a").execute() == [True, b"1"]


async def test_a_command_is_no_query(signals: Telemetry, redis: Redis) -> None:
    """Though OpenTelemetry names Redis a database: no N+1 among them, none counted."""
    queries.install(Settings())
    try:

        async def work() -> None:
            async with open_async(redis) as client:
                for number in range(7):
                    await client.get(f"k{number}")

        await during_a_request(work)
    finally:
        queries.uninstall()
    server, *asked = signals.snapshot()
    assert server["attributes"]["toolbar.queries.count"] == 0
    assert server["attributes"]["toolbar.n_plus_one.count"] == 0
    assert len(asked) == 7
    assert not any("toolbar.query.fingerprint" in span["attributes"] for span in asked)


async def test_concurrent_requests_keep_their_own(signals: Telemetry, redis: Redis) -> None:
    store = MemoryStore()
    async with open_async(redis) as client:

        async def one(number: int) -> None:
            async def work() -> None:
                for _ in range(number % 5 + 1):
                    await client.get(f"request:{number}")
                    await asyncio.sleep(0)
                    await store.get(f"request:{number}")

            await during_a_request(work)

        await asyncio.gather(*(one(number) for number in range(60)))
    by_trace: dict[int, set[str]] = {}
    for span in signals.exported():
        if span.kind is SpanKind.CLIENT:
            assert span.context is not None
            attributes = span.attributes or {}
            by_trace.setdefault(span.context.trace_id, set()).add(str(attributes["cache.key"]))
    assert len(by_trace) == 60
    assert all(len(found) == 1 for found in by_trace.values())
