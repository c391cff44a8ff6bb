"""The log records of a trace in order, with what each says and where it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.model import Log, Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge, Level
from otel_toolbar.settings import Settings

LEVELS = ("fatal", "error", "warn", "info", "debug", "trace", "other")
"""Names of OpenTelemetry's severity ranges, worst first; `other`: the sender did not say."""

_PLACES = (
    semconv.CODE_FILE_PATH,
    semconv.CODE_LINE_NUMBER,
    semconv.CODE_FUNCTION_NAME,
    semconv.OLD_CODE_FILE_PATH,
    semconv.OLD_CODE_LINE_NUMBER,
    semconv.OLD_CODE_FUNCTION,
)
_EXCEPTION = (semconv.EXCEPTION_TYPE, semconv.EXCEPTION_MESSAGE, semconv.EXCEPTION_STACKTRACE)
_APART = frozenset((*_PLACES, *_EXCEPTION, semconv.LOGGER_NAME, semconv.LOG_ARGUMENTS))
"""Attributes with a place of their own in the view."""


@dataclass(frozen=True)
class Count:
    """How often something was there."""

    name: str
    count: int


@dataclass(frozen=True)
class LogView:
    """One record."""

    position: int
    start: float
    """After the start of the trace, in s; below 0 when it was before."""
    level: str
    """One of `LEVELS`."""
    severity: str
    """As the source calls it: WARNING."""
    logger: str
    message: str
    event: str
    """Name of the event, empty for an ordinary record."""
    span_id: str | None
    span: str
    """Name of the span it was logged in; empty when that is not known."""
    place: shared.Place | None
    arguments: tuple[str, ...]
    fields: tuple[shared.Field, ...]
    """Extra values and other attributes by name."""
    exception: str
    """`type: message`, empty when none was logged with it."""
    stacktrace: str


@dataclass(frozen=True)
class LogsView:
    """The panel."""

    count: int
    levels: tuple[Count, ...]
    """Worst first; those that are there."""
    loggers: tuple[Count, ...]
    """Most frequent first."""
    records: tuple[LogView, ...]
    """In order of time."""
    dropped: int
    """Spans and records of the trace that were not kept."""
    running: bool


def view(trace: Trace, settings: Settings) -> LogsView:
    """The records of a trace."""
    records = tuple(
        _record(trace, log, position, settings) for position, log in enumerate(trace.logs, 1)
    )
    by_level = Counter(record.level for record in records)
    by_logger = Counter(record.logger for record in records)
    return LogsView(
        count=len(records),
        levels=tuple(Count(level, by_level[level]) for level in LEVELS if by_level[level]),
        loggers=tuple(Count(*pair) for pair in by_logger.most_common()),
        records=records,
        dropped=trace.dropped + _not_kept(trace),
        running=trace.running,
    )


def badge(view: LogsView) -> Badge:
    """How many, and how bad the worst is."""
    levels = {count.name for count in view.levels}
    worst: Level = "error" if levels & {"fatal", "error"} else "warn" if "warn" in levels else "ok"
    return Badge(str(view.count) if view.count else None, worst)


def level(severity: int) -> str:
    """The range that an OpenTelemetry severity number lies in."""
    if not 1 <= severity <= 24:
        return "other"
    return ("trace", "debug", "info", "warn", "error", "fatal")[(severity - 1) // 4]


def _record(trace: Trace, log: Log, position: int, settings: Settings) -> LogView:
    span = trace.by_id.get(log.span_id or "")
    kind, message, stacktrace = (reading.as_text(log.attributes.get(key)) for key in _EXCEPTION)
    return LogView(
        position=position,
        start=shared.seconds(log.time - trace.start),
        level=level(log.severity),
        severity=log.level or level(log.severity).upper(),
        logger=log.text(semconv.LOGGER_NAME) or log.scope.name,
        message=reading.as_text(log.body),
        event=log.event,
        span_id=span.span_id if span else None,
        span=shared.title(span) if span else "",
        place=_place(log, settings),
        arguments=reading.strings(log.attributes.get(semconv.LOG_ARGUMENTS)),
        fields=_fields(log),
        exception=f"{kind}: {message}".strip(": "),
        stacktrace=stacktrace,
    )


def _place(log: Log, settings: Settings) -> shared.Place | None:
    path = _first(log, (semconv.CODE_FILE_PATH, semconv.OLD_CODE_FILE_PATH))
    if not path:
        return None
    number = _first(log, (semconv.CODE_LINE_NUMBER, semconv.OLD_CODE_LINE_NUMBER))
    line = int(number) if number.isdecimal() and len(number) < 10 else None
    function = _first(log, (semconv.CODE_FUNCTION_NAME, semconv.OLD_CODE_FUNCTION))
    return shared.Place(path, line, function, shared.editor_link(path, line, settings.editor))


def _first(log: Log, keys: Iterable[str]) -> str:
    return next((text for key in keys if (text := log.text(key))), "")


def _fields(log: Log) -> tuple[shared.Field, ...]:
    extra = {
        key.removeprefix(semconv.LOG_EXTRA): value
        for key, value in log.attributes.items()
        if key not in _APART
    }
    return shared.fields(extra)


def _not_kept(trace: Trace) -> int:
    main = trace.main
    return max(0, main.integer(semconv.DROPPED) or 0) if main else 0
