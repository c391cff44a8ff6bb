"""Light spans: what comes in numbers (queries, tasks, messages) at a tenth of the SDK span's cost.

A light span is a recording `opentelemetry.trace.Span` in slots: user code that is inside of it can
use it as any other, and SDK spans under it get the right parent. It stays in the request's record and
becomes an ordinary `ReadableSpan` when the request is over; only there are values cleaned and the
SDK's limits applied. Outside of requests the SDK's own spans are used.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.util.types import Attributes, AttributeValue

from otel_toolbar import guard, semconv

from . import current, exceptions, masking
from . import record as records

T = TypeVar("T")

_ids = random.Random()  # noqa: S311 - not the module's generator: a seeded app must stay as seeded
random_bits = _ids.getrandbits
_taking = threading.Lock()


def _start_afresh() -> None:
    """In a forked process: other ids than the parent's, and a lock that nobody holds."""
    global _taking
    _ids.seed()
    _taking = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def start(
    name: str,
    kind: SpanKind,
    attributes: dict[str, Any],
    scope: InstrumentationScope,
    start_time: int | None = None,
    shared: Shared = (),
    deferred: Deferred | None = None,
) -> Span:
    """Start a span under the current one: light in a request, the SDK's outside of one.

    `attributes` is taken over, not copied. The span is not made current. `start_time` in unix ns is for
    what is known only when it has begun already. `shared` are attributes that many spans have alike:
    mappings that nobody writes any more, put together with `attributes` when somebody reads them.
    `deferred` makes more of them then, of values that cannot change.
    """
    record = records.current()
    if record is None and records.is_excluded():
        return trace.INVALID_SPAN
    if record is None or record.server is None:
        tracer = trace.get_tracer(scope.name, scope.version, schema_url=scope.schema_url)
        made = () if deferred is None else (_made(deferred),)
        attributes = _together((*shared, *made, attributes))
        return tracer.start_span(name, kind=kind, attributes=attributes, start_time=start_time)
    above = current.span()
    parent = above.get_span_context()
    links: list[Link] | None = None
    closed = record.closed_at
    if closed:
        attributes[semconv.DETACHED] = True
    if closed and record.outlived:
        parent, links = _trace_of_its_own(record), [Link(cast(SpanContext, record.root))]
    elif not parent.is_valid:
        parent = cast(SpanContext, record.root)
    span: Any = StoredSpan(name, kind, attributes, scope, parent, record, links, start_time, shared)
    span.deferred = deferred
    span.otel_toolbar_unit = span.span_id if kind is SpanKind.CONSUMER else unit_of(above)
    if record.told_of_starts:
        tell_of_start(span, record)
    if not closed:
        record.keep(span)
    return span


def tell_of_start(span: LightSpan, record: records.Record) -> None:
    """Tell those of other people's processors that want to know."""
    for processor in record.told_of_starts:
        processor.on_start(cast(Any, span), parent_context=otel_context.get_current())


UNIT = "otel_toolbar_unit"
"""Attribute of a span, light or the SDK's: what `unit_of` tells of it, where that is not 0."""


def unit_of(span: Span) -> int:
    """Id of the job or received message (CONSUMER) that a span is, or is in; 0 when there is none."""
    return getattr(span, UNIT, 0)


def possible() -> bool:
    """True in a request that has its SERVER span: there `start` makes a light span."""
    record = records.current()
    return record is not None and record.server is not None


def late(span: Span, key: str, value: AttributeValue) -> None:
    """Set a fact that is known only after the span's end, such as the rows fetched from a query.

    It is lost when the span has already been handed on: after the request, or outside of one.
    """
    if isinstance(span, LightSpan):
        if span.record is not None:
            span.facts()[key] = value
    elif span.is_recording():
        span.set_attribute(key, value)


NO_LIMITS = SpanLimits()
UNSET = Status()

Shared = tuple[Mapping[str, Any], ...]
"""Attributes that many spans have alike; of the same key the later counts."""

Deferred = Callable[[], dict[str, Any]]
"""Makes attributes that nobody needs while the app runs."""


class LightSpan:
    """A recording span in slots, and a `Span` for `isinstance`. Not for exporters: see `readable`.

    What comes in thousands makes what it tells when somebody asks (`lazy.LazySpan`); all others are of
    `StoredSpan`. Beside what is here each has `name`, `kind`, `instrumentation_scope`, `context`,
    `parent`, `trace_id` and `otel_toolbar_unit` (see `unit_of`: of the span above).
    """

    # No base class of Python's and no annotations of the class: so it can be compiled.
    # `__dict__` is for others: some instrumentations and processors put something of theirs on a span.
    __slots__ = (
        "__dict__", "__weakref__", "_context", "_events", "_links", "_status", "end_time", "limits",
        "record", "resource", "span_id", "start_time",
    )  # fmt: skip

    def begin(self, record: records.Record, start_time: int) -> None:
        """As it is at its start, in the request of `record`."""
        self.record: records.Record | None = record
        """Its request; None once the span has been handed on."""
        self.resource = record.resource
        self.limits = NO_LIMITS
        self.span_id = random_bits(64) or 1
        self.start_time = start_time
        self.end_time: int | None = None
        self._context: SpanContext | None = None
        """Made when it is asked for: most of these spans have no child."""
        self._links: list[Link] | None = None
        self._events: list[tuple[str, int, Mapping[str, Any]]] | None = None
        self._status = UNSET

    def facts(self) -> dict[str, Any]:
        """Its attributes as they are written while it runs."""
        raise NotImplementedError

    def parts(self) -> tuple[Mapping[str, Any], ...]:
        """Its attributes as they are kept: of the same key the later counts."""
        raise NotImplementedError

    def ids(self) -> tuple[int, int, int, bool]:
        """Of its trace, itself and its parent, and whether that one is of another process."""
        raise NotImplementedError

    def get_span_context(self) -> SpanContext:
        raise NotImplementedError

    def update_name(self, name: str) -> None:
        raise NotImplementedError

    @property
    def attributes(self) -> Mapping[str, Any]:
        """A copy: the span goes on writing its own."""
        return _together(self.parts())

    def figures(self) -> tuple[Any, ...] | None:
        """Plain figures that tell all of it; mostly None.

        Ids of it and its parent, which is of this process, when it began and ended, and the arguments
        of `wire.measured.attributes`.
        """
        return None

    def __enter__(self) -> LightSpan:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.end()

    def is_recording(self) -> bool:
        return self.end_time is None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        if self.end_time is None:
            self.facts()[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        if self.end_time is None:
            self.facts().update(attributes)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        if self.end_time is None:
            self._events = self._events or []
            self._events.append((name, timestamp or time.time_ns(), dict(attributes or {})))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if self.end_time is None:
            self._links = self._links or []
            self._links.append(Link(context, attributes))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        given = status if isinstance(status, Status) else Status(status, description)
        decided = self._status.status_code is StatusCode.OK
        if self.end_time is None and not decided and given.status_code is not StatusCode.UNSET:
            self._status = masked_status(given)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        facts = exceptions.described(exception) | {semconv.EXCEPTION_ESCAPED: str(escaped)}
        self.add_event(semconv.EXCEPTION_EVENT, facts | dict(attributes or {}), timestamp)

    def end(self, end_time: int | None = None) -> None:
        if self.end_time is not None:
            return
        self.end_time = end_time or time.time_ns()
        record = self.record
        if record is None:
            return
        if record.closed_at:
            emit(record, [self])
        elif record.untold is not None:
            record.untold.append(self)

    # What the SDK's spans have beyond the API, for those who read them: other libraries do.

    @property
    def status(self) -> Status:
        return self._status

    @property
    def events(self) -> Sequence[Event]:
        if not self._events:
            return ()
        limits = self.limits
        return [
            Event(
                _text(name),
                _bounded(facts, limits.max_event_attributes, limits.max_attribute_length),
                at,
            )
            for name, at, facts in _newest(self._events, limits.max_events)
        ]

    @property
    def links(self) -> Sequence[Link]:
        if not self._links:
            return ()
        limits = self.limits
        return [
            Link(
                link.context,
                _bounded(
                    link.attributes or {}, limits.max_link_attributes, limits.max_attribute_length
                ),
            )
            for link in _newest(self._links, limits.max_links)
        ]

    def to_json(self, indent: int | None = 4) -> str:
        return self.readable().to_json(indent)

    def readable(self) -> ReadableSpan:
        """The ordinary span that exporters expect: values cleaned, `OTEL_*_LIMIT` applied."""
        this: Any = self
        limits = self.limits
        return ReadableSpan(
            name=_text(this.name),
            context=self.get_span_context(),
            parent=this.parent if this.parent.span_id else None,
            resource=self.resource,
            attributes=_bounded(
                self.attributes, limits.max_span_attributes, limits.max_span_attribute_length
            ),
            events=self.events,
            links=self.links,
            kind=this.kind,
            status=self._status,
            start_time=self.start_time,
            end_time=self.end_time,
            instrumentation_scope=this.instrumentation_scope,
        )


Span.register(LightSpan)


class StoredSpan(LightSpan):
    """A light span that has what it tells.

    Its attributes are `own`, what `deferred` makes, and `shared`, put together when they are read; of
    the same key its own counts.
    """

    __slots__ = (
        "deferred", "instrumentation_scope", "kind", "name", "otel_toolbar_unit", "own", "parent", "shared",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, Any],
        scope: InstrumentationScope,
        parent: SpanContext,
        record: records.Record,
        links: list[Link] | None = None,
        start_time: int | None = None,
        shared: Shared = (),
    ) -> None:
        self.begin(record, start_time or time.time_ns())
        self.name = name
        self.kind = kind
        self.own = attributes
        self.shared = shared
        self.deferred: Deferred | None = None
        self.instrumentation_scope = scope
        self.parent = parent
        self.otel_toolbar_unit = 0
        self._links = links

    @property
    def context(self) -> SpanContext:
        return self.get_span_context()

    @property
    def trace_id(self) -> int:
        return self.parent[0]

    def get_span_context(self) -> SpanContext:
        known = self._context
        if known is None:
            parent = self.parent
            known = self._context = SpanContext(
                parent.trace_id, self.span_id, False, parent.trace_flags, parent.trace_state
            )
        return known

    def facts(self) -> dict[str, Any]:
        return self.own

    def parts(self) -> tuple[Mapping[str, Any], ...]:
        deferred = self.deferred
        if deferred is not None:
            # Put there before it is cleared: who looks meanwhile makes the same once more, and misses none.
            self.shared = (*self.shared, _made(deferred))
            self.deferred = None
        return (*self.shared, self.own)

    def ids(self) -> tuple[int, int, int, bool]:
        parent = self.parent
        return parent[0], self.span_id, parent[1], parent[2]  # by their names it takes longer

    def update_name(self, name: str) -> None:
        if self.end_time is None:
            self.name = name


def _made(deferred: Deferred) -> dict[str, Any]:
    try:
        return deferred()
    except Exception:  # a few facts must not cost the span
        guard.failed("attributes of a span")
        return {}


def _together(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for each in parts:
        attributes.update(each)
    return attributes


def masked_status(status: Status) -> Status:
    """The status with secrets in its description masked: that is often an exception's text."""
    description = status.description
    if not description or (masked := _text(masking.text(description))) == description:
        return status
    return Status(status.status_code, masked)


def emit(record: records.Record, spans: Sequence[LightSpan]) -> None:
    """Hand ended light spans to all processors of their SERVER span's provider."""
    taken = take(spans)
    for processor in _processors(record):
        take_all = getattr(processor, TAKES_ALL, None)
        if take_all is not None and taken:
            take_all(taken)
    tell_others(record, taken)


def take(spans: Sequence[LightSpan]) -> list[LightSpan]:
    """The spans that nobody else has taken; from now on they are the caller's.

    One caller only gets a span: a thread may end it in the moment its request is drained. From here on
    it is nobody's to write, and it lets go of its request.
    """
    taken: list[LightSpan] = []
    known: records.Record | None = None
    limits = NO_LIMITS
    with _taking:
        for span in spans:
            record = span.record
            if record is None:
                continue
            if record is not known:
                known, limits = record, _limits(record)
            span.record, span.limits = None, limits
            taken.append(span)
    return taken


def tell_others(record: records.Record, spans: Sequence[LightSpan]) -> None:
    """Give spans, as `ReadableSpan`s, to the processors that are not ours."""
    others = _others(record)
    if not others:
        return
    for span in spans:
        try:
            converted = span.readable()
            for processor in others:
                processor.on_end(converted)
        except Exception:
            guard.failed("handing on a light span")


def has_others(record: records.Record) -> bool:
    """True when somebody else wants spans: an exporter, say."""
    return bool(_others(record))


def _others(record: records.Record) -> list[SpanProcessor]:
    return [each for each in _processors(record) if not hasattr(each, TAKES_ALL)]


def _bounded(attributes: Mapping[str, Any], most: int | None, longest: int | None) -> Any:
    # A copy: a dict may still be written by who made it.
    cleaned = {key: clean(value) for key, value in list(attributes.items())}
    return BoundedAttributes(most, cleaned, immutable=True, max_value_len=longest)


def _newest(items: Sequence[T] | None, most: int | None) -> Sequence[T]:
    """The last `most` of what was added."""
    if not items or most is None:
        return items or ()
    return items[max(0, len(items) - most) :]


_INT64 = 2**63
_MAX_DEPTH = 10


def clean(value: Any, depth: int = 0) -> Any:
    """A value that every exporter can encode: no lone surrogate, no int beyond 64 bits, no cycle.

    A type that OpenTelemetry does not know becomes its name, not its `repr`, which is code of others.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, (bool, float, bytes)) or value is None:
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else str(value)
    if isinstance(value, (list, tuple)) and depth < _MAX_DEPTH:
        return [clean(item, depth + 1) for item in cast("Sequence[Any]", value)]
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        entries = list(cast("dict[Any, Any]", value).items())
        return {_text(key): clean(item, depth + 1) for key, item in entries}
    return _type_name(cast(object, value))


def _type_name(value: object) -> str:
    return f"<{type(value).__qualname__}>"


def _text(given: Any) -> str:
    """A name that every exporter can encode."""
    return str(clean(given))


def _trace_of_its_own(record: records.Record) -> SpanContext:
    """A parentless context in a new trace: the same for all that outlives this request."""
    if record.later is None:
        flags = cast(SpanContext, record.root).trace_flags
        record.later = SpanContext(_ids.getrandbits(128) or 1, 0, False, TraceFlags(flags))
    return record.later


def _limits(record: records.Record) -> SpanLimits:
    return getattr(record.server, "_limits", None) or NO_LIMITS


TAKES_ALL = "otel_toolbar_take_all"
"""Name of the method of our processor that takes many spans at once; others are called for each."""


def _processors(record: records.Record) -> tuple[SpanProcessor, ...]:
    """The provider's processors; the chain itself when its parts cannot be seen."""
    chain = getattr(record.server, "_span_processor", None)
    if chain is None:
        return ()
    return getattr(chain, "_span_processors", (chain,))


_SILENT = {
    processor.on_start for processor in (SpanProcessor, BatchSpanProcessor, SimpleSpanProcessor)
}


def told_of_starts(record: records.Record) -> Sequence[SpanProcessor]:
    """Processors of others that want to know of a start: few have any use for it."""
    global _told
    processors, known = _processors(record), _told
    if processors is not known[0]:  # nearly always the same tuple of the same provider
        known = _told = (
            processors,
            [
                each
                for each in processors
                if type(each).on_start not in _SILENT and not hasattr(each, TAKES_ALL)
            ],
        )
    return known[1]


_told: tuple[tuple[SpanProcessor, ...], Sequence[SpanProcessor]] = (), ()
