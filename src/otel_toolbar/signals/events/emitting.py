"""Events of the app: who emitted, and each listener's call, which belongs to who emitted.

Litestar hands the call of a listener to a task that it started with the app. So the context of the
emitter is carried there with the function that is called; the app's own objects stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import exceptions, functions, places
from otel_toolbar.signals.core import record as records

from . import span
from .hooks import when_imported
from .span import Arguments, Keywords


def install() -> None:
    when_imported("litestar.app", "Litestar.emit", _emit)
    when_imported("litestar.events.emitter", "SimpleEventEmitter.emit", _hand_over)
    when_imported(
        "litestar.events.listener", "EventListener.wrap_in_error_handler", _before_it_is_logged
    )


def _emit(real: Callable[..., Any], _: Any, args: Arguments, kwargs: Keywords) -> Any:
    call = _begin(args, kwargs)
    try:
        result = real(*args, **kwargs)
    except BaseException as error:
        span.end(call, error)
        raise
    span.end(call)
    return result


def _begin(args: Arguments, kwargs: Keywords) -> span.Call | None:
    try:
        if not span.Switch.on:
            return None
        name = str(args[0] if args else kwargs["event_id"])
        facts = {semconv.LITESTAR_EVENT_KIND: "emit", semconv.LITESTAR_EVENT_NAME: name}
        return span.Call(f"emit {name}", facts | places.of_the_app())
    except Exception:
        guard.failed("an event of Litestar")
        return None


class _StandIn:
    """An emitter for one call of its `emit`: the real one, but for the listeners."""

    def __init__(self, emitter: Any, listeners: dict[str, Any]) -> None:
        self._emitter = emitter
        self.listeners = listeners

    def __getattr__(self, name: str) -> Any:
        return getattr(self._emitter, name)


def _hand_over(real: Any, emitter: Any, args: Arguments, kwargs: Keywords) -> Any:
    try:
        if span.Switch.on:
            name = args[0] if args else kwargs["event_id"]
            found = emitter.listeners.get(name)
            if found:
                run = partial(_run, str(name), records.current(), otel_context.get_current())
                stand_in = _StandIn(emitter, {name: [_carrying(each, run) for each in found]})
                real = partial(real.__func__, stand_in)
    except Exception:
        guard.failed("listeners of an event")
    return real(*args, **kwargs)


def _carrying(listener: Any, run: Callable[..., Any]) -> Any:
    """A copy of a listener whose function is called by way of `run`."""
    copied = copy.copy(listener)
    copied.fn = wrapt.FunctionWrapper(listener.fn, partial(run, functions.listened(listener)))
    return copied


async def _run(
    name: str,
    record: records.Record | None,
    context: otel_context.Context,
    function: Any,
    real: Callable[..., Awaitable[Any]],
    _: Any,
    args: Arguments,
    kwargs: Keywords,
) -> Any:
    """A listener's call, in the task that Litestar made for it, which is in no request."""
    tokens = _enter(record, context)
    try:
        return await span.awaited("listener", name, function, real(*args, **kwargs))
    finally:
        _leave(tokens)


def _enter(record: records.Record | None, context: otel_context.Context) -> tuple[Any, Any] | None:
    try:
        return records.enter(record), otel_context.attach(context)
    except Exception:
        guard.failed("listener of an event")
        return None


def _leave(tokens: tuple[Any, Any] | None) -> None:
    try:
        if tokens is not None:
            otel_context.detach(tokens[1])
            records.leave(tokens[0])
    except Exception:
        guard.failed("listener of an event")


def _before_it_is_logged(
    real: Callable[..., Any], _: Any, args: Arguments, kwargs: Keywords
) -> Any:
    """Litestar logs what a listener raises, and goes on: its span would not know."""
    try:
        args = (wrapt.FunctionWrapper(args[0], _noting), *args[1:])
    except Exception:
        guard.failed("listener of an event")
    return real(*args, **kwargs)


async def _noting(
    real: Callable[..., Awaitable[Any]], _: Any, args: Arguments, kwargs: Keywords
) -> Any:
    try:
        return await real(*args, **kwargs)
    except Exception as error:
        _note(error)
        raise


def _note(error: Exception) -> None:
    try:
        running = trace.get_current_span()
        facts: Any = getattr(running, "attributes", None) or {}
        if facts.get(semconv.LITESTAR_EVENT_KIND) == "listener":
            running.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
            running.set_status(StatusCode.ERROR)
            exceptions.record(running, error)
    except Exception:
        guard.failed("listener of an event")
