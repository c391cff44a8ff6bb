"""Hints about queries: what could be better, concluded from the trace alone.

The ones that need the database's plan or schema are made where EXPLAIN is.
"""

from __future__ import annotations

from typing import Final

from otel_toolbar import guard
from otel_toolbar.insights.hint import Hint, Rule
from otel_toolbar.model import Trace

from . import results

RULES: Final[tuple[Rule, ...]] = (*results.RULES,)
"""All of them, in the order in which they are told."""


def find(trace: Trace) -> tuple[Hint, ...]:
    """All hints of a trace, warnings first. Kept with the trace: several panels ask for them."""
    if find not in trace.memo:
        found = [hint for rule in RULES for hint in _found(rule, trace)]
        trace.memo[find] = tuple(sorted(found, key=lambda hint: hint.severity != "warn"))
    return trace.memo[find]


def _found(rule: Rule, trace: Trace) -> list[Hint]:
    try:
        return list(rule.find(trace))
    except Exception:  # one rule's fault must not cost the others' hints, nor the page
        guard.failed(f"hints of the rule {rule.id}")
        return []
