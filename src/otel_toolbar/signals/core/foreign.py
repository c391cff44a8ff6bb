"""Keeps secrets out of the spans that others make, frameworks, clients, drivers, the app itself, and
lets a subject complete them.

What the conventions give a meaning to is masked: URLs, statements, exceptions and what a status says
of them. It is done on the span itself, before any exporter sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import SpanKind

from otel_toolbar import guard, semconv
from otel_toolbar.insights.fingerprint import Statements

from . import light, masking

Watcher = Callable[[ReadableSpan], "Mapping[str, Any] | None"]
"""Tells what an ended span lacks; None when it is none of its."""

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
_OF_EXCEPTION = (semconv.EXCEPTION_MESSAGE, semconv.EXCEPTION_STACKTRACE)


def started(span: Span) -> None:
    """Mask what a span begins with: it is seen while it runs."""
    for key, cleaned in _masked(span):
        span.set_attribute(key, cleaned)


def ended(span: ReadableSpan) -> None:
    """Mask what was put on a span later, before it goes on."""
    opened: Any = span
    masked: dict[str, Any] = dict(_masked(span))
    if _watcher is not None:
        try:
            masked.update(_watcher(span) or {})
        except Exception:  # what is masked has to be masked
            guard.failed("completing a span")
    if masked:
        opened._attributes = _replaced(opened._attributes, masked)  # noqa: SLF001
    if span.status.description:
        opened._status = light.masked_status(span.status)  # noqa: SLF001
    for event in span.events:
        if event.name == semconv.EXCEPTION_EVENT:
            _mask_exception(event)


def _masked(span: ReadableSpan) -> list[tuple[str, str]]:
    """What of the span's attributes has to be another text."""
    scope = span.instrumentation_scope
    if span.kind is SpanKind.INTERNAL or (scope and scope.name.startswith("otel_toolbar.")):
        return []  # ours are masked before they are put on
    found: list[tuple[str, str]] = []
    attributes: Any = span.attributes or {}
    # A copy: the SDK's own mapping raises and catches an error for every key that is not there.
    known: Mapping[str, Any] = attributes.copy() if hasattr(attributes, "copy") else attributes
    for key, clean in _TEXTS.items():
        given = known.get(key)
        if isinstance(given, str) and (cleaned := clean(given)) != given:
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
