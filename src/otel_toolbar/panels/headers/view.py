"""Headers as they were sent both ways, and what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

from otel_toolbar.insights import reading, served
from otel_toolbar.insights.security import Check, judge
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import Field
from otel_toolbar.settings import Settings

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True)
class TraceContext:
    """The W3C trace context that came with the request."""

    traceparent: str
    """As sent; empty when none was."""
    valid: bool
    trace_id: str
    parent_id: str
    """Span of the caller."""
    sampled: bool
    followed: bool
    """The trace carries on the caller's."""
    tracestate: tuple[Field, ...]
    baggage: str
    meaning: str
    """All that in a sentence."""


@dataclass(frozen=True)
class HeadersView:
    """Headers by direction; `found` is False when the main span has none."""

    found: bool
    http: bool
    """The main span is an HTTP request at all."""
    request: tuple[Field, ...]
    response: tuple[Field, ...]
    context: TraceContext
    checks: tuple[Check, ...]
    """Empty while there is no response."""
    problems: int
    """Checks that are warnings."""


def view(trace: Trace, settings: Settings) -> HeadersView:  # noqa: ARG001 - the panels' signature
    main = trace.main
    sent = reading.request_headers(main) if main else {}
    answered = reading.response_headers(main) if main else {}
    checks = (
        judge(answered, served.scheme(main), served.is_local(main)) if main and answered else ()
    )
    return HeadersView(
        found=bool(sent or answered),
        http=main is not None and (reading.is_http(main) or reading.is_websocket(main)),
        request=_rows(sent),
        response=_rows(answered),
        context=_context(trace, main, sent),
        checks=checks,
        problems=sum(check.verdict == "warn" for check in checks),
    )


def badge(view: HeadersView) -> Badge:
    return Badge(str(view.problems), "warn") if view.problems else Badge()


def _rows(headers: dict[str, tuple[str, ...]]) -> tuple[Field, ...]:
    return tuple(Field(name, value) for name, values in headers.items() for value in values)


def _context(trace: Trace, main: Span | None, headers: dict[str, tuple[str, ...]]) -> TraceContext:
    sent = ", ".join(headers.get("traceparent", ()))
    match = _TRACEPARENT.fullmatch(sent.strip())
    valid = match is not None and _valid(match)
    trace_id, parent_id, flags = match.group(2, 3, 4) if match else ("", "", "00")
    followed = valid and trace_id == trace.trace_id
    return TraceContext(
        traceparent=sent,
        valid=valid,
        trace_id=trace_id,
        parent_id=parent_id,
        sampled=bool(int(flags, 16) & 1),
        followed=followed,
        tracestate=_members(",".join(headers.get("tracestate", ()))),
        baggage=", ".join(headers.get("baggage", ())),
        meaning=_meaning(sent, valid, followed, bool(main and main.parent_id)),
    )


def _valid(match: re.Match[str]) -> bool:
    version, trace_id, parent_id, _, more = match.groups()
    extended = more is not None and version == "00"
    return version != "ff" and bool(trace_id.strip("0") and parent_id.strip("0")) and not extended


def _meaning(sent: str, valid: bool, followed: bool, has_parent: bool) -> str:
    if not sent:
        return (
            "No traceparent header was captured, though the trace has a caller."
            if has_parent
            else "The caller sent no traceparent, so the trace starts here."
        )
    if not valid:
        return "The traceparent is not valid, so a new trace was started, as the standard says."
    if followed:
        return "The trace was started by the caller; this request is a part of it."
    return "The caller's trace was not carried on: another trace id is used here."


def _members(tracestate: str) -> tuple[Field, ...]:
    parts = [part.strip() for part in tracestate.split(",") if part.strip()]
    return tuple(Field(part.partition("=")[0], part.partition("=")[2]) for part in parts)
