"""What the trace's queries have in common, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.n_plus_one import Findings, read_statement
from otel_toolbar.model import Span, Trace


def fingerprint(trace: Trace, span: Span) -> str:
    """16 hex digits that like statements share; without a statement, what the span tells."""
    told = reading.text(span, semconv.QUERY_FINGERPRINT)
    if told or not reading.statement(span):
        return told or reading.operation(span)
    return read_statement(trace, span).fingerprint


def duplicates(findings: Findings) -> frozenset[str]:
    """Ids of the queries that had been made before, with the same parameters."""
    return frozenset(span.span_id for found in findings.duplicates for span in found.spans[1:])


def union(trace: Trace, spans: Sequence[Span]) -> int:
    """Time of the main span in ns during which at least one of `spans` ran."""
    if trace.main is None:
        return 0
    total, reached, end = 0, trace.main.start, trace.end_of(trace.main)
    for span in spans:
        begin, stop = max(span.start, reached), min(trace.end_of(span), end)
        if stop > begin:
            total += stop - begin
            reached = stop
    return total


def fix(lazy: str, operation: str) -> tuple[str, str]:
    """What to do about a group: a sentence, and code where it can be told."""
    model, _, relationship = lazy.rpartition(".")
    if model and relationship:
        name = model.rpartition(".")[2]
        return (
            f"Each {name} loads its `{relationship}` alone. Load them with the {name} objects:",
            f"select({name}).options(selectinload({name}.{relationship}))",
        )
    if operation in ("SELECT", ""):
        return (
            "It runs once for each item of a loop. Fetch all rows before the loop, in one query:",
            "select(Model).where(Model.id.in_(ids))",
        )
    return "The same statement runs once for each item: send one batch.", ""
