"""Caches that work with coroutines: Litestar's stores, its response cache among them, and aiocache.

A light span for each call. Where a store is one on Redis, redis-py's own spans are its children.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, cast

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import exceptions, light, places
from otel_toolbar.version import VERSION

from . import keys, switch

SCOPE = InstrumentationScope("otel_toolbar.signals.cache", VERSION)

_STORES = {
    "memory": "MemoryStore",
    "file": "FileStore",
    "redis": "RedisStore",
    "valkey": "ValkeyStore",
}
_STORE_METHODS = ("get", "set", "delete", "exists", "delete_all")
_AIOCACHE_METHODS = (
    "get", "multi_get", "set", "add", "multi_set", "delete", "exists", "increment", "expire", "clear",
)  # fmt: skip


class Call(NamedTuple):
    """One call of a cache, as far as its span needs it."""

    system: str
    operation: str
    """The method's name in capitals."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


def install() -> None:
    """Put the hooks in; each takes effect when its library is imported."""
    for kind, store in _STORES.items():
        _when_imported(f"litestar.stores.{kind}", store, _STORE_METHODS, f"litestar.{kind}")
    _when_imported("aiocache.base", "BaseCache", _AIOCACHE_METHODS, "")


def _when_imported(module: str, owner: str, methods: tuple[str, ...], system: str) -> None:
    def hook(found: Any) -> None:
        for method in methods:
            try:
                wrapt.wrap_function_wrapper(found, f"{owner}.{method}", _watch(method, system))
            except Exception as error:  # a version without that method
                guard.say_once(
                    f"{module} is not of a version that the toolbar knows ({error}): calls of"
                    f" {owner}.{method} are not shown"
                )

    wrapt.register_post_import_hook(hook, module)


def _watch(method: str, system: str) -> Callable[..., Any]:
    operation = method.upper()

    async def call(
        real: Callable[..., Awaitable[Any]],
        cache: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        made = Call(system or _aiocache(cache), operation, args, kwargs) if switch.on else None
        begun = None if made is None else _begin(made)
        if made is None or begun is None:
            return await real(*args, **kwargs)
        span, token = begun
        try:
            result = await real(*args, **kwargs)
        except BaseException as error:
            _failed(span, error)
            raise
        else:
            _done(span, made, result)
            return result
        finally:
            _end(span, token)

    return call


def _aiocache(cache: Any) -> str:
    name: Any = getattr(cast("type[Any]", type(cache)), "NAME", None)
    return f"aiocache.{name}" if type(name) is str else "aiocache"


def _begin(call: Call) -> tuple[Span, Any] | None:
    try:
        attributes: dict[str, Any] = {
            semconv.CACHE_SYSTEM: call.system,
            semconv.CACHE_OPERATION: call.operation,
            **_keys(call),
            **places.of_the_app(),
        }
        size = _written(call)
        if size is not None:
            attributes[semconv.CACHE_ITEM_SIZE] = size
        span = light.start(call.operation, SpanKind.CLIENT, attributes, SCOPE)
        return span, otel_context.attach(trace.set_span_in_context(span))
    except Exception:
        guard.failed("call of a cache")
        return None


def _keys(call: Call) -> dict[str, Any]:
    if call.operation in ("DELETE_ALL", "CLEAR"):
        return {}
    if call.operation.startswith("MULTI_"):
        given = call.argument(0, "keys" if call.operation == "MULTI_GET" else "pairs")
        if type(given) not in (list, tuple):
            return {}  # an iterator must not be used up
        several = given if call.operation == "MULTI_GET" else [pair[0] for pair in given]
        return keys.described(several, len(several))
    return keys.described((call.argument(0, "key"),), 1)


def _written(call: Call) -> int | None:
    return keys.size(call.argument(1, "value")) if call.operation in ("SET", "ADD") else None


def _done(span: Span, call: Call, result: Any) -> None:
    try:
        if call.operation == "GET":
            hit = result is not None and result is not call.argument(1, "default")
            span.set_attribute(semconv.CACHE_HIT, hit)
            size = keys.size(result) if hit else None
        elif call.operation == "MULTI_GET" and type(result) is list:
            values = cast("list[Any]", result)
            hits = sum(each is not None for each in values)
            span.set_attribute(semconv.CACHE_HITS, hits)
            span.set_attribute(semconv.CACHE_MISSES, len(values) - hits)
            size = keys.size(values)
        else:
            return
        if size is not None:
            span.set_attribute(semconv.CACHE_ITEM_SIZE, size)
    except Exception:
        guard.failed("answer of a cache")


def _failed(span: Span, error: BaseException) -> None:
    try:
        if isinstance(error, Exception):
            exceptions.record(span, error)
            span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
            span.set_status(StatusCode.ERROR)
    except Exception:
        guard.failed("error of a cache")


def _end(span: Span, token: Any) -> None:
    try:
        try:
            otel_context.detach(token)
        finally:
            span.end()
    except Exception:
        guard.failed("end of a call of a cache")
