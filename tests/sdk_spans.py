"""From the SDK's `ReadableSpan` to the model, attribute by attribute: what the store's quicker way is held to."""

from __future__ import annotations

from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from otel_toolbar.model import Event, Kind, Link, Scope, Span, Status
from otel_toolbar.wire.sdk import attributes


def trace_id(context: SpanContext) -> str:
    """32 hex digits."""
    return format(context.trace_id, "032x")


def span_id(context: SpanContext) -> str:
    """16 hex digits."""
    return format(context.span_id, "016x")


def to_model(given: Any) -> Span:
    """The span as the model has it; of a running one the end is None.

    `given` is a `ReadableSpan`, or something that makes one with its method `readable`.
    """
    span: ReadableSpan = given if isinstance(given, ReadableSpan) else given.readable()
    context = cast(SpanContext, span.context)
    parent = span.parent
    status = span.status
    scope = span.instrumentation_scope
    return Span(
        trace_id=trace_id(context),
        span_id=span_id(context),
        parent_id=span_id(parent) if parent is not None else None,
        name=span.name,
        kind=Kind(span.kind.name.lower()),
        start=span.start_time or 0,
        end=span.end_time,
        attributes=attributes(span.attributes),
        status=Status(status.status_code.name.lower()),
        status_message=status.description or "",
        events=tuple(
            Event(event.name, event.timestamp, attributes(event.attributes))
            for event in span.events
        ),
        links=tuple(
            Link(trace_id(link.context), span_id(link.context), attributes(link.attributes))
            for link in span.links
        ),
        scope=Scope(scope.name, scope.version or "") if scope else Scope(""),
        resource=attributes(span.resource.attributes),
        remote_parent=parent is not None and parent.is_remote,
        dropped=span.dropped_attributes + span.dropped_events + span.dropped_links,
    )
