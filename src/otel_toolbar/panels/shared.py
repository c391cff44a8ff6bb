"""What several panels need: places in the code, times, tables of names and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TypeVar
from urllib.parse import quote

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.process import Code
from otel_toolbar.model import Kind, Span, Trace, Value
from otel_toolbar.settings import EDITORS, Settings

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_FRAME = re.compile(r"(?P<path>.+?):(?P<line>\d+)(?:\s+(?:in\s+)?(?P<function>.*))?")


@dataclass(frozen=True)
class Field:
    """A name with its value, as text."""

    name: str
    value: str


@dataclass(frozen=True)
class Place:
    """A line of source; `link` opens it in the editor, empty when that cannot be."""

    path: str
    line: int | None
    function: str
    link: str

    @property
    def short(self) -> str:
        """The last two parts of the path, with the line."""
        tail = "/".join(self.path.replace("\\", "/").split("/")[-2:])
        return f"{tail}:{self.line}" if self.line else tail


def title(span: Span) -> str:
    """The span's name, or a word to show where it has none."""
    return span.name if span.name.strip() else "(no name)"


def seconds(nanoseconds: int) -> float:
    return nanoseconds / 1e9


def duration_text(duration: float | None) -> str:
    """A duration in s as people read it, with about three digits."""
    if duration is None:
        return "running"
    if duration >= 60:
        return f"{int(duration // 60)} min {int(duration % 60)} s"
    if duration >= 1:
        return f"{duration:.2f} s"
    thousandths = duration * 1000
    digits = 0 if thousandths >= 100 else 1 if thousandths >= 10 else 2
    return f"{thousandths:.{digits}f} ms"


def fields(values: dict[str, Value]) -> tuple[Field, ...]:
    """Attributes as rows in the order of their names; numbered names in the order of numbers."""
    ordered = sorted(values.items(), key=lambda item: (_index(item[0]), item[0]))
    return tuple(Field(name, reading.as_text(value)) for name, value in ordered)


def _index(name: str) -> int:
    return int(name) if name.isdecimal() and len(name) < 9 else 10**9


def place(span: Span, settings: Settings) -> Place | None:
    """Where in the code the span comes from."""
    path = reading.text(span, semconv.CODE_FILE_PATH, semconv.OLD_CODE_FILE_PATH)
    function = reading.text(span, semconv.CODE_FUNCTION_NAME, semconv.OLD_CODE_FUNCTION)
    if not path and not function:
        return None
    line = reading.integer(span, semconv.CODE_LINE_NUMBER, semconv.OLD_CODE_LINE_NUMBER)
    return Place(path, line, function, editor_link(path, line, settings.editor))


def code_place(code: Code, settings: Settings) -> Place | None:
    """A function that the process told of; None when nothing of it is known."""
    if not code.function and not code.file:
        return None
    link = editor_link(code.file, code.line, settings.editor)
    return Place(code.file, code.line, code.function, link)


def stack(span: Span, settings: Settings) -> tuple[Place, ...]:
    """The app's frames, innermost first; lines that are not frames are left out."""
    return _frames(reading.text(span, semconv.CODE_STACKTRACE), settings.editor)


@lru_cache(maxsize=512)
def _frames(text: str, editor: str) -> tuple[Place, ...]:
    """Kept, because the queries of a loop share one stack."""
    return tuple(found for line in text.splitlines() if (found := _frame(line.strip(), editor)))


def _frame(line: str, editor: str) -> Place | None:
    match = _FRAME.fullmatch(line)
    if match is None or len(match["line"]) > 9:
        return None
    number = int(match["line"])
    link = editor_link(match["path"], number, editor)
    return Place(match["path"], number, match["function"] or "", link)


@lru_cache(maxsize=512)
def editor_link(path: str, line: int | None, editor: str) -> str:
    """URL that opens the line in `editor`, a name or a URL; only absolute paths can be opened."""
    template = EDITORS.get(editor, editor)
    path = path.replace("\\", "/")
    if re.match(r"[A-Za-z]:/", path):
        path = "/" + path
    if not template or not path.startswith("/"):
        return ""
    return template.replace("{path}", quote(path, safe="/:")).replace("{line}", str(line or 1))


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items that have a key in common, in order of the first of each."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def offset(trace: Trace, span: Span) -> float:
    """From the start of the trace to the start of the span, in s."""
    return max(0.0, seconds(span.start - trace.start))


@dataclass(frozen=True)
class Around:
    """A span that others ran in: a task, a template, a function of the app."""

    id: str
    name: str


_DEEPEST = 6


def around(trace: Trace, span: Span) -> tuple[Around, ...]:
    """What a span ran in, nearest first, up to the request."""
    found: list[Around] = []
    for above in islice(trace.ancestors(span), _DEEPEST):
        if above.kind in (Kind.SERVER, Kind.CONSUMER) or above is trace.main:
            break
        found.append(Around(above.span_id, title(above)))
    return tuple(found)


def exception(span: Span) -> str:
    """The error of a failed span in one line, empty when there is none."""
    if not reading.failed(span):
        return ""
    for event in reversed(span.events):
        if event.name == semconv.EXCEPTION_EVENT:
            kind = reading.as_text(event.attributes.get(semconv.EXCEPTION_TYPE))
            message = reading.as_text(event.attributes.get(semconv.EXCEPTION_MESSAGE))
            return f"{kind}: {message}".strip(": ") or "exception"
    return span.status_message or reading.text(span, semconv.ERROR_TYPE) or "error"
