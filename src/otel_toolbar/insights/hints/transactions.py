"""Transactions that stay open: they hold a connection, locks, and what others may not clean up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.model import Span, Trace

LONG: Final = 0.5
"""Seconds from which a transaction is worth knowing of."""
TOO_LONG: Final = 2.0
IDLE: Final = 0.2
"""Seconds within a transaction in which its request asked the database nothing."""
TOO_IDLE: Final = 1.0


class _Transaction(NamedTuple):
    end: Span
    """The COMMIT or ROLLBACK."""
    seconds: float
    begin: int
    """ns"""
    within: list[Span]
    """Spans of its request that ran while it was open, the requests themselves left out."""


def _long(trace: Trace) -> Iterator[Hint]:
    for each in _transactions(trace):
        if each.seconds >= LONG:
            queries = sum(reading.is_query(span) for span in each.within)
            yield LONG_TRANSACTION.hint(
                [each.end],
                f"The transaction was open for {each.seconds:.2f} s, with {queries} queries in it.",
                [Figure("time", each.seconds, "s"), Figure("queries", queries)],
                severity="warn" if each.seconds >= TOO_LONG else "info",
            )


def _idle(trace: Trace) -> Iterator[Hint]:
    for each in _transactions(trace):
        asked = _covered(
            [span for span in each.within if reading.category(span) == "db"], each.begin
        )
        idle = each.seconds - asked / 1e9
        if idle < IDLE or idle < each.seconds / 2:
            continue
        longest = _longest_other(each)
        during = (
            f", {longest.duration_at(longest.start) / 1e9:.2f} s of it in {longest.name}"
            if longest
            else ""
        )
        yield IDLE_IN_TRANSACTION.hint(
            [each.end, *([longest] if longest else [])],
            f"For {idle:.2f} s of the {each.seconds:.2f} s that the transaction was open, no query"
            f" ran{during}.",
            [Figure("idle", idle, "s"), Figure("time", each.seconds, "s")],
            severity="warn" if idle >= TOO_IDLE else "info",
        )


def _transactions(trace: Trace) -> Iterator[_Transaction]:
    for span in trace.spans:
        seconds = reading.number(span, semconv.TRANSACTION_DURATION)
        savepoint = reading.operation(span).upper().startswith(("RELEASE", "ROLLBACK TO"))
        if seconds is None or seconds < min(LONG, IDLE) or savepoint or span.end is None:
            continue
        begin = span.end - int(seconds * 1e9)
        yield _Transaction(span, seconds, begin, _within(trace, span, begin))


def _within(trace: Trace, end: Span, begin: int) -> list[Span]:
    owner = trace.owners.get(end.span_id)
    return [
        span
        for span in trace.spans
        if span is not owner
        and span.end is not None
        and span.end > begin
        and span.start < (end.end or end.start)
        and trace.owners.get(span.span_id) is owner
    ]


def _covered(spans: list[Span], begin: int) -> int:
    """ns in which at least one of them ran, from `begin` on."""
    covered, reached = 0, begin
    for span in spans:
        end = span.end or span.start
        covered += max(0, end - max(reached, span.start))
        reached = max(reached, end)
    return covered


def _longest_other(transaction: _Transaction) -> Span | None:
    """What took longest of that which is no query and ran within."""
    others = [
        span
        for span in transaction.within
        if reading.category(span) != "db" and span.start >= transaction.begin
    ]
    return max(others, key=lambda span: span.duration_at(span.start), default=None)


LONG_TRANSACTION: Final = Rule(
    id="long-transaction",
    title="Long transaction",
    when=f"A transaction was open for {LONG} s or more (a warning from {TOO_LONG} s). Not: savepoints.",
    evidence="Time, queries.",
    fix="Begin it late and end it early: do what needs no transaction before or after.",
    link="https://docs.sqlalchemy.org/en/20/orm/session_basics.html",
    find=_long,
)
IDLE_IN_TRANSACTION: Final = Rule(
    id="idle-in-transaction",
    title="Idle in a transaction",
    when=f"For {IDLE} s or more, and half of its time, no query ran in an open transaction (a warning from"
    f" {TOO_IDLE} s).",
    evidence="Idle time, what took longest of it.",
    fix="Call other services and compute before the transaction begins or after it has ended.",
    link="https://www.postgresql.org/docs/current/runtime-config-client.html"
    "#GUC-IDLE-IN-TRANSACTION-SESSION-TIMEOUT",
    find=_idle,
)

RULES: Final = (LONG_TRANSACTION, IDLE_IN_TRANSACTION)
