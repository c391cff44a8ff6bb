"""The HTTP requests that a trace serves, and what can be told of their surroundings."""

from __future__ import annotations

import ipaddress
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.model import Kind, Span, Trace

from . import reading

_LOCAL_NAMES: Final = (
    ".localhost",
    ".local",
    ".test",
    ".internal",
    ".lan",
    ".home.arpa",
    ".example",
)
_TUNNELS: Final = (
    ".ngrok.io",
    ".ngrok.app",
    ".ngrok-free.app",
    ".ngrok.dev",
    ".ngrok-free.dev",
    ".trycloudflare.com",
    ".loca.lt",
    ".devtunnels.ms",
    ".app.github.dev",
    ".gitpod.io",
    ".localhost.run",
    ".lhr.life",
)
"""Names under which a developer's machine is shown to others."""

_DOCUMENTS: Final = frozenset({"document", "iframe", "frame", "embed", "object"})


def requests(trace: Trace) -> tuple[Span, ...]:
    """The HTTP requests that were served and have ended, websockets left out."""
    if requests not in trace.memo:
        trace.memo[requests] = tuple(
            span
            for span in trace.spans
            if span.kind is Kind.SERVER and not span.running and reading.is_http(span)
        )
    return trace.memo[requests]


def content_type(span: Span) -> str:
    """Media type of the response, in lower case; empty when it is not known."""
    return first(reading.response_headers(span), "content-type").partition(";")[0].strip().lower()


def first(headers: dict[str, tuple[str, ...]], name: str) -> str:
    """The first value of a header, else empty."""
    return next(iter(headers.get(name, ())), "")


def is_watched(span: Span) -> bool:
    """True when all headers are known: what is absent from a span of ours was not sent."""
    return semconv.TOOLBAR_FRAMEWORK in span.attributes


def is_document(span: Span) -> bool:
    """True for a page that a browser shows, not a part that a script puts into one."""
    headers = reading.request_headers(span)
    destination = first(headers, "sec-fetch-dest").lower()
    if destination:
        return destination in _DOCUMENTS
    return "hx-request" not in headers and "x-requested-with" not in headers


def scheme(span: Span) -> str:
    """https also where only the proxy in front was asked by it."""
    forwarded = first(reading.request_headers(span), "x-forwarded-proto").partition(",")[0].strip()
    return "https" if forwarded.lower() == "https" else reading.scheme(span)


def host(span: Span) -> str:
    """The name that the client asked for, in lower case, without its port."""
    headers = reading.request_headers(span)
    told = (
        first(headers, "x-forwarded-host").partition(",")[0]
        or reading.text(span, semconv.SERVER_ADDRESS, semconv.OLD_HTTP_HOST)
        or first(headers, "host")
    )
    name = told.strip().lower().rstrip(".")
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name if name.count(":") > 1 else name.partition(":")[0]


def is_local(span: Span) -> bool:
    """True on a developer's machine or network: what looks like one is one, when in doubt, too."""
    name = host(span)
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return "." not in name or name.endswith((*_LOCAL_NAMES, *_TUNNELS))
