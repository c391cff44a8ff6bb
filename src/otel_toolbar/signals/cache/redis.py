"""What contrib's spans of redis-py do not have: the key, whether it was there, how large the value is.

The spans are those of `opentelemetry-instrumentation-redis`. It calls no hook when a pipeline begins, so
`Pipeline.execute` is wrapped within its own wrapper: there the commands are still to be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, cast
from weakref import WeakKeyDictionary

import wrapt
from opentelemetry import trace

from otel_toolbar import guard, semconv
from otel_toolbar.insights.secrets import words
from otel_toolbar.signals.core import contrib

from . import keys, switch

SYSTEM = "redis"
SCOPE = "opentelemetry.instrumentation.redis"
"""Both the module of the instrumentation and the scope of its spans."""

READ_ONE = words("GET GETEX GETDEL GETSET HGET HGETALL JSON.GET")
READ_MANY = words("MGET HMGET")

_FIRST = words(
    """APPEND BITCOUNT BITPOS DECR DECRBY DUMP EXPIRE EXPIREAT EXPIRETIME GEOADD GEOSEARCH GET GETBIT
    GETDEL GETEX GETRANGE GETSET HDEL HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET
    HSCAN HSET HSETNX HVALS INCR INCRBY INCRBYFLOAT LINDEX LINSERT LLEN LPOP LPOS LPUSH LPUSHX LRANGE
    LREM LSET LTRIM PERSIST PEXPIRE PEXPIREAT PFADD PSETEX PTTL RESTORE RPOP RPUSH RPUSHX SADD SCARD SET
    SETBIT SETEX SETNX SETRANGE SISMEMBER SMEMBERS SMISMEMBER SPOP SRANDMEMBER SREM SSCAN STRLEN TTL
    TYPE XADD XLEN XRANGE XREVRANGE ZADD ZCARD ZCOUNT ZINCRBY ZPOPMAX ZPOPMIN ZRANGE ZRANGEBYSCORE ZRANK
    ZREM ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE JSON.GET
    JSON.SET JSON.DEL"""
)
"""Commands whose first argument is the key. Of those that are not known nothing is shown: it may be a
password."""

_ALL = words("MGET DEL UNLINK EXISTS TOUCH")
_EVERY_SECOND = words("MSET MSETNX")
_COUNTED = words("EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO")
_VALUE_AT = {"SET": 2, "SETNX": 2, "GETSET": 2, "APPEND": 2, "SETEX": 3, "PSETEX": 3}
_VALUES_FROM = {"MSET": 2, "MSETNX": 2, "HSET": 3, "HMSET": 3}

_reads: WeakKeyDictionary[Any, Sequence[str]] = WeakKeyDictionary()
"""The operations of the pipelines that run, by their span."""


def install() -> None:
    """Put the hooks in, as soon as contrib's instrumentation is imported."""
    contrib.when_instrumented(
        SCOPE,
        "RedisInstrumentor",
        {"request_hook": asked, "response_hook": answered},
        first=_watch_pipelines,
    )


def asked(span: Any, _client: Any, args: Sequence[Any], _kwargs: Any) -> None:
    """A command is about to be sent."""
    if not switch.on or not span.is_recording() or not args:
        return
    operation = _operation(args)
    facts: dict[str, Any] = {semconv.CACHE_SYSTEM: SYSTEM, semconv.CACHE_OPERATION: operation}
    facts |= keys.described(*_keys(operation, args))
    written = _written(operation, args)
    if written is not None:
        facts[semconv.CACHE_ITEM_SIZE] = written
    span.set_attributes(facts)


def answered(span: Any, _client: Any, response: Any) -> None:
    """The answer, after redis-py has parsed it; of a pipeline all of them."""
    if not switch.on or not span.is_recording():
        return
    pipeline = _reads.pop(span, None)
    if pipeline is not None:
        span.set_attributes(_of_pipeline(pipeline, response))
        return
    operation = span.attributes.get(semconv.CACHE_OPERATION)
    if operation in READ_ONE:
        span.set_attributes(_of_one(response))
    elif operation in READ_MANY and type(response) is list:
        span.set_attributes(_of_many(cast("list[Any]", response)))


def _of_one(response: Any) -> dict[str, Any]:
    hit = _is_there(response)
    size = keys.size(response) if hit else None
    return {semconv.CACHE_HIT: hit} | ({} if size is None else {semconv.CACHE_ITEM_SIZE: size})


def _of_many(values: Sequence[Any]) -> dict[str, Any]:
    hits = sum(map(_is_there, values))
    size = keys.size(values)
    found = {semconv.CACHE_HITS: hits, semconv.CACHE_MISSES: len(values) - hits}
    return found | ({} if size is None else {semconv.CACHE_ITEM_SIZE: size})


def _of_pipeline(operations: Sequence[str], response: Any) -> dict[str, Any]:
    if type(response) is not list:
        return {}  # a watched key has changed: nothing was done
    values: list[Any] = []
    for operation, answer in zip(operations, cast("list[Any]", response), strict=False):
        if operation in READ_ONE:
            values.append(answer)
        elif operation in READ_MANY and type(answer) is list:
            values += cast("list[Any]", answer)
    return _of_many(values) if values else {}


def _is_there(value: Any) -> bool:
    # Of HGETALL an empty dict says that there is no such key.
    empty: bool = type(value) is dict and not value
    return value is not None and not empty and not isinstance(value, Exception)


def _operation(args: Sequence[Any]) -> str:
    name = args[0]
    return (name.decode("ascii", "replace") if type(name) is bytes else str(name)).upper()[:64]


def _keys(operation: str, args: Sequence[Any]) -> tuple[Sequence[Any], int]:
    """The first of a command's keys, and how many there are."""
    if operation in _FIRST:
        found: Sequence[Any] = args[1:2]
    elif operation in _ALL:
        found = args[1:]
    elif operation in _EVERY_SECOND:
        found = args[1::2]
    elif operation in _COUNTED and len(args) > 2 and str(args[2]).isdecimal():
        found = args[3 : 3 + int(args[2])]
    else:
        found = ()
    return found, len(found)


def _written(operation: str, args: Sequence[Any]) -> int | None:
    place = _VALUE_AT.get(operation)
    if place is not None:
        return keys.size(args[place]) if len(args) > place else None
    first = _VALUES_FROM.get(operation)
    return None if first is None else keys.size(list(args[first::2]))


# Pipelines.


def _watch_pipelines() -> None:
    """Wrap both kinds, once: contrib's wrapper comes around ours."""
    import redis.asyncio.client
    import redis.client

    for module in (redis.client, redis.asyncio.client):
        if not getattr(module.Pipeline.execute, "otel_toolbar", False):
            wrapt.wrap_function_wrapper(module, "Pipeline.execute", _execute)
            module.Pipeline.execute.otel_toolbar = True  # pyright: ignore[reportFunctionMemberAccess]


def _execute(
    real: Callable[..., Any], pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    try:
        _begun(trace.get_current_span(), pipeline)
    except Exception:
        guard.failed("pipeline of redis")
    return real(*args, **kwargs)


def _begun(span: Any, pipeline: Any) -> None:
    scope = getattr(span, "instrumentation_scope", None)
    if not switch.on or scope is None or scope.name != SCOPE or not span.is_recording():
        return  # not instrumented any more, or suppressed: the span is somebody else's
    commands = [
        command.args if hasattr(command, "args") else command[0]
        for command in pipeline.command_stack
    ]
    operations = list(map(_operation, commands))
    _reads[span] = operations
    shown = [
        " ".join((operation, *map(keys.shown, islice(_keys(operation, command)[0], 3))))
        for operation, command in islice(zip(operations, commands, strict=True), keys.MOST)
    ]
    span.update_name("PIPELINE")
    span.set_attributes(
        {
            semconv.CACHE_SYSTEM: SYSTEM,
            semconv.CACHE_OPERATION: "PIPELINE",
            semconv.CACHE_COMMANDS: shown,
            semconv.DB_OPERATION_BATCH_SIZE: len(commands),
        }
    )
