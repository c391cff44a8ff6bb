"""The span of one call: a hook, a listener, an exception handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import exceptions, functions, light
from otel_toolbar.version import VERSION

SCOPE = InstrumentationScope("otel_toolbar.signals.events", VERSION)

_SERVER_ERROR = 500

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


class Switch:
    """Whether calls are seen."""

    installed = False
    on = False


def watching() -> bool:
    """True in a request whose calls are to be seen."""
    return Switch.on and light.possible()


class Call:
    """One call from its start to its end; its span is current meanwhile."""

    __slots__ = ("_span", "_token")

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        self._span = light.start(name, SpanKind.INTERNAL, attributes, SCOPE)
        self._token: Any = otel_context.attach(trace.set_span_in_context(self._span))

    def end(self, error: BaseException | None = None) -> None:
        """End it, with what was raised if it was."""
        try:
            if error is not None:
                self._span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
                status = getattr(error, "status_code", None)
                if not (
                    isinstance(status, int) and status < _SERVER_ERROR
                ):  # a refusal is no fault
                    self._span.set_status(StatusCode.ERROR)
        finally:
            self._span.end()
            otel_context.detach(self._token)


def begin(kind: str, name: str, target: Any) -> Call | None:
    """A call of `target` that is about to begin; None when it cannot be seen."""
    try:
        return Call(f"event {name}", _facts(kind, name, target))
    except Exception:
        guard.failed(f"start of {kind}")
        return None


def _facts(kind: str, name: str, target: Any) -> dict[str, Any]:
    place = functions.of(target)
    function = str(place["function"])
    attributes: dict[str, Any] = {
        semconv.LITESTAR_EVENT_KIND: kind,
        semconv.LITESTAR_EVENT_NAME: name,
        semconv.LITESTAR_LISTENER: function,
        semconv.CODE_FUNCTION_NAME: function,
    }
    for key, fact in ((semconv.CODE_FILE_PATH, "file"), (semconv.CODE_LINE_NUMBER, "line")):
        if fact in place:
            attributes[key] = place[fact]
    return attributes


def end(call: Call | None, error: BaseException | None = None) -> None:
    try:
        if call is not None:
            call.end(error)
    except Exception:
        guard.failed("end of a hook of Litestar")


def plain(kind: str, name: str, target: Any) -> Any:
    """`target`, a plain function, seen at each call."""

    def seen(real: Callable[..., Any], _: Any, args: Arguments, kwargs: Keywords) -> Any:
        call = begin(kind, name, real)
        try:
            result = real(*args, **kwargs)
        except BaseException as error:
            end(call, error)
            raise
        end(call)
        return result

    return wrapt.FunctionWrapper(target, seen)


async def awaited(kind: str, name: str, target: Any, awaitable: Awaitable[Any]) -> Any:
    """What `target` gave, awaited and seen."""
    call = begin(kind, name, target)
    try:
        result = await awaitable
    except BaseException as error:
        end(call, error)
        raise
    end(call)
    return result


def asynchronous(
    kind: str, target: Any, wanted: Callable[[Arguments], bool] = lambda _: True
) -> Any:
    """`target`, a hook that is awaited, seen at each call in a request that is `wanted`."""

    def seen(
        real: Callable[..., Awaitable[Any]], _: Any, args: Arguments, kwargs: Keywords
    ) -> Awaitable[Any]:
        made = real(*args, **kwargs)
        try:
            return awaited(kind, kind, real, made) if watching() and wanted(args) else made
        except Exception:
            guard.failed(f"a call of {kind}")
            return made

    return wrapt.FunctionWrapper(target, seen)
