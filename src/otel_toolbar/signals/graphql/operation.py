"""One operation while it runs: its span, its resolvers and its errors.

It stands in OpenTelemetry's context, so that operations at the same time, of a batch or of a schema
that shares its extensions, are kept apart.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import masking
from otel_toolbar.signals.core import record as records

from . import document, errors, spans
from .field import Field, Place

clock = time.perf_counter_ns

_KEY = otel_context.create_key("otel_toolbar_graphql")
_MAX_VARIABLES = 32
_MAX_NAME = 256

_watching = False


def watch(on: bool) -> None:
    """Begin to see operations, or see no more of them."""
    global _watching
    _watching = on


def watched() -> bool:
    return _watching


def current() -> Operation | None:
    """The operation that runs here."""
    try:
        return cast("Operation | None", otel_context.get_value(_KEY))
    except Exception:
        guard.failed("GraphQL operation of the context")
        return None


def begin(given: Any) -> Operation | None:
    """Start the span of the operation that `given` (Strawberry's ExecutionContext) tells of.

    None where nobody looks: outside of requests, unless a span is current.
    """
    try:
        return Operation(given) if _watching and _wanted() else None
    except Exception:
        guard.failed("start of a GraphQL operation")
        return None


def _wanted() -> bool:
    record = records.current()
    if record is None:
        return not records.is_excluded() and trace.get_current_span().is_recording()
    return record.server is not None


class Operation:
    """See the module. `fields` are the places of the result that the app's resolvers have filled."""

    __slots__ = (
        "_before", "_collected", "_count", "_given", "_ours", "_results", "begun", "calls", "fields",
        "own_errors", "own_spans", "recorded", "span",
    )  # fmt: skip

    def __init__(self, given: Any) -> None:
        self._given: Any = given
        """Strawberry's ExecutionContext, while it runs."""
        self.span = spans.start_operation(given.query, given.operation_name)
        self.fields: dict[Place, Field] = {}
        self.calls = 0
        self.own_spans = 0
        self.own_errors = 0
        """Written down on the operation's own span."""
        self.recorded: list[BaseException] = []
        """Errors that stand on a span already; of a subscription, those of one result."""
        self._count = 0
        self._collected: Sequence[Any] = ()
        self._results = 0
        self.begun = False
        """Every extension's hook around the operation has been entered."""
        self._put_variables(given.variables)
        self._before: Context = otel_context.get_current()
        self._ours: Context | None = None
        self.resume()

    def _put_variables(self, variables: Any) -> None:
        if isinstance(variables, Mapping):
            given = cast("Mapping[Any, Any]", variables)
            for name, value in islice(given.items(), _MAX_VARIABLES):
                shown = masking.value(str(name), value)
                self.span.set_attribute(semconv.GRAPHQL_VARIABLES + str(name)[:_MAX_NAME], shown)

    def resume(self) -> None:
        """Be current."""
        try:
            self._before = otel_context.get_current()
            inside = trace.set_span_in_context(self.span, self._before)
            self._ours = otel_context.set_value(_KEY, self, inside)
            otel_context.attach(self._ours)
        except Exception:
            guard.failed("GraphQL operation's context")

    def _leave(self) -> None:
        # An abandoned subscription is closed anywhere: what is current there is not ours to change.
        if self._ours is not None and otel_context.get_current() is self._ours:
            otel_context.attach(self._before)

    def pause(self, result: Any) -> None:
        """A result of a subscription, or of a query that is streamed, goes out."""
        try:
            self._leave()
            self._results += 1
            self._take(getattr(result, "errors", None))
            self._end_rests()
            self.own_spans = 0
            self.fields.clear()
            self.recorded.clear()
        except Exception:
            guard.failed("result of a GraphQL subscription")

    def parsed(self, begun: int) -> None:
        """The document has been parsed, or was found parsed."""
        try:
            self._put_duration(semconv.GRAPHQL_PARSE_DURATION, begun)
            self._identify()
            self._take(self._failures())
        except Exception:
            guard.failed("parsing of a GraphQL document")

    def validated(self, begun: int) -> None:
        try:
            self._put_duration(semconv.GRAPHQL_VALIDATION_DURATION, begun)
            self._take(self._failures())
        except Exception:
            guard.failed("validation of a GraphQL document")

    def executed(self, *, tells_results: bool) -> None:
        """The resolvers have run; an extension of the app may rewrite their errors later.

        Of a subscription the results are still to come. Where we are not told of them, whoever takes
        them would stay within the operation: so nothing is, from here on.
        """
        try:
            self._take(getattr(self._given.result, "errors", None))
            if not tells_results and self._given.operation_type.value == "subscription":
                self._leave()
        except Exception:
            guard.failed("result of a GraphQL operation")

    def fail(self, error: BaseException) -> None:
        """It cannot be executed: Strawberry answers that with an HTTP error."""
        try:
            self._count += 1
            self.put_error(error)
            errors.put(self.span, error)
        except Exception:
            guard.failed("error of a GraphQL operation")

    def end(self) -> None:
        """It is over, however. Only the first call counts."""
        if self._given is None:
            return
        for step in (self._leave, self._end_rests, self._sum_up, self.span.end):
            try:
                step()
            except Exception:
                guard.failed("end of a GraphQL operation")
        self._given = None  # the app's: not to be kept longer
        self._collected = ()
        self.recorded.clear()

    def _sum_up(self) -> None:
        if not self._count:
            self._take(self._failures())
        span = self.span
        span.set_attribute(semconv.GRAPHQL_RESOLVERS_COUNT, self.calls)
        if self._results:
            span.set_attribute(semconv.GRAPHQL_RESULTS_COUNT, self._results)
        if self._count:
            span.set_attribute(semconv.GRAPHQL_ERRORS_COUNT, self._count)

    def _end_rests(self) -> None:
        for field in self.fields.values():
            field.end_rest()

    def _put_duration(self, key: str, begun: int) -> None:
        self.span.set_attribute(key, (clock() - begun) / 1e9)

    def _identify(self) -> None:
        """What is known once there is a parsed document."""
        given = self._given
        parsed = given.graphql_document
        if parsed is None:
            return
        name = given.operation_name
        if name:
            self.span.set_attribute(semconv.GRAPHQL_OPERATION_NAME, masking.clean(name)[:_MAX_NAME])
        if not given.query and parsed.loc is not None:  # the app knows documents by a number
            for key, value in document.described(parsed.loc.source.body, name or "").items():
                self.span.set_attribute(key, value)
        try:
            kind = given.operation_type.value
        except Exception:  # no operation of the name that was asked for: Strawberry says so itself
            return
        self.span.set_attribute(semconv.GRAPHQL_OPERATION_TYPE, kind)
        self.span.update_name(kind)

    # Errors.

    def _failures(self) -> Any:
        """Errors from before the execution; the attribute was renamed."""
        given = self._given
        return getattr(given, "pre_execution_errors", None) or getattr(given, "errors", None)

    def _take(self, found: Any) -> None:
        """Count errors of a result, and write down those that no resolver's span tells of."""
        if not found or found is self._collected:
            return
        self._collected = found
        self._count += len(found)
        for error in islice(found, errors.MOST):
            original = getattr(error, "original_error", None) or error
            if not any(each is original or each is error for each in self.recorded):
                self.put_error(error)
        errors.put(self.span, found[0], self._given.query or "")

    def put_error(self, error: Any) -> None:
        """Write an error down on the operation itself."""
        if len(self.recorded) < errors.MOST and self.own_errors < errors.MOST:
            self.own_errors += 1
            self.recorded.append(getattr(error, "original_error", None) or error)
            errors.record(self.span, error, self._given.query or "")
