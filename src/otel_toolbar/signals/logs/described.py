"""A record of `logging` as OpenTelemetry has it: severity, body and attributes, masked and cut.

No code of the app is called but what `logging` itself calls: a message that no handler has formatted is
formatted here only from values of built-in types.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any, cast

from otel_toolbar import semconv
from otel_toolbar.signals.core import exceptions, masking

MAX_EXTRA = 32
"""Values of `extra=` and arguments that are kept."""

_PLAIN = frozenset({str, int, float, bool, type(None)})
_NUMBERS = frozenset({int, float, bool})
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's, the message again
}
"""Attributes that every record has; others came by `extra=`."""


def severity(level: int) -> int:
    """OpenTelemetry's number of a level of `logging`: 10 is 5 (DEBUG), 20 is 9 (INFO), and so on."""
    if level < logging.DEBUG:
        return 1 if level > 0 else 0
    return min(24, level // 10 * 4 + 1 + min(level % 10, 3))


def body(record: logging.LogRecord) -> str:
    """The message."""
    return masking.text(_message(record)[: masking.MAX_TEXT])


def _message(record: logging.LogRecord) -> str:
    said: object = vars(record).get("message")
    if type(said) is str:
        return said  # a handler's formatter has made it
    template = _template(record)
    given = _arguments(record)
    if not given:
        return template
    shown = tuple(each if type(each) in _PLAIN else masking.clean(each) for each in given)
    names = _as_dict(record.args)
    try:
        return template % (shown if names is None else dict(zip(names, shown, strict=True)))
    except (TypeError, ValueError, KeyError):  # as `logging` would have said on stderr
        return f"{template} {masking.clean(given)}"


def _template(record: logging.LogRecord) -> str:
    message: Any = record.msg
    if type(message) is str:
        return message
    event = (_as_dict(message) or {}).get("event")  # structlog's, on its way to its own formatter
    return event if type(event) is str else masking.clean(message)


def _arguments(record: logging.LogRecord) -> tuple[Any, ...]:
    named = _as_dict(record.args)
    given: Any = record.args if named is None else named.values()
    return tuple(given or ())


def _as_dict(given: Any) -> dict[Any, Any] | None:
    return cast("dict[Any, Any]", given) if type(given) is dict else None


def attributes(record: logging.LogRecord) -> dict[str, Any]:
    """Where it was logged, by which logger, from what, and with which exception."""
    found: dict[str, Any] = {
        semconv.LOGGER_NAME: record.name,
        semconv.CODE_FILE_PATH: record.pathname,
        semconv.CODE_LINE_NUMBER: record.lineno,
        semconv.CODE_FUNCTION_NAME: record.funcName,
    }
    given = _arguments(record)
    if given:
        found[semconv.LOG_TEMPLATE] = masking.text(_template(record)[: masking.MAX_TEXT])
        found[semconv.LOG_ARGUMENTS] = [masking.value("", each) for each in given[:MAX_EXTRA]]
    _add_extra(found, vars(record))
    if structured := _as_dict(record.msg):
        _add_extra(found, structured, but="event")
    if record.exc_info and record.exc_info[1] is not None:
        _add_exception(found, record, record.exc_info[1])
    return found


def _add_extra(found: dict[str, Any], given: dict[Any, Any], but: str = "") -> None:
    if len(given) <= len(_STANDARD) and _STANDARD.issuperset(given):
        return
    names = (
        name
        for name in given
        if type(name) is str and name not in _STANDARD and name[:1] != "_" and name != but
    )
    for name in islice(names, MAX_EXTRA):
        value = given[name]
        plain = type(value) in _NUMBERS and not masking.is_secret(name)
        found[semconv.LOG_EXTRA + name] = value if plain else masking.value(name, value)


def _add_exception(found: dict[str, Any], record: logging.LogRecord, error: BaseException) -> None:
    if record.exc_text:  # a handler's formatter has made it
        found |= exceptions.described(error, record.exc_text)
    else:
        found |= exceptions.described(error)
