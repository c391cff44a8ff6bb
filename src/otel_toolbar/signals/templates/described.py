"""What a template's span says: its name and file, what it was given, where it failed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FrameType, TracebackType
from typing import Any, cast

from opentelemetry.trace import Span

from otel_toolbar import guard, semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import callsite, exceptions, masking

CAPTURE = "templates"
"""The word of the setting `CAPTURE` that adds the values of the context."""

_MAX_KEYS = 100
_LONGEST = 200
"""Characters of a value in a template's context."""

_MAX_TRACEBACK = 200
_MAX_PLACES = 4096


class _Options:
    values = False


def configure(options: Settings) -> None:
    """Take `CAPTURE` from the settings."""
    _Options.values = CAPTURE in options.capture


def shown(name: Any) -> str:
    """The name of a template; one made from a string has none."""
    return name if type(name) is str else "<template>" if name is None else masking.clean(name)


def identity(engine: str, name: Any, path: Any, role: str) -> dict[str, Any]:
    """Which template, and the part it plays."""
    attributes: dict[str, Any] = {
        semconv.TEMPLATE_ENGINE: engine,
        semconv.TEMPLATE_NAME: shown(name),
        semconv.TEMPLATE_ROLE: role,
    }
    if isinstance(path, str) and path and not path.startswith("<"):
        attributes[semconv.TEMPLATE_PATH] = path
    return attributes


def put_context(
    attributes: dict[str, Any], values: Mapping[str, Any], globals_: Iterable[str] = ()
) -> None:
    """Names of what the template was given, without what all templates have; values when asked for."""
    keys = [key for key in values if key not in globals_]
    attributes[semconv.TEMPLATE_CONTEXT_KEYS] = keys[:_MAX_KEYS]
    if _Options.values:
        attributes[semconv.TEMPLATE_CONTEXT_VALUES] = [
            _value(key, values[key]) for key in keys[:_MAX_KEYS]
        ]


def _value(key: str, value: Any) -> str:
    """`key: type = value`, without asking the value anything."""
    kind = masking.type_name(cast("type[Any]", type(value)))
    text = masking.clean(value, key, _LONGEST)
    return f"{key}: {kind}" + ("" if text == f"<{kind}>" else f" = {text}")


# Places.

_places: dict[tuple[CodeType, int], tuple[str, int]] = {}


def put_template_line(attributes: dict[str, Any], frame: FrameType, template: Any) -> None:
    """The line of `template`, whose compiled code `frame` runs, as where the work comes from."""
    key = frame.f_code, frame.f_lasti
    place = _places.get(key)
    if place is None:
        line = template.get_corresponding_lineno(frame.f_lineno or 0)
        if len(_places) >= _MAX_PLACES:
            _places.clear()
        place = _places[key] = str(template.filename or frame.f_code.co_filename), line
    attributes[semconv.CODE_FILE_PATH], attributes[semconv.CODE_LINE_NUMBER] = place
    attributes[semconv.CODE_FUNCTION_NAME] = f"template {shown(template.name)}"


def put_caller(attributes: dict[str, Any]) -> None:
    """The app's line that asked for it."""
    try:
        stack = callsite.stack()
    except Exception:  # the render is worth more than its place
        guard.failed("call site of a template")
        return
    if stack is not None:
        place = stack.places[0]
        attributes[semconv.CODE_FILE_PATH] = place.file
        attributes[semconv.CODE_LINE_NUMBER] = place.line
        attributes[semconv.CODE_FUNCTION_NAME] = place.function


# Errors. While one is on its way, its traceback has the lines of the compiled code; Jinja2 puts the
# template's in their place only when it is out of all templates.


def put_error(span: Span, error: Exception, template: Any, ours: frozenset[CodeType]) -> None:
    """The line at which `template` failed; the exception too, where no inner span has told it."""
    entries = list(_entries(error.__traceback__))
    line = _line(error, template, entries)
    if line is not None:
        span.set_attribute(semconv.TEMPLATE_ERROR_LINE, line)
    if not any(entry.tb_frame.f_code in ours for entry in entries[1:]):
        facts = exceptions.described(error, _stacktrace(error, entries))
        span.add_event(semconv.EXCEPTION_EVENT, facts)


def _entries(entry: TracebackType | None) -> Iterator[TracebackType]:
    while entry is not None:
        yield entry
        entry = entry.tb_next


def _line(error: Exception, template: Any, entries: list[TracebackType]) -> int | None:
    if template is None:  # it was being compiled
        line = getattr(error, "lineno", None)
        return line if isinstance(line, int) else None
    for entry in reversed(entries):
        if entry.tb_frame.f_globals.get("__jinja_template__") is template:
            return template.get_corresponding_lineno(entry.tb_lineno)
    return None


def _stacktrace(error: Exception, entries: list[TracebackType]) -> str:
    """As Jinja2 will show it: the lines of templates, without what is internal."""
    internal: set[CodeType] = getattr(sys.modules.get("jinja2.utils"), "internal_code", set())
    frames = [
        _summary(entry)
        for entry in entries[-_MAX_TRACEBACK:]
        if entry.tb_frame.f_code not in internal
    ]
    lines = traceback.StackSummary.from_list(frames).format()
    last = traceback.format_exception_only(type(error), error)
    return "".join(["Traceback (most recent call last):\n", *lines, *last])


def _summary(entry: TracebackType) -> traceback.FrameSummary:
    code, template = entry.tb_frame.f_code, entry.tb_frame.f_globals.get("__jinja_template__")
    if template is None:
        return traceback.FrameSummary(code.co_filename, entry.tb_lineno, code.co_name)
    line = template.get_corresponding_lineno(entry.tb_lineno)
    return traceback.FrameSummary(code.co_filename, line, _location(code.co_name))


def _location(function: str) -> str:
    """As Jinja2 calls it."""
    if function == "root":
        return "top-level template code"
    return f"block {function[6:]!r}" if function.startswith("block_") else "template"
