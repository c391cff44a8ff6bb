"""A websocket connection as an exchange: the SERVER span from connect to close.

What passes on it is watched by whoever is handed in, `signals.websockets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry.trace import Span, StatusCode
from opentelemetry.util.types import AttributeValue

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import exceptions
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.framework import Framework

from . import attributes, route
from .exchange import Exchange, Receive, Scope, Send, fastapi_errors


class Connection(Protocol):
    """What watches the messages."""

    @property
    def record(self) -> records.Record: ...
    @property
    def status(self) -> int:
        """HTTP status of a denial, else 0."""
        ...

    @property
    def response_headers(self) -> attributes.Headers: ...
    def watched(
        self, receive: Receive, send: Send, answers: Callable[[], None]
    ) -> tuple[Receive, Send]: ...
    def failed(self, error: BaseException) -> bool:
        """True when that is an error of the app's."""
        ...

    def finish(self) -> None: ...
    def facts(self) -> Mapping[str, AttributeValue]: ...


class WebsocketExchange(Exchange):
    """See the module."""

    def __init__(self, scope: Scope, framework: Framework, connection: Connection) -> None:
        super().__init__(scope, framework, 0, connection.record)
        self._connection = connection
        self._record.now = self._facts

    def _watched(self, receive: Receive, send: Send) -> tuple[Receive, Send]:
        return self._connection.watched(receive, send, self._answers)

    def _answers(self) -> None:
        """The app accepts or denies: the route is known, and where no framework made a span we do."""
        try:
            if self._record.server is None:
                self._make_current(self._start_own_span())
            span: Any = self._record.server
            found: attributes.Attributes = {}
            self._name(span, found)
            span.set_attributes(found)
        except Exception:
            guard.failed("answer to a websocket connection")

    def _given(self) -> attributes.Attributes:
        return attributes.of_websocket(self._scope, self._client())

    def _span_name(self, template: str) -> str:
        return template or "websocket"

    def _name(self, span: Span, facts: attributes.Attributes) -> None:
        """A connection is called by its route, whoever made the span."""
        template = self._record.route or route.of(self._scope)
        if template:
            facts[semconv.HTTP_ROUTE] = template
        span.update_name(self._span_name(template or ""))

    def _traffic(self) -> attributes.Attributes:
        connection = self._connection
        self._response_headers = connection.response_headers
        facts = attributes.of_headers(
            semconv.HTTP_RESPONSE_HEADER,
            semconv.RESPONSE_HEADERS_MORE,
            connection.response_headers,
        )
        facts |= connection.facts()
        if self._own is None:
            facts |= self._given()
        if connection.status:
            facts[semconv.HTTP_RESPONSE_STATUS_CODE] = connection.status
        return facts

    def _cost(self) -> attributes.Attributes:
        return {}  # the time of the whole loop, over days

    def _note_status(self, span: Span) -> None:
        if self._own is not None and self._connection.status >= 500 and not self._raised:
            span.set_attribute(semconv.ERROR_TYPE, str(self._connection.status))
            span.set_status(StatusCode.ERROR)
        for error in fastapi_errors(self._scope)[-1:]:
            if self._connection.failed(error):
                exceptions.record(span, error)

    def _begin(self, *, of_another: bool) -> None:
        super()._begin(of_another=of_another)
        if self._context is None:
            # Spans of messages are made current in the app's own task: at the end all is as it was.
            self._context = otel_context.attach(otel_context.get_current())

    def _failed(self, error: BaseException) -> None:
        try:
            is_error = self._connection.failed(error)
            self._raised = True
            if self._record.server is None:
                self._start_own_span()
            span = self._own
            if is_error and span is not None and span.is_recording():
                span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
                span.set_status(StatusCode.ERROR)
                exceptions.record(span, error)
        except Exception:
            guard.failed("error of a websocket connection")

    def _finish(self) -> None:
        self._connection.finish()
        super()._finish()
