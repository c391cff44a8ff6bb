"""What a span says, under today's attribute names or the old ones that other SDKs still write.

Values come from anywhere: a function here gives the type that it promises, or says that there is
nothing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from otel_toolbar import semconv
from otel_toolbar.model import Kind, Span, Status, Trace, Value

from .transactions import is_control

Category = Literal["server", "db", "cache", "http", "job", "websocket", "template", "internal"]
"""What kind of work a span is; each has a colour."""

CACHES = frozenset({"redis", "memcached", "valkey"})
"""Systems that OpenTelemetry calls databases and that are asked as caches."""

_STORED = frozenset(
    {
        semconv.DB_SYSTEM_NAME,
        semconv.OLD_DB_SYSTEM,
        semconv.DB_QUERY_TEXT,
        semconv.OLD_DB_STATEMENT,
        semconv.CACHE_SYSTEM,
    }
)
"""Attributes that only spans of databases and caches have."""


def text(span: Span, *keys: str) -> str:
    """The first attribute of `keys` that is there, as text; else empty."""
    attributes = span.attributes
    for key in keys:
        value = attributes.get(key)
        if value is not None and value != "":
            return as_text(value)
    return ""


def number(span: Span, *keys: str) -> float | None:
    """The first attribute of `keys` that is a finite number."""
    for key in keys:
        value = span.number(key)
        if value is not None and math.isfinite(value):
            return value
    return None


def integer(span: Span, *keys: str) -> int | None:
    """The first attribute of `keys` that is an integer, or text that reads as one.

    Some SDKs write ports and sizes as text.
    """
    for key in keys:
        value = span.attributes.get(key)
        found = _whole(value) if isinstance(value, str) else span.integer(key)
        if found is not None:
            return found
    return None


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None


def as_text(value: Value) -> str:
    """Any attribute value as text that can be encoded: arrays and maps as JSON."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, (tuple, list, dict)):
        return as_text(json.dumps(value, ensure_ascii=False, default=str))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def strings(value: Value) -> tuple[str, ...]:
    """A string array, or one value, as texts."""
    items = value if isinstance(value, (tuple, list)) else () if value is None else (value,)
    return tuple(as_text(item) for item in items)


def category(span: Span) -> Category:
    """What kind of work the span is."""
    attributes = span.attributes
    if not attributes:
        return _by_kind(span)
    if not _STORED.isdisjoint(attributes):
        cached = semconv.CACHE_SYSTEM in attributes or database_system(span) in CACHES
        return "cache" if cached else "db"
    if semconv.MESSAGING_SYSTEM in attributes:
        return "job"
    if is_websocket(span):
        return "websocket"
    if semconv.TEMPLATE_NAME in attributes:
        return "template"
    return _by_kind(span)


def _by_kind(span: Span) -> Category:
    if span.kind is Kind.SERVER:
        return "server"
    if span.kind in (Kind.CONSUMER, Kind.PRODUCER):
        return "job"
    return "http" if span.kind is Kind.CLIENT else "internal"


def is_query(span: Span) -> bool:
    """True for what the queries panel shows: a statement, not a connect, a pool wait or a COMMIT."""
    told = statement(span) or operation(span)
    return category(span) == "db" and bool(told) and not is_control(told)


def is_transaction(span: Span) -> bool:
    """True for what begins or ends a transaction or a savepoint."""
    return category(span) == "db" and is_control(statement(span) or operation(span))


def transaction(span: Span) -> str:
    """BEGIN, COMMIT, ROLLBACK, SAVEPOINT or the like when the span is that and no query."""
    told = operation(span) or statement(span)
    return told.split(maxsplit=1)[0].rstrip(";").upper() if is_control(told) else ""


def queries(trace: Trace) -> tuple[Span, ...]:
    """The queries of a trace in order of start. Kept with it: much is concluded from them."""
    if queries not in trace.memo:
        trace.memo[queries] = tuple(span for span in trace.spans if is_query(span))
    return trace.memo[queries]


def is_websocket(span: Span) -> bool:
    """True for a websocket connection or one of its messages."""
    return text(span, semconv.NETWORK_PROTOCOL_NAME).lower() == "websocket" or any(
        key.startswith("websocket.") for key in span.attributes
    )


@dataclass(frozen=True)
class Stream:
    """How a streamed body went. Times in s."""

    end: str
    """`complete`, `disconnect`, `error`, `unfinished`, `running`; empty where it was not recorded."""
    events: int | None
    """Server-sent events; None for another kind of stream."""
    parts: int | None
    size: int | None
    """Bytes so far."""
    first_byte: float | None
    last_byte: float | None
    """From the start of the request."""
    mean_gap: float | None
    longest_gap: float | None
    """Between two parts."""


def stream(span: Span) -> Stream | None:
    """What is known of a streamed response; None for one that was sent at once."""
    if not (
        semconv.STREAM_END in span.attributes
        or span.flag(semconv.RESPONSE_STREAMED)
        or (is_http(span) and is_event_stream(span))
    ):
        return None
    return Stream(
        end=text(span, semconv.STREAM_END) or _end(span),
        events=integer(span, semconv.STREAM_EVENTS),
        parts=integer(span, semconv.RESPONSE_CHUNKS),
        size=integer(span, semconv.HTTP_RESPONSE_BODY_SIZE, semconv.OLD_HTTP_RESPONSE_SIZE),
        first_byte=number(span, semconv.RESPONSE_FIRST_BYTE),
        last_byte=number(span, semconv.STREAM_LAST_BYTE),
        mean_gap=number(span, semconv.STREAM_GAP_MEAN),
        longest_gap=number(span, semconv.STREAM_GAP_MAX),
    )


def _end(span: Span) -> str:
    """How a stream ended, as far as other attributes tell."""
    if span.running:
        return "running"
    return "disconnect" if span.flag(semconv.REQUEST_DISCONNECTED) else ""


def is_event_stream(span: Span) -> bool:
    """True for a request that was answered with server-sent events."""
    kind = next(iter(response_headers(span).get("content-type", ())), "")
    return kind.partition(";")[0].strip().lower() == "text/event-stream"


def lasts(span: Span) -> bool:
    """True for what is not slow when it takes long: it stays open for news."""
    return is_websocket(span) or is_event_stream(span)


def is_http(span: Span) -> bool:
    """True for a span that is an HTTP request, served or sent."""
    return bool(method(span)) and not is_websocket(span)


def failed(span: Span) -> bool:
    """True when the span ended in an error or recorded an exception."""
    if span.status is Status.ERROR or not span.events:
        return span.status is Status.ERROR
    return any(event.name == semconv.EXCEPTION_EVENT for event in span.events)


def database_system(span: Span) -> str:
    return text(span, semconv.DB_SYSTEM_NAME, semconv.OLD_DB_SYSTEM).lower()


def database(span: Span) -> tuple[str, str]:
    """System and name of the database."""
    return database_system(span), text(span, semconv.DB_NAMESPACE, semconv.OLD_DB_NAME)


def statement(span: Span) -> str:
    return text(span, semconv.DB_QUERY_TEXT, semconv.OLD_DB_STATEMENT)


def operation(span: Span) -> str:
    return text(span, semconv.DB_OPERATION_NAME, semconv.OLD_DB_OPERATION)


def method(span: Span) -> str:
    sent = text(span, semconv.HTTP_REQUEST_METHOD_ORIGINAL)
    return sent or text(span, semconv.HTTP_REQUEST_METHOD, semconv.OLD_HTTP_METHOD)


def status_code(span: Span) -> int | None:
    return integer(span, semconv.HTTP_RESPONSE_STATUS_CODE, semconv.OLD_HTTP_STATUS_CODE)


def path(span: Span) -> str:
    """Path of the request, without its query string."""
    known = text(span, semconv.URL_PATH)
    return known or _url(span)[0]


def query_string(span: Span) -> str:
    return text(span, semconv.URL_QUERY) or _url(span)[1]


def _url(span: Span) -> tuple[str, str]:
    whole = text(span, semconv.OLD_HTTP_TARGET, semconv.URL_FULL, semconv.OLD_HTTP_URL)
    try:
        parts = urlsplit(whole)
    except ValueError:
        return whole, ""
    return parts.path, parts.query


def scheme(span: Span) -> str:
    known = text(span, semconv.URL_SCHEME, semconv.OLD_HTTP_SCHEME)
    whole = text(span, semconv.URL_FULL, semconv.OLD_HTTP_URL)
    return (known or whole.partition("://")[0] if "://" in whole else known).lower()


def whole_url(span: Span) -> str:
    """The URL of an outgoing call; put together where the sender tells its parts only."""
    known = text(span, semconv.URL_FULL, semconv.OLD_HTTP_URL)
    if known:
        return known
    asked = host(span)
    query = query_string(span)
    return (
        f"{scheme(span) or 'http'}://{asked}{path(span)}{'?' + query if query else ''}"
        if asked
        else ""
    )


def host(span: Span) -> str:
    """Host and port of an outgoing call."""
    name = text(span, semconv.SERVER_ADDRESS, semconv.OLD_NET_PEER_NAME, semconv.OLD_HTTP_HOST)
    port = integer(span, semconv.SERVER_PORT)
    if name:
        return f"{name}:{port}" if port and ":" not in name else name
    _, found, rest = text(span, semconv.URL_FULL, semconv.OLD_HTTP_URL).partition("://")
    return rest.partition("/")[0].partition("?")[0].rpartition("@")[2] if found else ""


def headers(span: Span, prefix: str, more: str) -> dict[str, tuple[str, ...]]:
    """Headers of one direction by lower-case name, those kept as one array included.

    Older SDKs wrote `content_type` for `content-type`.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, value in span.below(prefix).items():
        found[name.lower().replace("_", "-")] = strings(value)
    for line in strings(span.attributes.get(more)):
        name, _, value = line.partition(":")
        name = name.strip().lower()
        found[name] = (*found.get(name, ()), value.strip())
    return found


def request_headers(span: Span) -> dict[str, tuple[str, ...]]:
    return headers(span, semconv.HTTP_REQUEST_HEADER, semconv.REQUEST_HEADERS_MORE)


def response_headers(span: Span) -> dict[str, tuple[str, ...]]:
    return headers(span, semconv.HTTP_RESPONSE_HEADER, semconv.RESPONSE_HEADERS_MORE)


def service(span: Span) -> str:
    value = span.resource.get(semconv.SERVICE_NAME)
    return "" if value is None else as_text(value)
