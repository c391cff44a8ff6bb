"""A hint: what in a trace could be better, what shows it, and what to do about it.

The same for all subjects: a rule reads a trace, concludes something from it and says so in hints. It
works on nothing but the trace, so it says the same of one that comes out of Jaeger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from otel_toolbar import semconv
from otel_toolbar.model import Span, Trace

from . import reading

Severity = Literal["info", "warn"]
"""`info` is worth knowing; `warn` has cost this trace something that can be felt."""


@dataclass(frozen=True)
class Figure:
    """A number that the hint rests on."""

    name: str
    value: float
    unit: str = ""
    """`s`, `By`, or empty for what is counted."""


@dataclass(frozen=True)
class Place:
    """A line of the app."""

    file: str
    line: int | None
    function: str


@dataclass(frozen=True)
class Hint:
    """One conclusion of one rule."""

    rule: str
    """Id of the rule: `missing-limit`."""
    title: str
    severity: Severity
    spans: tuple[str, ...]
    """Ids of the spans that it is about, in order of start; at least one."""
    evidence: str
    """A sentence with the figures in it."""
    figures: tuple[Figure, ...]
    fix: str
    """One sentence."""
    link: str
    """A page that explains it."""
    place: Place | None
    """The line of the app that it is about, when that is known."""


@dataclass(frozen=True)
class Rule:
    """What is looked for, described for a reader, and the function that finds it."""

    id: str
    title: str
    when: str
    """When it speaks, and when it does not."""
    evidence: str
    """What it shows."""
    fix: str
    link: str
    find: Callable[[Trace], Iterable[Hint]]

    def hint(
        self,
        spans: Sequence[Span],
        evidence: str,
        figures: Sequence[Figure] = (),
        *,
        severity: Severity = "info",
        fix: str = "",
    ) -> Hint:
        """A hint of this rule about `spans`; the place is the first one's."""
        return Hint(
            self.id,
            self.title,
            severity,
            tuple(span.span_id for span in spans),
            evidence,
            tuple(figures),
            fix or self.fix,
            self.link,
            place(spans[0]),
        )


def place(span: Span) -> Place | None:
    """Where in the app a span was made."""
    file = reading.text(span, semconv.CODE_FILE_PATH, semconv.OLD_CODE_FILE_PATH)
    if not file:
        return None
    line = reading.integer(span, semconv.CODE_LINE_NUMBER, semconv.OLD_CODE_LINE_NUMBER)
    return Place(file, line, reading.text(span, semconv.CODE_FUNCTION_NAME))
