"""A trace's HTTP exchanges as HAR 1.2: http://www.softwareishard.com/blog/har-12-spec/.

Of the request and of every outgoing call, as far as spans tell; bodies are not recorded.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.version import VERSION

UNKNOWN = -1
"""What HAR writes where a figure is not known."""


def export(trace: Trace) -> bytes:
    """The trace as one HAR log, an entry an exchange, in order of start."""
    exchanges = [span for span in trace.spans if reading.is_http(span) and span.kind in _KINDS]
    log = {
        "version": "1.2",
        "creator": {"name": "otel-toolbar", "version": VERSION},
        "entries": [_entry(span, trace.now) for span in exchanges],
    }
    return json.dumps({"log": log}, ensure_ascii=False).encode("utf-8", "replace")


_KINDS = (Kind.SERVER, Kind.CLIENT)


def _entry(span: Span, now: int) -> dict[str, Any]:
    milliseconds = span.duration_at(now) / 1e6
    first_byte = reading.number(span, semconv.RESPONSE_FIRST_BYTE)
    wait = milliseconds if first_byte is None else min(milliseconds, first_byte * 1000)
    return {
        "startedDateTime": _iso(span.start),
        "time": milliseconds,
        "request": {
            "method": reading.method(span),
            "url": _url(span),
            "httpVersion": _version(span),
            "cookies": [],
            "headers": _headers(span, semconv.HTTP_REQUEST_HEADER),
            "queryString": [],
            "headersSize": UNKNOWN,
            "bodySize": _size(span, semconv.HTTP_REQUEST_BODY_SIZE),
        },
        "response": {
            "status": reading.status_code(span) or 0,
            "statusText": "",
            "httpVersion": _version(span),
            "cookies": [],
            "headers": _headers(span, semconv.HTTP_RESPONSE_HEADER),
            "content": {"size": _size(span, semconv.HTTP_RESPONSE_BODY_SIZE), "mimeType": ""},
            "redirectURL": "",
            "headersSize": UNKNOWN,
            "bodySize": _size(span, semconv.HTTP_RESPONSE_BODY_SIZE),
        },
        "cache": {},
        "timings": {"send": 0, "wait": wait, "receive": max(0.0, milliseconds - wait)},
        "comment": f"span {span.span_id} of trace {span.trace_id}",
    }


def _headers(span: Span, prefix: str) -> list[dict[str, str]]:
    return [
        {"name": name, "value": reading.as_text(each)}
        for name, values in span.below(prefix).items()
        for each in (values if isinstance(values, tuple) else (values,))
    ]


def _url(span: Span) -> str:
    full = reading.text(span, semconv.URL_FULL, semconv.OLD_HTTP_URL)
    if full:
        return full
    scheme = reading.text(span, semconv.URL_SCHEME) or "http"
    host = reading.text(span, semconv.SERVER_ADDRESS) or "localhost"
    port = reading.integer(span, semconv.SERVER_PORT)
    query = reading.text(span, semconv.URL_QUERY)
    address = host if port is None else f"{host}:{port}"
    return f"{scheme}://{address}{reading.path(span)}" + (f"?{query}" if query else "")


def _version(span: Span) -> str:
    version = reading.text(span, semconv.NETWORK_PROTOCOL_VERSION)
    return f"HTTP/{version}" if version else "unknown"


def _size(span: Span, key: str) -> int:
    size = reading.integer(span, key)
    return UNKNOWN if size is None else size


def _iso(nanoseconds: int) -> str:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc).isoformat()
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, timezone.utc).isoformat()
