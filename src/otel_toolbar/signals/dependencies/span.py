"""The span of one dependency, current while it is made or torn down."""

from __future__ import annotations

from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode

from otel_toolbar import semconv
from otel_toolbar.signals.core import exceptions, light, masking
from otel_toolbar.version import VERSION

SCOPE = InstrumentationScope("otel_toolbar.signals.dependencies", VERSION)
_UNKNOWN = object()
_SERVER_ERROR = 500


class Injected:
    """A dependency from its start to its end. To end it twice changes nothing."""

    __slots__ = ("_name", "_span", "_token", "call")

    def __init__(
        self, name: str, call: Any, framework: str, phase: str = "setup", requires: Any = ()
    ) -> None:
        """`name` is the parameter's, empty where there is none; `call` is what makes the value."""
        self.call = call
        self._name = name
        function = getattr(call, "__qualname__", None) or type(call).__qualname__
        attributes: dict[str, Any] = {
            semconv.DEPENDENCY_NAME: name,
            semconv.DEPENDENCY_PHASE: phase,
            semconv.DEPENDENCY_FRAMEWORK: framework,
            semconv.CODE_FUNCTION_NAME: f"{getattr(call, '__module__', '')}.{function}".lstrip("."),
        }
        if requires:
            attributes[semconv.DEPENDENCY_REQUIRES] = list(requires)
        code = getattr(call, "__code__", None)
        if code is not None:
            attributes[semconv.CODE_FILE_PATH] = code.co_filename
            attributes[semconv.CODE_LINE_NUMBER] = code.co_firstlineno
        shown = name or getattr(call, "__name__", "") or function
        word = "dependency" if phase == "setup" else "dependency teardown"
        self._span = light.start(f"{word} {shown}", SpanKind.INTERNAL, attributes, SCOPE)
        self._token: Any = otel_context.attach(trace.set_span_in_context(self._span))

    def cached(self) -> None:
        """The value of before is taken again."""
        self._span.set_attribute(semconv.DEPENDENCY_CACHED, True)

    def end(self, value: Any = _UNKNOWN, error: BaseException | None = None) -> None:
        """End with the value that was made, if it is known, or with what was raised instead."""
        token, self._token = self._token, None
        if token is None:
            return
        try:
            if error is not None:
                self._failed(error)
            if error is None and value is not _UNKNOWN:
                self._span.set_attribute(semconv.DEPENDENCY_VALUE, _shown(self._name, value))
        finally:
            self._span.end()
            otel_context.detach(token)

    def _failed(self, error: BaseException) -> None:
        """The type only: with its frames the exception stands on the request, which it goes through."""
        self._span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
        status = getattr(error, "status_code", None)
        if not (isinstance(status, int) and status < _SERVER_ERROR):  # a refusal is no fault
            self._span.set_status(StatusCode.ERROR)


def _shown(name: str, value: Any) -> str:
    """A value as masked text. A type's name is no secret, whatever it goes under: `session`."""
    bare = masking.value("", value)
    kind = cast("type[Any]", type(value))
    return bare if bare == f"<{masking.type_name(kind)}>" else masking.value(name, value)
