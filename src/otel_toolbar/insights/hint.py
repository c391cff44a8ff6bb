"""A hint: what in a trace could be better, what shows it, and what to do about it.

The same for all subjects: a rule reads a trace, concludes something from it and says so in hints. It
works on nothing but the trace, so it says the same of one that comes out of Jaeger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from otel_toolbar import guard, semconv
from otel_toolbar.model import Span

from . import reading

Severity = Literal["info", "warn", "error"]
"""`info` is worth knowing; `warn` has cost this trace something that can be felt, or lets an attacker
in; `error` is what failed."""


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
    """Ids of the spans that it is about, in order of start; none for log records outside of spans."""
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
    find: Callable[..., Iterable[Hint]]
    """Takes the trace; an alert's takes the settings, too."""
    panel: str = "queries"
    """Id of the panel that shows more of it."""

    def hint(
        self,
        spans: Sequence[Span],
        evidence: str,
        figures: Sequence[Figure] = (),
        *,
        severity: Severity = "info",
        fix: str = "",
        at: Place | None = None,
    ) -> Hint:
        """A hint of this rule about `spans`; the place is the first one's where `at` is not given."""
        return Hint(
            self.id,
            self.title,
            severity,
            tuple(span.span_id for span in spans),
            evidence,
            tuple(figures),
            fix or self.fix,
            self.link,
            at or (place(spans[0]) if spans else None),
        )


def found(rules: Iterable[Rule], *given: Any) -> list[Hint]:
    """What rules find. One that fails is reported and costs neither the others' hints nor the page."""
    hints: list[Hint] = []
    for rule in rules:
        try:
            hints += list(rule.find(*given))
        except Exception:
            guard.failed(f"hints of the rule {rule.id}")
    return hints


def place(span: Span) -> Place | None:
    """Where in the app a span was made."""
    file = reading.text(span, semconv.CODE_FILE_PATH, semconv.OLD_CODE_FILE_PATH)
    if not file:
        return None
    line = reading.integer(span, semconv.CODE_LINE_NUMBER, semconv.OLD_CODE_LINE_NUMBER)
    return Place(file, line, reading.text(span, semconv.CODE_FUNCTION_NAME))
