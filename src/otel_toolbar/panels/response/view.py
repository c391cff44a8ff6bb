"""What was answered."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.reading import Stream
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.contract import Badge, Level
from otel_toolbar.panels.shared import Field, exception, seconds
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class ResponseView:
    """The response of the trace's main span; `status` is None until it is known."""

    status: int | None
    reason: str
    running: bool
    disconnected: bool
    """The client went away before the response was complete."""
    error: str
    """The exception or error that the main span ended in."""
    content_type: str
    size: int | None
    """Bytes of the body."""
    declared_size: int | None
    """Content-Length."""
    encoding: str
    location: str
    """Where a redirect leads."""
    streamed: bool | None
    """None when that was not recorded."""
    chunks: int | None
    first_byte: float | None
    """From the start to the first byte of the body, in s."""
    stream: Stream | None
    """How a body in parts went; None for one that was sent at once."""
    duration: float | None
    """In s; None while it runs."""
    headers: tuple[Field, ...]


def view(trace: Trace, settings: Settings) -> ResponseView:  # noqa: ARG001 - the panels' signature
    main = trace.main
    headers = reading.response_headers(main) if main else {}
    status = reading.status_code(main) if main else None
    return ResponseView(
        status=status,
        reason=_reason(status),
        running=main is not None and main.running,
        disconnected=main is not None and main.flag(semconv.REQUEST_DISCONNECTED),
        error=exception(main) if main else "",
        content_type=_first(headers, "content-type"),
        size=_size(main),
        declared_size=_whole(_first(headers, "content-length")),
        encoding=_first(headers, "content-encoding"),
        location=_first(headers, "location"),
        streamed=_streamed(main),
        chunks=reading.integer(main, semconv.RESPONSE_CHUNKS) if main else None,
        first_byte=reading.number(main, semconv.RESPONSE_FIRST_BYTE) if main else None,
        stream=reading.stream(main) if main else None,
        duration=None if main is None or main.end is None else seconds(main.end - main.start),
        headers=tuple(Field(name, value) for name, values in headers.items() for value in values),
    )


def badge(view: ResponseView) -> Badge:
    text = None if view.status is None else str(view.status)
    if view.status is None and view.error:
        text = "failed"
    return Badge(text, level(view.status, bool(view.error)))


def level(status: int | None, failed: bool = False) -> Level:
    """How bad a status is."""
    if failed or (status or 0) >= 500:
        return "error"
    return "warn" if (status or 0) >= 400 else "ok"


def _reason(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return ""


def _size(main: Span | None) -> int | None:
    if main is None:
        return None
    return reading.integer(main, semconv.HTTP_RESPONSE_BODY_SIZE, semconv.OLD_HTTP_RESPONSE_SIZE)


def _streamed(main: Span | None) -> bool | None:
    if main is None or semconv.RESPONSE_STREAMED not in main.attributes:
        return None
    return main.flag(semconv.RESPONSE_STREAMED)


def _first(headers: dict[str, tuple[str, ...]], name: str) -> str:
    return next(iter(headers.get(name, ())), "")


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None
