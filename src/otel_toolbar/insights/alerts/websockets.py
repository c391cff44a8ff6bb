"""Websocket connections that did not end as they should."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import close_codes, connection, reading
from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.model import Span, Trace
from otel_toolbar.settings import Settings

_REFUSALS: Final = frozenset({1008, 1012, 1013, 3000, 3003, 3008})
"""Codes with which one side says no, or not now: it knows why."""


def _abnormal(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001 - the rules' signature
    for span in trace.spans:
        if not connection.is_connection(span) or span.running or not connection.abnormal(span):
            continue
        raised = any(event.name == semconv.EXCEPTION_EVENT for event in span.events)
        if raised:  # the error is told, with its place
            continue
        code = connection.close_code(span)
        yield ABNORMAL_CLOSE.hint(
            [span],
            _said(span, code),
            [] if code is None else [Figure("code", code)],
            severity="info" if _is_refusal(span, code) else "warn",
        )


def _said(span: Span, code: int | None) -> str:
    if connection.state(span) == "denied":
        status = reading.status_code(span)
        return "The connection was denied" + (f" with {status}." if status else ".")
    initiator = reading.text(span, semconv.WEBSOCKET_CLOSE_INITIATOR)
    meaning = close_codes.without_code(initiator) if code is None else close_codes.meaning(code)
    by = f" by the {initiator}" if initiator in ("client", "server") else ""
    reason = reading.text(span, semconv.WEBSOCKET_CLOSE_REASON)
    said = f" It said: {reason}" if reason else ""
    return (
        f"Closed{by}{'' if code is None else f' with {code}'}, {meaning.name}: {meaning.text}{said}"
    )


def _is_refusal(span: Span, code: int | None) -> bool:
    denied = connection.state(span) == "denied" and (reading.status_code(span) or 0) < 500
    return denied or code in _REFUSALS


ABNORMAL_CLOSE: Final = Rule(
    id="websocket-close",
    title="Websocket closed abnormally",
    when="A connection ended with a code that says that something went wrong, or was lost. Only"
    " information: refusals (1008, 1012, 1013, 3000, 3003, 3008, a 4xx before it was open). Not:"
    " 1000, 1001, 1005, the app's own codes from 4000 on, an exception that is told already.",
    evidence="Code, who closed, reason.",
    fix="1006 is a lost connection or a proxy's timeout: send pings and connect again; 1011 is a"
    " failure of the handler; 1009 a message too large.",
    link="https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1",
    find=_abnormal,
    panel="websockets",
)

RULES: Final = (ABNORMAL_CLOSE,)
