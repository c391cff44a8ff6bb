"""Makes light spans of FastAPI's own operation spans: `fastapi.endpoint`, `.dependencies` and so on.

They come three to a request, and as SDK spans they cost more than all else that is recorded of a JSON
request (measured: `make bench`). The SERVER span stays the SDK's. Should FastAPI change what is hooked
here, its spans stay as it makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Span, SpanKind

from otel_toolbar import guard
from otel_toolbar.signals.core import light
from otel_toolbar.signals.core import record as records

MODULE = "fastapi.telemetry._asgi"
_FASTAPIS = {"record_exception", "set_status_on_exception"}


def install() -> None:
    wrapt.register_post_import_hook(_hook, MODULE)


def _hook(module: Any) -> None:
    try:
        wrapt.wrap_function_wrapper(module, "NativeTelemetry._get_tracer", _light_tracer)
    except Exception as error:
        guard.say_once(
            f"{MODULE} is not of a version that the toolbar knows ({error}); its spans stay as it makes"
            " them, which costs more time"
        )


def _light_tracer(
    real: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    tracer = real(*args, **kwargs)
    return LightTracer.of(tracer) if isinstance(tracer, Tracer) else tracer


class LightTracer(trace.Tracer):
    """An SDK tracer whose internal spans are light while a request runs."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._scope: Any = getattr(tracer, "_instrumentation_scope")  # noqa: B009

    @classmethod
    def of(cls, tracer: Tracer) -> LightTracer:
        """The one for `tracer`: FastAPI asks for it at every request."""
        known = getattr(tracer, "_otel_toolbar_light", None)
        if known is None:
            known = cls(tracer)
            setattr(tracer, "_otel_toolbar_light", known)  # noqa: B010
        return known

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        record = records.current()
        if (
            kwargs.get("kind") is SpanKind.SERVER
            and record is not None
            and record.server is not None
        ):
            # A FastAPI app mounted in another app: one request has one SERVER span.
            kwargs["kind"] = SpanKind.INTERNAL
            kwargs["context"] = trace.set_span_in_context(record.server)
        return self._tracer.start_span(*args, **kwargs)

    def start_as_current_span(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, name: str, *args: Any, attributes: Any = None, **kwargs: Any
    ) -> AbstractContextManager[Span]:
        if args or kwargs.keys() - _FASTAPIS or not light.possible():
            return self._tracer.start_as_current_span(name, *args, attributes=attributes, **kwargs)
        return _Current(light.start(name, SpanKind.INTERNAL, dict(attributes or {}), self._scope))


class _Current(AbstractContextManager[Span]):
    """Makes a span the current one, and ends it.

    FastAPI sets status and error itself, so this is all that `trace.use_span` would do.
    """

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token = otel_context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._token)
        self._span.end()
