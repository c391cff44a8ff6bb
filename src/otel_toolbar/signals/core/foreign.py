"""Keeps secrets out of the spans that others make, frameworks, clients, drivers, the app itself, and
lets a subject complete them.

What the conventions give a meaning to is masked: URLs, headers, statements, exceptions and what a status
says of them. It is done on the span itself, before any exporter sees it. Client spans also get the line of
the app that called, whatever instrumentation they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import SpanKind

from otel_toolbar import guard, semconv
from otel_toolbar.insights.fingerprint import Statements

from . import light, masking, places

Watcher = Callable[[ReadableSpan], "Mapping[str, Any] | None"]
"""Tells what an ended CLIENT span lacks; None when it is none of its."""

_statements = Statements(masking.is_secret)
_watcher: Watcher | None = None


def watch(watcher: Watcher | None) -> None:
    """Name who completes the spans that others make; None for nobody."""
    global _watcher
    _watcher = watcher


def _statement(given: str) -> str:
    return _statements.analyze(given).text


_TEXTS: Mapping[str, Callable[[str], str]] = {
    semconv.URL_PATH: masking.path,
    semconv.URL_QUERY: masking.query_string,
    semconv.URL_FULL: masking.url,
    semconv.OLD_HTTP_URL: masking.url,
    semconv.OLD_HTTP_TARGET: masking.url,
    semconv.DB_QUERY_TEXT: _statement,
    semconv.OLD_DB_STATEMENT: _statement,
}
_HEADERS = (semconv.HTTP_REQUEST_HEADER, semconv.HTTP_RESPONSE_HEADER)
_OF_EXCEPTION = (semconv.EXCEPTION_MESSAGE, semconv.EXCEPTION_STACKTRACE)


def started(span: Span) -> None:
    """Mask what a span begins with: it is seen while it runs."""
    if _is_ours(span):
        return  # masked before it was put there
    for key, cleaned in _masked(span):
        span.set_attribute(key, cleaned)
    if span.kind is SpanKind.CLIENT:
        given: Any = span.attributes or {}
        if semconv.CODE_FILE_PATH not in given:
            span.set_attributes(places.of_the_app())


def ended(span: ReadableSpan) -> None:
    """Mask what was put on a span later, before it goes on."""
    opened: Any = span
    masked: dict[str, Any] = {} if _is_ours(span) else dict(_masked(span))
    if _watcher is not None and span.kind is SpanKind.CLIENT:
        try:
            masked.update(_watcher(span) or {})
        except Exception:  # what is masked has to be masked
            guard.failed("completing a span")
    if masked:
        opened._attributes = _replaced(opened._attributes, masked)  # noqa: SLF001
    if opened._status.description:  # noqa: SLF001 - `status` is one call more
        opened._status = light.masked_status(span.status)  # noqa: SLF001
    events = opened._events  # noqa: SLF001 - `events` makes a copy, and most spans have none
    if getattr(events, "_dq", events):
        for event in span.events:
            if event.name == semconv.EXCEPTION_EVENT:
                _mask_exception(event)


def _is_ours(span: Any) -> bool:
    scope = span._instrumentation_scope  # noqa: SLF001 - asked twice for each span
    return scope is not None and scope.name.startswith("otel_toolbar.")


def _masked(span: ReadableSpan) -> list[tuple[str, Any]]:
    """What of the span's attributes has to be another value."""
    if span.kind is SpanKind.INTERNAL:
        return []
    found: list[tuple[str, Any]] = []
    attributes: Any = span.attributes or {}
    # A copy: the SDK's own mapping raises and catches an error for every key that is not there.
    known: Mapping[str, Any] = attributes.copy() if hasattr(attributes, "copy") else attributes
    for key in sorted(_TEXTS.keys() & known.keys()):
        given = known[key]
        if isinstance(given, str) and (cleaned := _TEXTS[key](given)) != given:
            found.append((key, cleaned))
    if span.kind is SpanKind.CLIENT:
        found += _headers(known)
    return found


def _headers(known: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Captured headers, which contrib names with underscores and masks only where it is told to."""
    found: list[tuple[str, Any]] = []
    for key, given in known.items():
        for prefix in _HEADERS:
            if key.startswith(prefix):
                name = key[len(prefix) :].replace("_", "-").lower()
                values = cast("tuple[Any, ...]", given if isinstance(given, tuple) else (given,))
                cleaned = tuple(masking.header(name, str(each)) for each in values)
                if cleaned != values:
                    found.append((key, cleaned))
    return found


def _mask_exception(event: Any) -> None:
    attributes: Mapping[str, Any] = event.attributes or {}
    masked = {
        key: cleaned
        for key in _OF_EXCEPTION
        if isinstance(given := attributes.get(key), str)
        and (cleaned := masking.text(given)) != given
    }
    if masked:
        event._attributes = _replaced(event._attributes, masked)  # noqa: SLF001


def _replaced(attributes: Any, values: Mapping[str, Any]) -> BoundedAttributes:
    """A copy with other values: those of an ended span are immutable."""
    copy = BoundedAttributes(attributes={**attributes, **values})
    copy.dropped = attributes.dropped
    return copy
