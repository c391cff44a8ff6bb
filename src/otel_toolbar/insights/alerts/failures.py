"""What failed: exceptions, calls that failed on the way, and what was logged as an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import errors, reading
from otel_toolbar.insights.errors import Error
from otel_toolbar.insights.hint import Figure, Hint, Place, Rule
from otel_toolbar.model import Kind, Log, Span, Trace
from otel_toolbar.settings import Settings

ERROR: Final = 17
"""OpenTelemetry's severity number of the level ERROR."""

_LONGEST = 300
_GONE: Final = ("CancelledError", "ClientDisconnect", "ClientDisconnected", "WebSocketDisconnect")
"""Exceptions that say that the client went away."""
_EXPECTED: Final = (
    "IntegrityError",
    "UniqueViolation",
    "UniqueViolationError",
    "StopAsyncIteration",
)
"""Exceptions that programs provoke: insert, and see whether it is there already."""


def _unhandled(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001 - the rules' signature
    for error in errors.find(trace):
        if error.handled or _is_named(error, _GONE) or not _reached_the_end(trace, error):
            continue
        yield UNHANDLED.hint(
            [error.span] if error.span else [],
            _said(error),
            [Figure("times", error.count)],
            severity="error",
            at=_place(error),
        )


def _failed(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    for error in errors.find(trace):
        span = error.span
        gone = error.handled or _is_named(error, _GONE)
        if span is None or gone or _reached_the_end(trace, error) or _is_entry(trace, span):
            continue
        code = reading.status_code(span)
        by_design = _is_named(error, _EXPECTED) or (code is not None and 400 <= code < 500)
        yield FAILED_STEP.hint(
            [span],
            f"{span.name}: {_said(error)}",
            [Figure("times", error.count)],
            severity="info" if by_design else "warn",
            at=_place(error),
        )


def _is_entry(trace: Trace, span: Span) -> bool:
    return span.kind in (Kind.SERVER, Kind.CONSUMER) or span is trace.main


def _reached_the_end(trace: Trace, error: Error) -> bool:
    """True when an exception left the request or job that it happened in."""
    span = error.span
    if span is None or span.flag(semconv.DETACHED):
        return False
    if _is_entry(trace, span):
        # A bare status of 500 is told by the rule for those.
        return not reading.is_http(span) or any(map(_is_exception, span.events))
    for above in trace.ancestors(span):
        if not reading.failed(above):
            return False
        if _is_entry(trace, above):
            return _may_be_of(above, error)
    return False


def _may_be_of(entry: Span, error: Error) -> bool:
    """False when the entry says that it failed for another reason."""
    raised = [event for event in entry.events if _is_exception(event)]
    name = error.type.rpartition(".")[2]
    told = (
        reading.as_text(event.attributes.get(key))
        for event in raised
        for key in (semconv.EXCEPTION_TYPE, semconv.EXCEPTION_STACKTRACE)
    )
    return not raised or any(name in text for text in told)


def _is_exception(event: object) -> bool:
    return getattr(event, "name", "") == semconv.EXCEPTION_EVENT


def _is_named(error: Error, names: tuple[str, ...]) -> bool:
    return error.type.rpartition(".")[2] in names


def _said(error: Error) -> str:
    message = error.message.strip().partition("\n")[0][:_LONGEST]
    times = f" ({error.count:,} times)" if error.count > 1 else ""
    return f"{error.type}{': ' + message if message else ''}{times}"


def _place(error: Error) -> Place | None:
    frame = error.place
    return Place(frame.path, frame.line, frame.function) if frame else None


def _logged(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    told = {id(log) for log in _with_error_told(trace)}
    groups: dict[object, list[Log]] = {}
    for log in trace.logs:
        if log.severity >= ERROR and not log.event and id(log) not in told:
            text = log.text(semconv.LOG_TEMPLATE) or reading.as_text(log.body)
            groups.setdefault((log.text(semconv.LOGGER_NAME), text, _line(log)), []).append(log)
    for logs in groups.values():
        first = logs[0]
        span = trace.by_id.get(first.span_id or "")
        times = f", {len(logs):,} times" if len(logs) > 1 else ""
        text = reading.as_text(first.body).strip().partition("\n")[0][:_LONGEST]
        yield ERROR_LOG.hint(
            [span] if span else [],
            f"{first.level or 'ERROR'} of {first.text(semconv.LOGGER_NAME) or 'a logger'}{times}: {text}",
            [Figure("records", len(logs))],
            severity="warn",
            at=_line(first),
        )


def _with_error_told(trace: Trace) -> Iterator[Log]:
    """Records of an exception that stands on a span as one that nobody handled: servers log those."""
    raised = {
        reading.as_text(event.attributes.get(semconv.EXCEPTION_TYPE)).rpartition(".")[2]
        for span in trace.spans
        for event in span.events
        if _is_exception(event) and event.attributes.get(semconv.EXCEPTION_HANDLED) is not True
    }
    for log in trace.logs:
        if log.text(semconv.EXCEPTION_TYPE).rpartition(".")[2] in raised - {""}:
            yield log


def _line(log: Log) -> Place | None:
    path = log.text(semconv.CODE_FILE_PATH)
    line = log.attributes.get(semconv.CODE_LINE_NUMBER)
    number = line if isinstance(line, int) else None
    return Place(path, number, log.text(semconv.CODE_FUNCTION_NAME)) if path else None


UNHANDLED: Final = Rule(
    id="unhandled-error",
    title="Unhandled error",
    when="An exception left the request, job or task it happened in. Not: one that a handler made"
    " a response of, a client that went away.",
    evidence="Exception, message, the app's own line nearest to it.",
    fix="Catch it where something can be done about it, or register an exception handler that says"
    " what went wrong.",
    link="https://docs.python.org/3/tutorial/errors.html#handling-exceptions",
    find=_unhandled,
    panel="errors",
)
FAILED_STEP: Final = Rule(
    id="failed-step",
    title="Failed step",
    when="A query, call or task failed, and what it was part of did not. Only information:"
    " integrity errors, 4xx of another service.",
    evidence="What failed, exception or status.",
    fix="See that the failure is meant to be passed over; if so, keep it from happening or say so"
    " in the code.",
    link="https://docs.python.org/3/tutorial/errors.html#handling-exceptions",
    find=_failed,
    panel="errors",
)
ERROR_LOG: Final = Rule(
    id="error-log",
    title="Logged as an error",
    when="The app or a library logged at ERROR or above; like records are one alert. Not: a"
    " server's record of an exception that is told already.",
    evidence="Level, logger, message, how many.",
    fix="Repair what it says, or log it at a lower level when it is nothing to act on.",
    link="https://docs.python.org/3/howto/logging.html#when-to-use-logging",
    find=_logged,
    panel="logs",
)

RULES: Final = (UNHANDLED, FAILED_STEP, ERROR_LOG)
