"""Where transactions begin and end among the queries."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.shared import exception, offset, seconds

_BEGINS = frozenset({"BEGIN", "START"})
_ENDS = frozenset({"COMMIT", "END", "ROLLBACK", "ABORT"})


@dataclass(frozen=True)
class Boundary:
    """BEGIN, COMMIT, ROLLBACK, SAVEPOINT or RELEASE, which no figure counts as a query."""

    id: str
    """Of its span."""
    action: str
    start: float
    """In s since the start of the trace."""
    duration: float
    error: str
    transaction: int
    """Number of the transaction, from 1; 0 where several ran at once and none is named."""


@dataclass(frozen=True)
class Transaction:
    """From a BEGIN to its COMMIT or ROLLBACK. Times in s."""

    number: int
    start: float
    duration: float
    outcome: str
    """COMMIT or ROLLBACK; empty when its end is not in the trace."""
    database: str
    queries: int


@dataclass
class Open:
    """A transaction while it is found."""

    number: int
    begin: int
    """Unix time in ns."""
    key: tuple[str, ...]
    end: Span | None = None
    queries: int = 0


@dataclass
class Sorted:
    """Which transaction each span belongs to."""

    boundaries: list[Boundary] = field(default_factory=list[Boundary])
    transactions: list[Open] = field(default_factory=list[Open])
    of: dict[str, int] = field(default_factory=dict[str, int])
    """Number of the transaction by span id."""


def sort(trace: Trace, queries: Sequence[Span]) -> Sorted:
    """Walk over queries and boundaries in order of start.

    Spans name no connection. Where exactly one transaction of a database is open, what runs on it is
    taken to be in it; where several are, nothing is said. SQLAlchemy begins transactions without a
    word to the database: there the end tells how long it was.
    """
    found = Sorted()
    among = {span.span_id for span in queries}
    running: list[Open] = []
    untold: dict[str, Open] = {}
    for time, span in _relevant(trace, queries, among):
        key = reading.database(span)
        alike = [each for each in running if each.key == key]
        action = "" if span.span_id in among else reading.transaction(span)
        if action in _BEGINS or time < span.start:
            alike = [Open(len(found.transactions) + 1, time, key)]
            found.transactions += alike
            running += alike
        if time < span.start:
            untold[span.span_id] = alike[0]
            found.boundaries.append(_untold(trace, span, time, alike[0].number))
            continue
        alike = [untold[span.span_id]] if span.span_id in untold else alike
        number = alike[0].number if len(alike) == 1 else 0
        found.of[span.span_id] = number
        if not action:
            for each in alike if number else ():
                each.queries += 1
            continue
        found.boundaries.append(_boundary(trace, span, action, number))
        if action in _ENDS and alike and not _to_savepoint(span):
            closed = alike[-1]
            closed.end = span if number else None
            running.remove(closed)
    return found


def _relevant(trace: Trace, queries: Sequence[Span], among: set[str]) -> list[tuple[int, Span]]:
    """Queries and boundaries with their times; an end that tells of its beginning is there twice."""
    found: list[tuple[int, Span]] = []
    for span in trace.spans:
        if span.span_id in among:
            found.append((span.start, span))
        elif reading.category(span) == "db" and (action := reading.transaction(span)):
            found.append((span.start, span))
            length = reading.number(span, semconv.TRANSACTION_DURATION) or 0
            if action in _ENDS and not _to_savepoint(span) and length > 0:
                begin = _first_statement(trace, queries, span, length)
                found += [(begin, span)] if begin < span.start else []
    return sorted(found, key=lambda each: (each[0], each[0] == each[1].start))


def _first_statement(trace: Trace, queries: Sequence[Span], end: Span, length: float) -> int:
    """When a transaction of `length` s began: with its first statement, measured a little apart."""
    told = trace.end_of(end) - int(min(length, 1e9) * 1e9)
    at = bisect_right(queries, told, key=lambda span: span.start)
    for span in reversed(queries[max(0, at - 4) : at]):
        if trace.end_of(span) > told and reading.database(span) == reading.database(end):
            return span.start
    return told


def _untold(trace: Trace, end: Span, time: int, number: int) -> Boundary:
    start = max(0.0, seconds(time - trace.start))
    return Boundary(end.span_id, "BEGIN (implicit)", start, 0.0, "", number)


def _to_savepoint(span: Span) -> bool:
    told = f"{reading.operation(span)} {reading.statement(span)}".upper()
    return "SAVEPOINT" in told or " TO " in told


def _boundary(trace: Trace, span: Span, action: str, number: int) -> Boundary:
    told = (reading.operation(span) or reading.statement(span)).upper()
    shown = told[:60] if len(told.split()) < 4 else action
    return Boundary(
        span.span_id,
        shown,
        offset(trace, span),
        seconds(span.duration_at(trace.now)),
        exception(span),
        number,
    )


def shown(trace: Trace, found: Sorted) -> tuple[Transaction, ...]:
    """The transactions that were found."""
    return tuple(_shown(trace, each) for each in found.transactions)


def _shown(trace: Trace, each: Open) -> Transaction:
    end = trace.end if each.end is None else trace.end_of(each.end)
    action = reading.transaction(each.end) if each.end else ""
    return Transaction(
        number=each.number,
        start=max(0.0, seconds(each.begin - trace.start)),
        duration=seconds(max(0, end - each.begin)),
        outcome={"END": "COMMIT", "ABORT": "ROLLBACK"}.get(action, action),
        database=" ".join(filter(None, each.key)),
        queries=each.queries,
    )
