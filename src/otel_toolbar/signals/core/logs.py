"""Light log records: what is logged in a request stays in its record until the request is over.

As with light spans, an SDK log record for each line would cost more than to log it. They are handed on
as the SDK's when there is a `LoggerProvider` whose processors want them. What others emit through the
SDK comes in by `log_processor`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from otel_toolbar import guard

from . import light
from . import record as records

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadWriteLogRecord

Take = Callable[[Sequence[Any]], Any]
"""Takes log records for the toolbar; it must be quick and must not raise."""

OURS = "otel_toolbar_log_processor"
"""Name of an attribute that tells our processor from others'."""

_take: Take | None = None


def take_with(take: Take | None) -> None:
    """Name who takes log records that no running request holds; None for nobody."""
    global _take
    _take = take


class LightLog:
    """One log record or event. `context` is None while its request has no SERVER span."""

    __slots__ = (
        "attributes", "body", "context", "event", "level", "resource", "scope", "severity", "time",
    )  # fmt: skip

    def __init__(
        self,
        severity: int,
        level: str,
        body: Any,
        attributes: dict[str, Any],
        scope: InstrumentationScope,
        event: str = "",
        time: int | None = None,
    ) -> None:
        self.time = time or time_ns()
        self.severity = severity
        self.level = level
        self.body = body
        self.attributes = attributes
        self.scope = scope
        self.event = event
        self.context: SpanContext | None = None
        self.resource: Resource | None = None


class _Here(threading.local):
    from_the_sdk = 0


_here = _Here()


def from_the_sdk() -> int:
    """How many log records the SDK has emitted in this thread: tells whether one just was."""
    return _here.from_the_sdk


def count_one_from_the_sdk() -> None:
    _here.from_the_sdk += 1


def wanted() -> bool:
    """False where a log record would reach nobody, so that it need not be made."""
    record = records.current()
    if record is not None and not record.closed:
        return record.has_room_for_log()
    if record is None and records.is_excluded():
        return False
    return trace.get_current_span().get_span_context().is_valid or bool(_others())


def emit(log: LightLog) -> None:
    """Put a log record on the current span, kept until its request is over.

    `log` is taken over. Outside of requests it is handed on at once; where there is no span either, to
    the app's own `LoggerProvider` alone.
    """
    record = records.current()
    if record is None and records.is_excluded():
        return
    current = trace.get_current_span().get_span_context()
    log.context = current if current.is_valid else None
    if record is None or record.closed:
        _emit_alone(record, log)
    else:
        record.keep_log(log)


def placed(record: records.Record) -> list[Any]:
    """The request's log records, each in its trace; from now on they are the caller's."""
    logs, record.logs = record.logs, []
    for log in logs:
        place(log, record)
    return logs


def place(log: Any, record: records.Record) -> None:
    """Put a light log record into the trace of its request."""
    if isinstance(log, LightLog):
        log.context = log.context or record.root
        log.resource = record.resource


def trace_id(log: Any) -> int:
    """The trace of a log record, light or the SDK's; 0 when it has none yet."""
    if isinstance(log, LightLog):
        return log.context.trace_id if log.context is not None else 0
    return log.log_record.trace_id or 0


def tell_others(logs: Sequence[Any]) -> None:
    """Give light log records, as the SDK's, to the processors that are not ours."""
    others = _others()
    if not others:
        return
    provider = get_logger_provider()
    for log in logs:
        if not isinstance(log, LightLog):
            continue  # it came from there
        try:
            converted = _of_the_sdk(log, provider)
            for processor in others:
                processor.on_emit(converted)
        except Exception:
            guard.failed("handing on a log record")


def has_others() -> bool:
    """True when somebody else wants log records: an exporter, say."""
    return bool(_others())


def _others() -> list[Any]:
    found = processors(get_logger_provider())
    return [each for each in found if not hasattr(each, OURS)]


def processors(provider: Any) -> Sequence[Any]:
    """The processors of a `LoggerProvider`; the chain itself when its parts cannot be seen."""
    chain = getattr(provider, "_multi_log_record_processor", None)
    if chain is None:
        return ()
    return getattr(chain, "_log_record_processors", (chain,))


def hand_on(logs: Sequence[Any]) -> None:
    """Give log records that no request holds to the toolbar."""
    if _take is not None:
        _take(logs)


def emit_of_process(log: LightLog) -> None:
    """Hand on what belongs to no trace: to the app's own `LoggerProvider`, and to the toolbar."""
    tell_others((log,))
    hand_on((log,))


def _emit_alone(record: records.Record | None, log: LightLog) -> None:
    if record is not None:
        log.context = log.context or record.root
        log.resource = record.resource
    tell_others([log])
    if log.context is not None:
        hand_on((log,))


def _of_the_sdk(log: LightLog, provider: Any) -> ReadWriteLogRecord:
    from opentelemetry.sdk._logs import ReadWriteLogRecord  # there when a provider is

    span = trace.NonRecordingSpan(log.context or trace.INVALID_SPAN_CONTEXT)
    record = LogRecord(
        timestamp=log.time,
        observed_timestamp=log.time,
        context=trace.set_span_in_context(span),
        severity_number=SeverityNumber(log.severity),
        severity_text=log.level or None,
        body=light.clean(log.body),
        attributes={key: light.clean(value) for key, value in log.attributes.items()},
        event_name=log.event or None,
    )
    return ReadWriteLogRecord(record, provider.resource, log.scope)
