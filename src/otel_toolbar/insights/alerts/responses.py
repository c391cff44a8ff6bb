"""Requests that take long, fail, or carry much."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import reading, served
from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.model import Span, Trace
from otel_toolbar.settings import Settings

LARGE: Final = 2**20
"""Bytes of a page or of data, sent or received, from which it is a warning."""

_TEXT: Final = re.compile(
    r"text/(html|css|javascript|plain|xml)|application/(json|xml|javascript|\S+\+(json|xml))"
)
_STREAMED: Final = re.compile(r"ndjson|jsonl|json-seq|event-stream")
_HEALTH: Final = re.compile(r"/(_?health[a-z_-]*|live(z|ness)?|ready(z|ness)?|ping|heartbeat)/?")


def _slow(trace: Trace, settings: Settings) -> Iterator[Hint]:
    for span in served.requests(trace):
        took = _seconds(span)
        if took is not None and took * 1000 >= settings.slow_request:
            streamed = reading.stream(span) is not None
            until = " until the first byte" if streamed else ""
            yield SLOW_REQUEST.hint(
                [span],
                f"It took {took:.2f} s{until}; the limit is {settings.slow_request} ms.",
                [Figure("time", took, "s")],
                severity="warn",
            )


def _seconds(span: Span) -> float | None:
    """How long the client waited; None where that is not known or it waited for news."""
    if reading.lasts(span):
        return None
    first_byte = reading.number(span, semconv.RESPONSE_FIRST_BYTE)
    if first_byte is not None:
        # What comes after it is a download, a stream, or work after the response.
        return first_byte
    if reading.stream(span) is not None:
        return None
    return span.duration_at(span.end or span.start) / 1e9


def _server_error(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001 - the rules' signature
    for span in served.requests(trace):
        code = reading.status_code(span) or 0
        unready = code == 503 and _HEALTH.fullmatch(reading.path(span))
        raised = any(
            event.name == semconv.EXCEPTION_EVENT
            and event.attributes.get(semconv.EXCEPTION_HANDLED) is not True
            for event in span.events
        )
        if code >= 500 and not unready and not raised and not _told_below(trace, span):
            yield SERVER_ERROR.hint(
                [span],
                f"{reading.method(span)} {reading.path(span)} was answered with {code}.",
                [Figure("status", code)],
                severity="error",
            )


def _told_below(trace: Trace, span: Span) -> bool:
    """True when another request of the trace failed below it: that one tells."""
    return any(
        trace.owners.get(other.span_id) is span and (reading.status_code(other) or 0) >= 500
        for other in served.requests(trace)
        if other is not span
    )


def _large_response(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    for span in served.requests(trace):
        size = reading.integer(
            span, semconv.HTTP_RESPONSE_BODY_SIZE, semconv.OLD_HTTP_RESPONSE_SIZE
        )
        headers = reading.response_headers(span)
        kind = served.content_type(span)
        streamed = reading.stream(span) is not None or _STREAMED.search(kind)
        download = "attachment" in served.first(headers, "content-disposition").lower()
        part = reading.status_code(span) == 206 or reading.method(span) == "HEAD"
        if (size or 0) < LARGE or not _TEXT.fullmatch(kind) or streamed or download or part:
            continue
        packed = served.first(headers, "content-encoding")
        yield LARGE_RESPONSE.hint(
            [span],
            f"{(size or 0) / 2**20:.1f} MiB of {kind}"
            + (f", compressed with {packed}." if packed else ", not compressed."),
            [Figure("size", size or 0, "By")],
            severity="warn",
            fix=""
            if not packed
            else "Send less of it: page the list, leave out fields nobody reads.",
        )


def _large_request(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    for span in served.requests(trace):
        size = reading.integer(span, semconv.HTTP_REQUEST_BODY_SIZE, semconv.OLD_HTTP_REQUEST_SIZE)
        sent = served.first(reading.request_headers(span), "content-type")
        kind = sent.partition(";")[0].strip().lower()
        form = kind == "application/x-www-form-urlencoded"
        refused = (reading.status_code(span) or 0) >= 400
        if (size or 0) < LARGE or refused or not (form or _TEXT.fullmatch(kind)):
            continue
        yield LARGE_REQUEST.hint(
            [span],
            f"{(size or 0) / 2**20:.1f} MiB of {kind} came in, and was read into memory.",
            [Figure("size", size or 0, "By")],
            severity="warn",
        )


SLOW_REQUEST: Final = Rule(
    id="slow-request",
    title="Slow request",
    when="A request took `OTEL_TOOLBAR_SLOW_REQUEST` or longer until its response began. Not:"
    " websockets, server-sent events; what streams and downloads take after their first byte; work"
    " after the response.",
    evidence="Time.",
    fix="The Timing panel says what it waited for: make that quicker, do it at the same time, or"
    " in a job.",
    link="https://web.dev/articles/ttfb",
    find=_slow,
    panel="timing",
)
SERVER_ERROR: Final = Rule(
    id="server-error",
    title="Answered with a server error",
    when="A response has a status of 500 or above, and no exception says why. Not: a 503 of a"
    " health check, an error that another service of the trace has answered with.",
    evidence="Method, path, status.",
    fix="Find out in the logs and errors of the request what failed; a 5xx is never what a client"
    " asked for.",
    link="https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Status#server_error_responses",
    find=_server_error,
    panel="response",
)
LARGE_RESPONSE: Final = Rule(
    id="large-response",
    title="Large response",
    when="A page, script or JSON of 1 MiB or more as it was sent. Not: downloads, streams, ranges,"
    " HEAD, images and other files.",
    evidence="Size, type, compression.",
    fix="Send less of it, a page at a time, and compress it with a gzip middleware.",
    link="https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/Compression",
    find=_large_response,
    panel="response",
)
LARGE_REQUEST: Final = Rule(
    id="large-request",
    title="Large request body",
    when="JSON, text or a form without files of 1 MiB or more came in. Not: uploads as multipart"
    " or as plain bytes, a request that was refused.",
    evidence="Size, type.",
    fix="Take files as a streamed upload, and refuse what is larger than needed with 413.",
    link="https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Status/413",
    find=_large_request,
    panel="request",
)

RULES: Final = (SERVER_ERROR, SLOW_REQUEST, LARGE_RESPONSE, LARGE_REQUEST)
