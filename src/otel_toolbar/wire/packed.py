"""Spans and log records packed into bytes, for keeping them while nobody looks.

Kept as objects, a trace costs more than to record it: some hundred objects that the garbage collector
goes through and that are freed one by one when the trace is evicted. Packed, it is one object of which
the size is known exactly, and nothing in it is shared with who wrote it.
"""

from __future__ import annotations

import itertools
import marshal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from otel_toolbar import semconv
from otel_toolbar.model import Event, Kind, Link, Log, Scope, Span, Status, Value
from otel_toolbar.semconv import PROCESS_EVENT

from . import measured, sdk

_MAIN = (SpanKind.SERVER, SpanKind.CONSUMER)
_MAX_DEPTH = 10
_KINDS = (Kind.INTERNAL, Kind.SERVER, Kind.CLIENT, Kind.PRODUCER, Kind.CONSUMER)
_STATUSES = (Status.UNSET, Status.OK, Status.ERROR)
"""In the order of the SDK's numbers."""


@dataclass(slots=True)
class Packed:
    """Ended spans and log records of one trace.

    `main`: a request, job or message is among them; `websocket`: the end of a websocket connection is.
    """

    data: bytes
    logged: bytes
    """The log records, empty when there are none."""
    count: int
    main: bool
    websocket: bool = False

    @property
    def size(self) -> int:
        return len(self.data) + len(self.logged)

    def spans(self) -> list[Span]:
        """The spans as the model has them, in the order in which they were packed."""
        rows = marshal.loads(self.data)  # noqa: S302 - our own
        return [_of_figures(*row) if type(row[0]) is tuple else _unpacked(*row) for row in rows]

    def logs(self) -> list[Log]:
        """The log records likewise."""
        fields = marshal.loads(self.logged) if self.logged else ()  # noqa: S302 - our own
        return [_unpacked_log(*each) for each in fields]


@dataclass(slots=True)
class Running:
    """What of one trace is still written: packed at the moment when somebody looks."""

    items: Sequence[Any]
    logged: Sequence[Any] = ()

    @property
    def websocket(self) -> bool:
        return False

    @property
    def count(self) -> int:
        return len(self.items) + len(self.logged)

    @property
    def size(self) -> int:
        return pack(self.items, self.logged).size

    @property
    def main(self) -> bool:
        return _has_main(self.items)

    def spans(self) -> list[Span]:
        return pack(self.items).spans()

    def logs(self) -> list[Log]:
        return pack((), self.logged).logs()


def pack(spans: Sequence[Any], logs: Sequence[Any] = ()) -> Packed:
    """Pack spans and log records: the SDK's, or light ones.

    Other threads may write them meanwhile: each dict and list is gone through in one step of C, which
    no other thread comes between.
    """
    try:
        data = marshal.dumps(_rows(spans))
    except (ValueError, AttributeError, TypeError):
        # A value that OpenTelemetry does not know, set by the app, or an SDK built otherwise.
        data = marshal.dumps([_plain_fields(span) for span in spans])
    logged = marshal.dumps([_log_fields(log) for log in logs]) if logs else b""
    count = len(spans) + len(logs)
    return Packed(data, logged, count, _has_main(spans), _closes_websocket(spans))


def by_trace(spans: Sequence[Any], logs: Sequence[Any] = ()) -> dict[str, Running]:
    """Spans and log records by their trace's id, in 32 hex digits; those of no trace are left out."""
    groups: dict[int, tuple[list[Any], list[Any]]] = {}
    last, append = 0, None
    for span in spans:
        # A light span's context would have to be made for that.
        where: Any = span.get_span_context() if isinstance(span, ReadableSpan) else span
        trace_id = where.trace_id
        if append is None or trace_id != last:  # nearly always all are of one trace
            last, append = trace_id, groups.setdefault(trace_id, ([], []))[0].append
        append(span)
    for log in logs:
        context = _context_of(log)
        if context is not None and context.trace_id:
            groups.setdefault(context.trace_id, ([], []))[1].append(log)
    return {f"{trace_id:032x}": Running(*group) for trace_id, group in groups.items()}


def process_facts(logs: Sequence[Any]) -> list[Log]:
    """The records among them that tell the facts of a process, as the model has them."""
    return [_unpacked_log(*_log_fields(log)) for log in logs if _event_of(log) == PROCESS_EVENT]


def _event_of(log: Any) -> str | None:
    given = getattr(log, "log_record", None)
    return log.event if given is None else given.event_name


def _context_of(log: Any) -> Any:
    """Where a log record belongs: its ids, or None."""
    return getattr(log, "log_record", None) or log.context


def _has_main(spans: Sequence[Any]) -> bool:
    return any(span.kind in _MAIN for span in spans)


def _closes_websocket(spans: Sequence[Any]) -> bool:
    # The SERVER span is handed on first, with what belongs to it.
    first = spans[0] if spans else None
    if first is None or first.kind is not SpanKind.SERVER:
        return False
    # Its own dict: the SDK's mapping raises and catches an error for a key that is not there.
    attributes: Any = getattr(first, "_attributes", None)
    if attributes is None:
        attributes = first.attributes or ()
    return semconv.WEBSOCKET_STATE in getattr(attributes, "_dict", attributes)


def _rows(spans: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What is kept of each span.

    What is told by figures alone becomes attributes when it is unpacked.
    """
    rows: list[tuple[Any, ...]] = []
    where, root, resource = (), None, None
    for span in spans:
        if isinstance(span, ReadableSpan) or (figures := span.figures()) is None:
            rows.append(_fields(span))
            continue
        if span.root is not root or span.resource is not resource:
            # One object for all that are equal: it is packed once.
            root, resource = span.root, span.resource
            where = root[0], _resources.number(resource)
        rows.append((where, figures))
    return rows


def _fields(span: Any) -> tuple[Any, ...]:
    """What is kept of a span; attributes as they are, for nobody writes them any more.

    Of a light span they are in several dicts, and what many spans share is packed once.

    An SDK span's own fields are read, not its properties, and whether its lists are empty is asked of what
    they are made of: forty calls a request fewer, a tenth of what watching a JSON request costs (measured).
    """
    if not isinstance(span, ReadableSpan):
        status, links = span.status, span.links
        return (
            span.name,
            *span.ids(),
            span.kind._value_,  # a fraction of what `value` costs
            span.start_time,
            span.end_time,
            *(_NO_STATUS if status.is_unset else _status(status)),
            *_named(span.instrumentation_scope),
            _resources.number(span.resource),
            0,
            span.parts(),
            _events(events) if (events := span.events) else None,
            _links(links) if links else None,
        )
    raw: Any = span.__dict__
    attributes, events, links = raw["_attributes"], raw["_events"], raw["_links"]
    return (
        raw["_name"],
        *_ids(raw["_context"], raw["_parent"]),
        raw["_kind"]._value_,
        raw["_start_time"],
        raw["_end_time"],
        *_status(raw["_status"]),
        *_named(raw["_instrumentation_scope"]),
        _resources.number(raw["_resource"]),
        attributes.dropped,
        attributes._dict,  # noqa: SLF001
        _events(events) if getattr(events, "_dq", events) else None,
        _links(links) if getattr(links, "_dq", links) else None,
    )


def _plain_fields(span: Any) -> tuple[Any, ...]:
    """The same by the public way, values made plain."""
    readable: ReadableSpan = span if isinstance(span, ReadableSpan) else span.readable()
    return (
        readable.name,
        *_ids(readable.context, readable.parent),
        readable.kind.value,
        readable.start_time,
        readable.end_time,
        *_status(readable.status),
        *_named(readable.instrumentation_scope),
        _resources.number(readable.resource),
        readable.dropped_attributes,
        _plain(readable.attributes),
        _events(readable.events),
        _links(readable.links),
    )


def _ids(context: Any, parent: Any) -> tuple[int, int, int, bool]:
    if parent is None:
        return context.trace_id, context.span_id, 0, False
    return context.trace_id, context.span_id, parent.span_id, parent.is_remote


_NO_STATUS = 0, None


def _status(status: Any) -> tuple[int, str | None]:
    if status is None or status.is_unset:
        return _NO_STATUS
    return status.status_code.value, status.description


def _events(events: Any) -> list[tuple[str, int, dict[str, Value]]]:
    return [(event.name, event.timestamp, _plain(event.attributes)) for event in tuple(events)]


def _links(links: Sequence[Any]) -> list[tuple[int, int, dict[str, Any]]]:
    return [
        (link.context.trace_id, link.context.span_id, _plain(link.attributes))
        for link in tuple(links)
    ]


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Value]:
    """Attributes in types that can be packed."""
    return {key: _plain_value(value) for key, value in list((attributes or {}).items())}


def _plain_value(value: Any, depth: int = 0) -> Any:
    if depth == _MAX_DEPTH:
        return "…"
    if isinstance(value, (list, tuple)):
        return tuple(_plain_value(each, depth + 1) for each in cast("Sequence[Any]", value))
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {key: _plain_value(each, depth + 1) for key, each in items}
    for kind, plain in _PLAIN:
        if isinstance(value, kind):
            return plain(value)
    return None if value is None else f"<{type(value).__qualname__}>"


_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (bool, bool),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, bytes),
)
"""Types that can be packed, with what makes the very type of a subclass."""


def _unpacked(
    name: str,
    trace_id: int,
    span_id: int,
    parent_id: int,
    remote_parent: bool,
    kind: int,
    start: int,
    end: int | None,
    status: int,
    status_message: str | None,
    scope: str,
    version: str,
    resource: int,
    dropped: int,
    attributes: dict[str, Any] | tuple[dict[str, Any], ...],
    events: list[tuple[str, int, dict[str, Any]]] | None,
    links: list[tuple[int, int, dict[str, Any]]] | None,
) -> Span:
    if isinstance(attributes, tuple):
        attributes = {key: value for each in attributes for key, value in each.items()}
    return Span(
        trace_id=f"{trace_id:032x}",
        span_id=f"{span_id:016x}",
        parent_id=f"{parent_id:016x}" if parent_id else None,
        name=name,
        kind=_KINDS[kind],
        start=start,
        end=end,
        attributes=sdk.attributes(attributes),
        status=_STATUSES[status],
        status_message=status_message or "",
        events=tuple(Event(what, at, sdk.attributes(facts)) for what, at, facts in events or ()),
        links=tuple(
            Link(f"{trace:032x}", f"{span:016x}", sdk.attributes(facts))
            for trace, span, facts in links or ()
        ),
        scope=_scope(scope, version),
        resource=_resources.attributes(resource),
        remote_parent=remote_parent,
        dropped=dropped,
    )


def _of_figures(
    where: tuple[int, int],
    figures: tuple[int, int, int, int | None, tuple[Any, ...]],
) -> Span:
    trace_id, resource = where
    span_id, parent_id, start, end, told = figures
    facts = measured.attributes(*told)
    return _unpacked(
        f"task {told[0]}", trace_id, span_id, parent_id, False, 0, start, end, 0, None,
        *measured.SCOPE, resource, 0, facts, None, None,
    )  # fmt: skip


def _log_fields(log: Any) -> tuple[Any, ...]:
    """What is kept of a log record, values made plain."""
    given = getattr(log, "log_record", None)
    if given is None:
        context, scope, event = log.context, log.scope, log.event
        said = log.time, log.severity, log.level, log.body, log.attributes
    else:
        context, scope, event = given, log.instrumentation_scope, given.event_name
        severity = given.severity_number.value if given.severity_number else 0
        at = given.timestamp or given.observed_timestamp
        said = at, severity, given.severity_text, given.body, given.attributes
    at, severity, level, body, attributes = said
    return (
        context.trace_id or 0 if context is not None else 0,
        context.span_id or 0 if context is not None else 0,
        at or 0,
        severity,
        level or "",
        _plain_value(body),
        event or "",
        *_named(scope),
        _resources.number(log.resource),
        _plain(attributes),
    )


def _unpacked_log(
    trace_id: int,
    span_id: int,
    at: int,
    severity: int,
    level: str,
    body: Any,
    event: str,
    scope: str,
    version: str,
    resource: int,
    attributes: dict[str, Any],
) -> Log:
    return Log(
        trace_id=f"{trace_id:032x}" if trace_id else "",
        span_id=f"{span_id:016x}" if span_id else None,
        time=at,
        severity=severity,
        level=level,
        body=sdk.value(body),
        event=event,
        attributes=sdk.attributes(attributes),
        scope=_scope(scope, version),
        resource=_resources.attributes(resource),
    )


@lru_cache(maxsize=256)
def _scope(name: str, version: str) -> Scope:
    return Scope(name, version)


def _named(scope: Any) -> tuple[str, str]:
    return ("", "") if scope is None else (scope.name, scope.version or "")


class _Resources:
    """The resources of a process by number: a span names its resource instead of holding it.

    Without a lock, and from any thread: a number is found only when what it stands for is there. Two
    threads that meet a resource at the same moment may number it twice, which is harmless.
    """

    def __init__(self) -> None:
        self._free = itertools.count()
        self._numbers: dict[int, int] = {}
        self._known: dict[int, tuple[Any, dict[str, Value]]] = {}
        """The object is held too, so that no later one has the `id` of one that is numbered."""

    def number(self, resource: Any) -> int:
        number = self._numbers.get(id(resource))
        return self._add(resource) if number is None else number

    def attributes(self, number: int) -> dict[str, Value]:
        return self._known[number][1]

    def _add(self, resource: Any) -> int:
        number = next(self._free)
        self._known[number] = resource, sdk.attributes(getattr(resource, "attributes", None))
        return self._numbers.setdefault(id(resource), number)


_resources = _Resources()
