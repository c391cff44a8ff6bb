"""One HTTP exchange as it passes: it makes or awaits the SERVER span and writes what went by.

It only watches. Every message goes on as it came, and an error of ours costs a fact, never a message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from contextlib import contextmanager
from contextvars import Token
from functools import lru_cache
from operator import itemgetter
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator as Composite
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import Span, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import current, exceptions, processor, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.framework import Framework
from otel_toolbar.version import VERSION

from . import attributes, debug, route
from . import client as clients
from . import span as server_span
from .stream import Stream

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_NAME = "otel_toolbar.signals.server"
_FASTAPI = "fastapi.telemetry"
_BODIES = ("http.response.body", "http.response.zerocopysend")


class Exchange:
    """One request of an app, run by `run`. It is the subject `server` of its record."""

    def __init__(
        self,
        scope: Scope,
        framework: Framework,
        max_spans: int,
        record: records.Record | None = None,
    ) -> None:
        self._scope = scope
        self._framework = framework
        self._record = records.Record(max_spans) if record is None else record
        self._record.subjects["server"] = self
        self._started = time.time_ns()
        self._cpu = time.thread_time()
        self._own: Span | None = None
        self._context: Token[Any] | None = None
        self._status = 0
        self._said: clients.Client | None = None
        self._response_headers: attributes.Headers = ()
        self._received = self._sent = self._chunks = 0
        self._first_byte = 0
        self._stream: Stream | None = None
        self._trailers = self._complete = self._disconnected = self._raised = False

    def is_of(self, scope: Scope) -> bool:
        """True for the scope of this request, also for a copy that a middleware has made of it."""
        headers = scope.get("headers")
        return scope is self._scope or (
            headers is not None and headers is self._scope.get("headers")
        )

    def traceparent(self) -> str | None:
        """The SERVER span as W3C `traceparent`; None when there is none."""
        root = self._record.root
        if root is None:
            return None
        trace_id, span_id, _, flags, *_ = root  # by its names it takes longer
        return f"00-{trace_id:032x}-{span_id:016x}-{flags & 1:02x}" if trace_id else None

    def server_timing(self) -> list[str]:
        """What is known so far for the header `Server-Timing`, a metric each."""
        return self._record.server_timing()

    async def run(self, app: App, receive: Receive, send: Send) -> None:
        """Run the app; what it raises goes on."""
        token = records.enter(self._record)
        steps.began(self._record)
        self._begin(of_another=records.is_left_over(token))
        try:
            await app(self._scope, *self._watched(receive, send))
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            self._finish()
            steps.left(self._record)
            records.leave(token)

    def _watched(self, receive: Receive, send: Send) -> tuple[Receive, Send]:
        async def watched_receive() -> Message:
            message = await receive()
            self._receiving(message)
            return message

        async def watched_send(message: Message) -> None:
            self._sending(message)
            await send(message)
            self._has_sent(message)

        return watched_receive, watched_send

    def summary(self) -> attributes.Attributes:
        """What is known of the exchange at the SERVER span's end."""
        span: Any = self._record.server
        facts = self._facts()
        facts.update(self._cost())
        self._name(span, facts)
        self._note_status(span)
        return facts

    def _facts(self) -> attributes.Attributes:
        """What is known by now. May be asked for from any thread."""
        client = self._client()
        facts = dict(client.attributes)
        facts.update(
            attributes.of_headers(
                semconv.HTTP_RESPONSE_HEADER, semconv.RESPONSE_HEADERS_MORE, self._response_headers
            )
        )
        facts.update(attributes.of_parameters(self._scope))
        if self._scope.get("path_params"):
            facts.update(attributes.of_secret_path(self._scope))
        facts[semconv.TOOLBAR_FRAMEWORK] = self._framework.name
        if debug.is_on(self._scope, self._framework.name):
            facts[semconv.FRAMEWORK_DEBUG] = True
        facts.update(_endpoint(self._scope))
        if self._own is None:
            facts.update(attributes.of_client(self._scope, client))
        facts.update(self._traffic())
        return facts

    def _cost(self) -> attributes.Attributes:
        """What it took; to be asked for in the app's own thread."""
        return {semconv.CPU_TIME: max(0.0, time.thread_time() - self._cpu)}

    def _traffic(self) -> attributes.Attributes:
        """What went in and out."""
        facts: attributes.Attributes = {
            semconv.HTTP_REQUEST_BODY_SIZE: self._received,
            semconv.HTTP_RESPONSE_BODY_SIZE: self._sent,
            semconv.RESPONSE_CHUNKS: self._chunks,
        }
        if self._status:
            facts[semconv.HTTP_RESPONSE_STATUS_CODE] = self._status
        if self._first_byte:
            facts[semconv.RESPONSE_FIRST_BYTE] = max(0, self._first_byte - self._started) / 1e9
        if self._disconnected and not self._complete:
            facts[semconv.REQUEST_DISCONNECTED] = True
        if self._stream is not None:
            facts |= self._stream.facts()
        return facts

    def _name(self, span: Span, facts: attributes.Attributes) -> None:
        """Put the route on a span of ours; a framework names its own."""
        if self._own is None and self._is_named(span):
            return
        template = self._record.route or route.of(self._scope)
        if template is not None:
            facts[semconv.HTTP_ROUTE] = template
            span.update_name(self._span_name(template))

    def _span_name(self, template: str) -> str:
        return f"{attributes.span_method(self._scope)} {template}".strip()

    def _given(self) -> attributes.Attributes:
        """What the SERVER span says from its start on."""
        return attributes.of_request(self._scope, self._client())

    def _client(self) -> clients.Client:
        """What the client says in its headers."""
        known = self._said
        if known is None:
            known = self._said = clients.of(self._scope.get("headers") or ())
        return known

    @staticmethod
    def _is_named(span: Any) -> bool:
        return semconv.HTTP_ROUTE in (getattr(span, "attributes", None) or ())

    def _note_status(self, span: Span) -> None:
        if self._own is not None and self._status >= 500 and not self._raised:
            span.set_attribute(semconv.ERROR_TYPE, str(self._status))
            span.set_status(StatusCode.ERROR)
        for error in fastapi_errors(self._scope)[-1:]:
            exceptions.record(span, error)

    def _begin(self, *, of_another: bool) -> None:
        """Take or make the SERVER span. `of_another`: the server gave us another request's context."""
        try:
            outer: Any = current.span()
            if processor.is_free_server_span(outer):
                # A layer around us has made it already.
                processor.adopt(self._record, outer)
            elif not self._framework.makes_server_span:
                self._make_current(self._start_own_span())
            elif of_another:
                # The framework would take that request's span for the parent of its own.
                self._context = otel_context.attach(_no_span())
        except Exception:
            guard.failed("start of a request")

    def _start_own_span(self) -> tuple[Span, Context]:
        context = _extract(self._scope)
        tracer = _tracer(trace.get_tracer_provider())
        span = server_span.start(tracer, self._span_name(""), context, self._given(), self._started)
        self._own = span
        return span, context

    def _make_current(self, started: tuple[Span, Context]) -> None:
        span, context = started
        self._context = current.attach(span, context)

    def _receiving(self, message: Message) -> None:
        try:
            if message["type"] == "http.request":
                self._received += len(message.get("body") or b"")
            elif message["type"] == "http.disconnect":
                self._disconnected = True
                self._end_stream("disconnect")
        except Exception:
            guard.failed("receive of a request")

    def _sending(self, message: Message) -> None:
        try:
            kind = message["type"]
            if kind == "http.response.start":
                self._status = message["status"]
                self._response_headers = tuple(message.get("headers") or ())
                self._trailers = bool(message.get("trailers"))
                if self._record.server is None:
                    # The framework that makes one itself was not reached, or has it switched off.
                    self._start_own_span()
            elif kind in _BODIES:
                size = len(message.get("body") or b"")
                self._sent += size
                self._chunks += 1
                self._first_byte = self._first_byte or time.time_ns()
                if self._stream is not None:
                    self._stream.part(message)
                elif message.get("more_body") and size:
                    self._begin_stream(message)
        except Exception:
            guard.failed("send of a response")

    def _begin_stream(self, message: Message) -> None:
        """The body comes in parts: seen while it does, for that may take hours."""
        self._stream = Stream(self._started, self._response_headers)
        self._stream.part(message)
        self._record.now = self._facts

    def _end_stream(self, how: str) -> None:
        try:
            if self._stream is not None:
                self._stream.ended(how)
        except Exception:
            guard.failed("end of a stream")

    def _has_sent(self, message: Message) -> None:
        try:
            kind = message["type"]
            if (
                (kind in _BODIES and not message.get("more_body") and not self._trailers)
                or (kind == "http.response.trailers" and not message.get("more_trailers"))
                or kind == "http.response.pathsend"
            ):
                self._complete = True
                self._end_stream("complete")
                # A server error may still be raised to us: it belongs on the span.
                if self._own is not None and self._status < 500:
                    self._own.end()
        except Exception:
            guard.failed("end of a response")

    def _failed(self, error: BaseException) -> None:
        try:
            self._raised = True
            self._end_stream(_end_by(error))
            if self._record.server is None:
                self._start_own_span()
            span = self._own
            if span is not None and span.is_recording():
                span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
                span.set_status(StatusCode.ERROR)
                exceptions.record(span, error)
        except Exception:
            guard.failed("error of a request")

    def _finish(self) -> None:
        try:
            if self._context is not None:
                otel_context.detach(self._context)
        except Exception:
            guard.failed("context of a request")
        try:
            self._end_stream("unfinished")
            if self._own is not None and self._own.is_recording():
                self._own.end()
        except Exception:
            guard.failed("end of a request")


def is_watched(scope: Scope) -> bool:
    """True in a request that an outer layer of ours watches already.

    That some request is watched in this context says nothing: servers start a request in the context
    of another one of the same connection (uvicorn with pipelining, or after it held back a body).
    """
    record = records.current()
    exchange = None if record is None else record.subjects.get("server")
    return isinstance(exchange, Exchange) and exchange.is_of(scope)


@contextmanager
def outside_of_requests(*, excluded: bool = False) -> Generator[None]:
    """For what is not watched: it leaves nothing on a request whose context it was started in.

    `excluded` for what is not even to be recorded as work outside of requests.
    """
    token = records.enter(records.EXCLUDED if excluded else None)
    context = otel_context.attach(_no_span()) if records.is_left_over(token) else None
    try:
        yield
    finally:
        if context is not None:
            otel_context.detach(context)
        records.leave(token)


@lru_cache(maxsize=1)
def _tracer(provider: trace.TracerProvider) -> trace.Tracer:
    """Our tracer of the provider of the moment; the SDK takes 10 us to look one up."""
    return provider.get_tracer(SCOPE_NAME, VERSION)


class _ScopeGetter(Getter[Scope]):
    """Reads propagated headers from an ASGI scope."""

    def get(self, carrier: Scope, key: str) -> list[str] | None:
        name = key.lower().encode("latin-1")
        values = [value.decode("latin-1") for header, value in carrier["headers"] if header == name]
        # The baggage propagator reads the first value only.
        return ([",".join(values)] if key.lower() == "baggage" else values) if values else None

    def keys(self, carrier: Scope) -> list[str]:
        return [header.decode("latin-1") for header, _ in carrier["headers"]]


_GETTER = _ScopeGetter()


def _end_by(error: BaseException) -> str:
    """How a stream ended: servers and frameworks raise such errors where the client has gone."""
    gone = (asyncio.CancelledError, GeneratorExit, OSError)
    return "disconnect" if isinstance(error, gone) else "error"


def _no_span() -> Context:
    """The context as it is, without a current span."""
    here = current.context()
    if current.span_in(here) is trace.INVALID_SPAN:  # as servers call apps
        return here
    return trace.set_span_in_context(trace.INVALID_SPAN, here)


def _extract(scope: Scope) -> Context:
    """The caller's context, never a span that happens to be current here."""
    here = _no_span()
    try:
        propagator = propagate.get_global_textmap()
        if _is_ordinary(propagator) and not _has_any(scope["headers"]):
            return here
        return propagate.extract(scope, context=here, getter=_GETTER)
    except Exception:  # malformed headers mean a fresh trace
        return here


_CARRIERS = frozenset({b"traceparent", b"tracestate", b"baggage"})
"""What the propagators that are OpenTelemetry's default read."""


_name_of = itemgetter(0)


def _has_any(headers: attributes.Headers) -> bool:
    """Whether one of `_CARRIERS` is among the headers."""
    try:
        return not _CARRIERS.isdisjoint(map(_name_of, headers))
    except TypeError:  # names of another type than bytes
        return True


@lru_cache(maxsize=1)
def _is_ordinary(propagator: TextMapPropagator) -> bool:
    """True for one that reads `_CARRIERS` and nothing else."""
    parts = getattr(propagator, "_propagators", ()) if type(propagator) is Composite else ()
    ordinary = (TraceContextTextMapPropagator, W3CBaggagePropagator)
    return bool(parts) and all(type(part) in ordinary for part in parts)


def fastapi_errors(scope: Scope) -> list[BaseException]:
    """Exceptions that FastAPI's own telemetry noted: it ends its span before they reach us."""
    return list(getattr(scope.get(_FASTAPI), "_exceptions", ()))


def _endpoint(scope: Scope) -> attributes.Attributes:
    """Where the code that answered stands."""
    endpoint = scope.get("endpoint") or getattr(scope.get("route_handler"), "fn", None)
    if endpoint is None:
        return {}
    code = getattr(getattr(endpoint, "__wrapped__", endpoint), "__code__", None)
    if code is None:
        return {}
    known = _handlers.get(id(code))
    if known is None:
        if len(_handlers) >= _MAX_HANDLERS:
            _handlers.clear()
        module = getattr(endpoint, "__module__", "")
        facts: attributes.Attributes = {
            semconv.CODE_FUNCTION_NAME: f"{module}.{code.co_name}" if module else code.co_name,
            semconv.CODE_FILE_PATH: code.co_filename,
            semconv.CODE_LINE_NUMBER: code.co_firstlineno,
        }
        known = _handlers[id(code)] = code, facts
    return known[1]


_MAX_HANDLERS = 1000
_handlers: dict[int, tuple[Any, attributes.Attributes]] = {}
"""What is said of a handler, by the id of its code, which is kept alive: to hash it takes longer."""
