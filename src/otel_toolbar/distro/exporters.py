"""What exporters of others say and do: lines within bounds, and no logs to an endpoint that takes none."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)

from otel_toolbar import guard

QUIET_SECONDS = 60
"""An exporter's line is let through once in this time: an endpoint that is down fails every batch."""

_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.common.http",
)
"""A filter holds for the logger that it is put on, not for those below it."""

_NOT_TAKEN = ("404", "UNIMPLEMENTED")
"""How HTTP and gRPC say that an endpoint knows no logs: Jaeger's answer."""


class Quieter(logging.Filter):
    """Lets a line of the same form through once in `QUIET_SECONDS`.

    While `SwitchingOff` exports it also reads why an export failed: exporters say it in their log only.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}
        self.watched = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(self.watched, "on", False) and _names_refusal(record.args):
            self.watched.refused = True
            return False
        now = time.monotonic()
        form = f"{record.name} {record.msg}"
        if now - self._last.get(form, float("-inf")) < QUIET_SECONDS:
            return False
        self._last[form] = now
        return True


_quieter = Quieter()


def quieten() -> None:
    """Bound the lines of all OTLP exporters. To call it again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_quieter)


class SwitchingOff(LogRecordExporter):
    """An exporter of logs that gives up, with one line, when its endpoint takes none."""

    def __init__(self, real: LogRecordExporter) -> None:
        self._real = real
        self._off = False

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        if self._off:
            return LogRecordExportResult.SUCCESS
        watched = _quieter.watched
        watched.on, watched.refused = True, False
        try:
            result = self._real.export(batch)
        finally:
            watched.on = False
        if result is LogRecordExportResult.FAILURE and watched.refused:
            self._off = True
            guard.say_once(
                "the OTLP endpoint takes no logs, so none are sent to it any more; traces are."
                " OTEL_LOGS_EXPORTER=none says so from the start"
            )
        return result

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return self._real.force_flush(timeout_millis)

    def shutdown(self) -> None:
        self._real.shutdown()


def log_processor(exporter: LogRecordExporter) -> BatchLogRecordProcessor:
    """The processor that our configurator puts each exporter of logs in."""
    return BatchLogRecordProcessor(SwitchingOff(exporter))


def _names_refusal(arguments: Any) -> bool:
    """True for the arguments of an exporter's line about a failed export that name such a code."""
    values = cast("tuple[Any, ...]", arguments) if isinstance(arguments, tuple) else ()
    return any(str(getattr(value, "name", value)) in _NOT_TAKEN for value in values)
