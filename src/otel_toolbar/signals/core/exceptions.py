"""An exception as the attributes `exception.*`, secrets masked."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any

from opentelemetry.trace import Span

from otel_toolbar import semconv
from otel_toolbar.settings import Settings

from . import callsite, masking

LOCALS = "locals"
"""The word of the setting `CAPTURE` that adds local variables."""

_MAX_LOCALS = 50
_MAX_FRAMES = 50
_MAX_CHAIN = 10


class _Options:
    locals = False


def configure(options: Settings) -> None:
    """Take `CAPTURE` from the settings."""
    _Options.locals = LOCALS in options.capture


def type_name(kind: type[BaseException]) -> str:
    """The name of an exception class as `exception.type` and `error.type` have it."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def record(
    span: Span,
    error: BaseException,
    *,
    handled: bool = False,
    also: Mapping[str, Any] | None = None,
) -> None:
    """Add an exception to a span as an event, with attributes that are `also` known of it.

    One that is handled is a part of the app's ordinary work and may come with every request: of its
    traceback only the app's own frames are written, without their source.
    """
    facts = described(error, _short(error) if handled else None)
    if handled:
        facts[semconv.EXCEPTION_HANDLED] = True
    span.add_event(semconv.EXCEPTION_EVENT, facts | dict(also or {}))


def described(error: BaseException, stacktrace: str | None = None) -> dict[str, Any]:
    """The attributes of an exception; `stacktrace` is its traceback where it is known already."""
    facts: dict[str, Any] = {
        semconv.EXCEPTION_TYPE: type_name(type(error)),
        semconv.EXCEPTION_MESSAGE: masking.text(message(error)),
        semconv.EXCEPTION_STACKTRACE: masking.text(
            stacktrace or "".join(traceback.format_exception(error))
        ),
    }
    if _Options.locals:
        facts[semconv.EXCEPTION_LOCALS] = list(_locals(error))
    return facts


def message(error: BaseException) -> str:
    """Its text; a word where that cannot be had."""
    try:
        return str(error)
    except Exception:  # code of others
        return "<exception str() failed>"


def _short(error: BaseException) -> str:
    lines = [
        f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'
        for frame, line in _own_frames(error.__traceback__)
    ]
    said = message(error)
    last = type_name(type(error)) + (f": {said}" if said else "")
    return "\n".join(["Traceback (most recent call last):", *lines, last])


def _own_frames(begin: TracebackType | None) -> list[tuple[FrameType, int]]:
    """The app's frames with their lines, outermost first; the innermost of all where none is."""
    found: list[tuple[FrameType, int]] = []
    innermost: tuple[FrameType, int] | None = None
    while begin is not None:
        innermost = begin.tb_frame, begin.tb_lineno
        if callsite.kind_of(begin.tb_frame.f_code.co_filename) == callsite.APP:
            found.append(innermost)
        begin = begin.tb_next
    return found[-_MAX_FRAMES:] or ([innermost] if innermost else [])


def _locals(error: BaseException) -> Iterator[str]:
    """`file:line name = value` for the variables of the app's frames, innermost first."""
    for raised in _chain(error):
        for frame, line in reversed(_own_frames(raised.__traceback__)):
            place = f"{frame.f_code.co_filename}:{line}"
            for name, value in list(frame.f_locals.items())[:_MAX_LOCALS]:
                yield f"{place} {name} = {masking.value(name, value)}"


def _chain(error: BaseException) -> list[BaseException]:
    """The exception, and what it was raised from or while handling."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain and len(chain) < _MAX_CHAIN:
        chain.append(current)
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
    return chain
