"""The log processor that stands first in every `LoggerProvider`: what others emit is masked and seen."""

from __future__ import annotations

from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from otel_toolbar import guard

from . import logs, masking
from . import record as records


class ToolbarLogProcessor(LogRecordProcessor):
    """Masks log records in place, and puts those of a trace into its request or hands them on."""

    otel_toolbar_log_processor = True

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        try:
            if records.is_excluded():
                return
            logs.count_one_from_the_sdk()
            given = log_record.log_record
            _mask(given)
            record = records.current()
            if record is not None and not record.closed and record.trace_id == given.trace_id:
                record.keep_log(log_record)
            elif given.trace_id:
                logs.hand_on((log_record,))
        except Exception:
            guard.failed("a log record")

    def shutdown(self) -> None:
        """Nothing is held back here."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002
        return True


def stand_first(provider: Any) -> None:
    """Put our processor before the others of a provider, so that they get what is masked."""
    chain = provider._multi_log_record_processor  # noqa: SLF001
    ours = ToolbarLogProcessor()
    provider.add_log_record_processor(ours)
    others = tuple(each for each in logs.processors(provider) if each is not ours)
    chain._log_record_processors = (ours, *others)  # noqa: SLF001


def _mask(given: LogRecord) -> None:
    given.body = masked(given.body)
    attributes: Any = given.attributes
    items: list[tuple[str, Any]] = list(attributes.items()) if attributes else []
    for key, value in items:
        shown = masking.MASK if value is not None and masking.is_secret(key) else masked(value)
        if shown is not value:
            attributes[key] = shown


def masked(value: Any) -> Any:
    """A value without secrets: text as text, numbers as they are, the rest as short masked text."""
    if isinstance(value, str):
        return masking.text(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return masking.clean(value)
