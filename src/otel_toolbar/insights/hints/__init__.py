"""Hints about queries: what could be better, concluded from the trace alone.

The ones that need the database's plan or schema are made where EXPLAIN is.
"""

from __future__ import annotations

from typing import Final

from otel_toolbar.insights.hint import Hint, Rule, found
from otel_toolbar.model import Trace

from . import conditions, loading, repetition, results, statements, transactions

RULES: Final[tuple[Rule, ...]] = (
    *repetition.RULES,
    *results.RULES,
    *statements.RULES,
    *conditions.RULES,
    *loading.RULES,
    *transactions.RULES,
)
"""All of them, in the order in which they are told."""


def find(trace: Trace) -> tuple[Hint, ...]:
    """All hints of a trace, warnings first. Kept with the trace: several panels ask for them."""
    if find not in trace.memo:
        told = found(RULES, trace)
        trace.memo[find] = tuple(sorted(told, key=lambda hint: hint.severity != "warn"))
    return trace.memo[find]
