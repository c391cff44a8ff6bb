"""OTLP/JSON, both ways: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.

Ids are hex, 64-bit integers are strings, keys are in lowerCamelCase. Keys that are not known are
ignored, as the specification demands. What is wrong is refused with its place: `OtlpError`.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from otel_toolbar.model import Event, Kind, Link, Log, Scope, Span, Status, Value
from otel_toolbar.semconv import PROCESS_EVENT

MAX_ATTRIBUTES = 1000
"""Attributes of one span, event or resource that are read; more of them are no fact but an attack."""

MAX_DEPTH = 10
"""Levels of lists and maps within an attribute value."""

_KINDS = {1: Kind.INTERNAL, 2: Kind.SERVER, 3: Kind.CLIENT, 4: Kind.PRODUCER, 5: Kind.CONSUMER}
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_STATUSES = {0: Status.UNSET, 1: Status.OK, 2: Status.ERROR}
_STATUS_NUMBERS = {status: number for number, status in _STATUSES.items()}
_REMOTE_KNOWN, _REMOTE = 0x100, 0x200
_LATEST = 2**63 - 1
"""Unix ns that fit a signed 64-bit integer: the year 2262."""


class OtlpError(ValueError):
    """The message is not OTLP; the text says where and why."""


def decode(message: Any) -> list[Span]:
    """The spans of an OTLP/JSON `TracesData` or export request."""
    found = _scoped(message, "resourceSpans", "scopeSpans", "spans")
    return [_span(span, scope, resource, place) for span, scope, resource, place in found]


def decode_logs(message: Any) -> list[Log]:
    """The log records of an OTLP/JSON `LogsData` or export request.

    Of those that belong to no trace only the facts of a process: their `trace_id` is empty.
    """
    found = _scoped(message, "resourceLogs", "scopeLogs", "logRecords")
    return [
        _log(log, scope, resource, place)
        for log, scope, resource, place in found
        if log.get("traceId") or log.get("eventName") == PROCESS_EVENT
    ]


def _scoped(
    message: Any, by_resource: str, by_scope: str, items: str
) -> Iterator[tuple[Mapping[str, Any], Scope, dict[str, Value], str]]:
    """Each item of a message with its scope, resource and place."""
    for place, group in _items(message, by_resource, "message"):
        resource = _attributes(_map(group.get("resource"), place), place)
        for inner, scoped in _items(group, by_scope, place):
            given = _map(scoped.get("scope"), inner)
            scope = Scope(_text(given.get("name")), _text(given.get("version")))
            for at, item in _items(scoped, items, inner):
                yield item, scope, resource, at


def encode(spans: Iterable[Span]) -> dict[str, Any]:
    """Spans as an OTLP/JSON `TracesData`, grouped by resource and scope."""
    return {"resourceSpans": _grouped(spans, _encode_span, "scopeSpans", "spans")}


def encode_logs(logs: Iterable[Log]) -> dict[str, Any]:
    """Log records as an OTLP/JSON `LogsData`, grouped by resource and scope."""
    return {"resourceLogs": _grouped(logs, _encode_log, "scopeLogs", "logRecords")}


Item = TypeVar("Item", Span, Log)


def _grouped(
    given: Iterable[Item], encoded: Callable[[Item], dict[str, Any]], by_scope: str, items: str
) -> list[dict[str, Any]]:
    groups: dict[int, dict[str, Any]] = {}
    scopes: dict[tuple[int, Scope], dict[str, Any]] = {}
    for item in given:
        key = id(item.resource)
        group = groups.setdefault(
            key, {"resource": {"attributes": _encode_all(item.resource)}, by_scope: []}
        )
        scope = scopes.get((key, item.scope))
        if scope is None:
            scope = scopes[key, item.scope] = {
                "scope": {"name": item.scope.name, "version": item.scope.version},
                items: [],
            }
            group[by_scope].append(scope)
        scope[items].append(encoded(item))
    return list(groups.values())


def _encode_log(log: Log) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "timeUnixNano": str(log.time),
        "observedTimeUnixNano": str(log.time),
        "severityNumber": log.severity,
        "severityText": log.level,
        "body": _encode(log.body),
        "attributes": _encode_all(log.attributes),
    }
    if log.trace_id:
        encoded["traceId"] = log.trace_id
    if log.span_id is not None:
        encoded["spanId"] = log.span_id
    if log.event:
        encoded["eventName"] = log.event
    return encoded


def _encode_span(span: Span) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "flags": _REMOTE_KNOWN | (_REMOTE if span.remote_parent else 0) | 1,
        "name": span.name,
        "kind": _KIND_NUMBERS[span.kind],
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end or 0),
        "attributes": _encode_all(span.attributes),
        "status": {"code": _STATUS_NUMBERS[span.status], "message": span.status_message},
        "events": [
            {
                "name": event.name,
                "timeUnixNano": str(event.time),
                "attributes": _encode_all(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {
                "traceId": link.trace_id,
                "spanId": link.span_id,
                "attributes": _encode_all(link.attributes),
            }
            for link in span.links
        ],
        "droppedAttributesCount": span.dropped,
    }
    if span.parent_id is not None:
        encoded["parentSpanId"] = span.parent_id
    return encoded


def _encode_all(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _encode(value)} for key, value in attributes.items()]


def _encode(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else str(value)}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {"arrayValue": {"values": [_encode(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _encode_all(value)}}
    return {}


def _span(span: Mapping[str, Any], scope: Scope, resource: dict[str, Value], place: str) -> Span:
    start = _time(span.get("startTimeUnixNano"), f"{place}.startTimeUnixNano")
    end = _time(span.get("endTimeUnixNano"), f"{place}.endTimeUnixNano")
    status = _map(span.get("status"), place)
    return Span(
        trace_id=_id(span.get("traceId"), 32, f"{place}.traceId"),
        span_id=_id(span.get("spanId"), 16, f"{place}.spanId"),
        parent_id=_id(span["parentSpanId"], 16, f"{place}.parentSpanId")
        if span.get("parentSpanId")
        else None,
        name=_text(span.get("name")),
        kind=_KINDS.get(_integer(span.get("kind")) or 0, Kind.INTERNAL),
        start=start,
        end=end or None,
        attributes=_attributes(span, place),
        status=_STATUSES.get(_integer(status.get("code")) or 0, Status.UNSET),
        status_message=_text(status.get("message")),
        events=tuple(_event(event, at) for at, event in _items(span, "events", place)),
        links=tuple(_link(link, at) for at, link in _items(span, "links", place)),
        scope=scope,
        resource=resource,
        remote_parent=bool((_integer(span.get("flags")) or 0) & _REMOTE),
        dropped=sum(
            _integer(span.get(key)) or 0
            for key in ("droppedAttributesCount", "droppedEventsCount", "droppedLinksCount")
        ),
    )


def _log(log: Mapping[str, Any], scope: Scope, resource: dict[str, Value], place: str) -> Log:
    observed = _time(log.get("observedTimeUnixNano"), f"{place}.observedTimeUnixNano")
    return Log(
        trace_id=_id(log["traceId"], 32, f"{place}.traceId") if log.get("traceId") else "",
        span_id=_id(log["spanId"], 16, f"{place}.spanId") if log.get("spanId") else None,
        time=_time(log.get("timeUnixNano"), f"{place}.timeUnixNano") or observed,
        severity=min(max(_integer(log.get("severityNumber")) or 0, 0), 24),
        level=_text(log.get("severityText")),
        body=_value(log.get("body"), f"{place}.body"),
        event=_text(log.get("eventName")),
        attributes=_attributes(log, place),
        scope=scope,
        resource=resource,
    )


def _event(event: Mapping[str, Any], place: str) -> Event:
    at = _time(event.get("timeUnixNano"), f"{place}.timeUnixNano")
    return Event(_text(event.get("name")), at, _attributes(event, place))


def _link(link: Mapping[str, Any], place: str) -> Link:
    return Link(
        _id(link.get("traceId"), 32, f"{place}.traceId"),
        _id(link.get("spanId"), 16, f"{place}.spanId"),
        _attributes(link, place),
    )


def _attributes(owner: Mapping[str, Any], place: str) -> dict[str, Value]:
    pairs = list(_items(owner, "attributes", place))
    if len(pairs) > MAX_ATTRIBUTES:
        raise OtlpError(f"{place}: {len(pairs)} attributes; at most {MAX_ATTRIBUTES} are taken")
    return {_text(pair.get("key")): _value(pair.get("value"), at) for at, pair in pairs}


def _value(value: Any, place: str, depth: int = 0) -> Value:
    if depth > MAX_DEPTH:
        raise OtlpError(f"{place}: values nested more than {MAX_DEPTH} deep")
    given = _map(value, place)
    if "arrayValue" in given:
        values = _items(_map(given["arrayValue"], place), "values", place)
        return tuple(_value(item, at, depth + 1) for at, item in values)
    if "kvlistValue" in given:
        pairs = _items(_map(given["kvlistValue"], place), "values", place)
        return {
            _text(pair.get("key")): _value(pair.get("value"), at, depth + 1) for at, pair in pairs
        }
    return _scalar(given, place)


def _scalar(given: Mapping[str, Any], place: str) -> Value:
    for key, read in _SCALARS.items():
        if key in given:
            try:
                return read(given[key])
            except (TypeError, ValueError):
                raise OtlpError(f"{place}: {key} {given[key]!r:.40} is none") from None
    return None


def _int64(value: Any) -> int:
    number = _integer(value)
    if number is None:
        raise ValueError(value)
    return number


_SCALARS: dict[str, Callable[[Any], Value]] = {
    "stringValue": str,
    "intValue": _int64,
    "doubleValue": float,
    "boolValue": bool,
    "bytesValue": lambda value: base64.b64decode(value, validate=True),
}


def _items(owner: Any, key: str, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with its place in the message."""
    found = _map(owner, place).get(key)
    if found is None:
        return
    if not isinstance(found, list):
        raise OtlpError(f"{place}.{key} is not a list")
    for number, item in enumerate(cast("Sequence[Any]", found)):
        at = f"{place}.{key}[{number}]"
        yield at, _map(item, at)


def _map(value: Any, place: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise OtlpError(f"{place} is not an object")
    return cast("Mapping[str, Any]", value)


def _id(value: Any, digits: int, place: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", value):
        raise OtlpError(f"{place} is not {digits} hex digits")
    if not value.strip("0"):
        raise OtlpError(f"{place} is all zero")
    return value.lower()


def _time(value: Any, place: str) -> int:
    if value is None:
        return 0
    number = _integer(value)
    if number is None or not 0 <= number <= _LATEST:
        raise OtlpError(f"{place} is not a time in Unix nanoseconds")
    return number


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
