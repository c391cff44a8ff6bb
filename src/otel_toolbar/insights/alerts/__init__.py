"""Alerts: what deserves a look in a trace, of all signals, each with evidence, place and fix.

One list for all who count or show them: the panel, the badge, the history and the key figures.
Warnings of hints about queries are among them, by their own names.
"""

from __future__ import annotations

import difflib
from typing import Final, Literal

from otel_toolbar.insights import hints
from otel_toolbar.insights.hint import Hint, Rule, Severity, found
from otel_toolbar.model import Trace
from otel_toolbar.settings import PREFIX, Settings, selected

from . import exposure, failures, loop, queries, repeats, responses, templates, websockets

RULES: Final[tuple[Rule, ...]] = (
    *failures.RULES,
    *queries.RULES,
    *responses.RULES,
    *loop.RULES,
    *templates.RULES,
    *repeats.RULES,
    *websockets.RULES,
    *exposure.RULES,
)
"""All of them, in the order in which they are told, those about queries' hints left out."""

SLOW_REQUEST: Final = responses.SLOW_REQUEST.id

SETTING: Final = PREFIX + "ALERTS"
"""The variable that silences."""

_TOLD_OTHERWISE: Final = frozenset({"query-in-a-loop"})
"""Hints that an alert says already."""

_ORDER: Final[tuple[Severity, ...]] = ("error", "warn", "info")


def names() -> tuple[str, ...]:
    """What the setting `ALERTS` chooses from."""
    told = (rule.id for rule in hints.RULES if rule.id not in _TOLD_OTHERWISE)
    return (*(rule.id for rule in RULES), *told)


def unknown(choice: tuple[str, ...]) -> list[str]:
    """A line for each name in the setting's value that there is none of."""
    known = names()
    lines: list[str] = []
    for word in choice:
        name = word.lstrip("+-")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known)}"
            lines.append(f"{SETTING}: no alert is named {name!r}{meant}")
    return lines


def find(trace: Trace, settings: Settings) -> tuple[Hint, ...]:
    """All alerts of a trace, the worst first. Kept with the trace: its summary and a panel ask."""
    key = (find, settings)
    if key not in trace.memo:
        trace.memo[key] = tuple(sorted(_find(trace, settings), key=_worst_first))
    return trace.memo[key]


def counted(trace: Trace, settings: Settings) -> tuple[Hint, ...]:
    """Those that are counted wherever a number stands: all but what is only worth knowing."""
    return tuple(alert for alert in find(trace, settings) if alert.severity != "info")


def level(found: tuple[Hint, ...]) -> Literal["ok", "warn", "error"]:
    """How much they ask for attention together."""
    severities = {alert.severity for alert in found}
    return "error" if "error" in severities else "warn" if "warn" in severities else "ok"


def panel(alert: Hint) -> str:
    """Id of the panel that shows more of an alert."""
    return next((rule.panel for rule in RULES if rule.id == alert.rule), "queries")


def _find(trace: Trace, settings: Settings) -> list[Hint]:
    wanted = frozenset(selected(settings.alerts, names()))
    told = found((rule for rule in RULES if rule.id in wanted), trace, settings)
    return told + [
        hint for hint in hints.find(trace) if hint.severity == "warn" and hint.rule in wanted
    ]


def _worst_first(alert: Hint) -> int:
    return _ORDER.index(alert.severity)
