"""Queries that run again and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import n_plus_one, reading
from otel_toolbar.insights.hint import Figure, Hint, Rule, place
from otel_toolbar.insights.secrets import MASK
from otel_toolbar.model import Span, Trace
from otel_toolbar.settings import Settings

from . import sites
from .sites import Site

MANY_WRITES: Final = 5
"""Writes of one row from one line that are worth knowing of."""
TOO_MANY_WRITES: Final = 20

MANY_REPEATS: Final = 5
"""Executions of the same query, from several lines, that are a warning."""
SLOW: Final = 0.05
"""Seconds together from which either is one."""

_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"})


def _query_in_a_loop(trace: Trace) -> Iterator[Hint]:
    count, duration = Settings.n_plus_one, Settings.n_plus_one_duration * 1_000_000
    for found in n_plus_one.find(trace, count, duration).n_plus_one:
        if not found.warning:
            continue
        what = found.relationship or n_plus_one.read_statement(trace, found.spans[0]).summary
        yield QUERY_IN_A_LOOP.hint(
            found.spans,
            f"{what}: {len(found.spans):,} queries from one line, {found.duration / 1e6:.1f} ms together.",
            [Figure("queries", len(found.spans)), Figure("time", found.duration / 1e9, "s")],
            severity="warn",
            fix=_eager(found.relationship),
        )


def _eager(relationship: str) -> str:
    return f"Load it with the query above: `selectinload({relationship})`." if relationship else ""


def _write_in_a_loop(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        times = len(site.spans)
        if times < MANY_WRITES or not _writes_one(site):
            continue
        yield WRITE_IN_A_LOOP.hint(
            site.spans,
            f"{site.statement.summary} ran {times:,} times from one line, one row at a time,"
            f" {site.seconds * 1000:.1f} ms together.",
            [Figure("statements", times), Figure("time", site.seconds, "s")],
            severity="warn" if times >= TOO_MANY_WRITES or site.seconds >= SLOW else "info",
        )


def _writes_one(site: Site) -> bool:
    batch = semconv.DB_OPERATION_BATCH_SIZE in site.first.attributes
    known = place(site.first) is not None  # without it, "one line" would be a guess
    return site.statement.operation in _WRITES and known and not batch


def _same_from_several_places(trace: Trace) -> Iterator[Hint]:
    for spans in _same(trace):
        places = {place(span) for span in spans} - {None}
        if len(places) < 2:
            continue
        seconds = sum(span.duration_at(span.end or span.start) for span in spans) / 1e9
        lines = sorted(f"{at.function or at.file}:{at.line}" for at in places if at)
        yield SAME_FROM_SEVERAL_PLACES.hint(
            spans,
            f"{n_plus_one.read_statement(trace, spans[0]).summary} with the same parameters ran"
            f" {len(spans)} times from {len(places)} places ({', '.join(lines[:3])}),"
            f" {seconds * 1000:.1f} ms together, and nothing was written in between.",
            [
                Figure("queries", len(spans)),
                Figure("places", len(places)),
                Figure("time", seconds, "s"),
            ],
            severity="warn" if len(spans) >= MANY_REPEATS or seconds >= SLOW else "info",
        )


def _same(trace: Trace) -> Iterator[list[Span]]:
    """Reads of a request with equal text and parameters, between which nothing is written."""
    groups: dict[object, list[Span]] = {}
    writes: dict[str, int] = {}
    for span in sites.queries(trace):
        owner = trace.owners.get(span.span_id)
        request = owner.span_id if owner else ""
        statement = n_plus_one.read_statement(trace, span)
        if not statement.reads_only:
            writes[request] = writes.get(request, 0) + 1
        elif statement.target and _is_known(span, statement.placeholders):
            values = tuple(sorted(span.below(semconv.DB_QUERY_PARAMETER).items()))
            key = (request, writes.get(request, 0), reading.statement(span), repr(values))
            groups.setdefault(key, []).append(span)
    return iter([spans for spans in groups.values() if len(spans) > 1])


def _is_known(span: Span, placeholders: int) -> bool:
    """True when all parameters are on the span, as they were."""
    values = [reading.as_text(value) for value in span.below(semconv.DB_QUERY_PARAMETER).values()]
    hidden = any(value == MASK or value.endswith("…") for value in values)
    complete = semconv.QUERY_PARAMETERS_MORE not in span.attributes
    return complete and not hidden and bool(values or not placeholders)


def _count_then_load(trace: Trace) -> Iterator[Hint]:
    counted: dict[object, Span] = {}
    for span in sites.queries(trace):
        statement = n_plus_one.read_statement(trace, span)
        if not statement.reads_only or not _is_known(span, statement.placeholders):
            continue
        head, tail = _cut(statement.normalized)
        owner = trace.owners.get(span.span_id)
        values = tuple(map(reading.as_text, span.below(semconv.DB_QUERY_PARAMETER).values()))
        key = (owner and owner.span_id, tail, values)
        if _is_plain_count(head):
            counted.setdefault(key, span)
        elif key in counted and tail and " GROUP BY " not in tail.upper():
            yield _redundant(counted.pop(key), span)


def _cut(normalized: str) -> tuple[str, str]:
    """What is selected, and from FROM on, the order left out."""
    upper = normalized.upper()
    start = upper.find(" FROM ")
    end = upper.find(" ORDER BY ")
    if start < 0:
        return normalized, ""
    limited = " LIMIT " in upper or " OFFSET " in upper or " FETCH " in upper
    return normalized[:start], normalized[start : None if end < 0 or limited else end]


def _is_plain_count(head: str) -> bool:
    selected = "".join(head.upper().split())
    return selected.startswith("SELECTCOUNT(*)") and "," not in selected


def _redundant(count: Span, load: Span) -> Hint:
    milliseconds = count.duration_at(count.end or count.start) / 1e6
    rows = load.integer(semconv.DB_RESPONSE_RETURNED_ROWS)
    return COUNT_THEN_LOAD.hint(
        [count, load],
        f"The rows were counted ({milliseconds:.1f} ms), then all of them loaded"
        f"{'' if rows is None else f' ({rows:,} rows)'} by the same FROM and WHERE.",
        [Figure("time of the count", milliseconds / 1000, "s")]
        + ([] if rows is None else [Figure("rows", rows)]),
    )


QUERY_IN_A_LOOP: Final = Rule(
    id="query-in-a-loop",
    title="Query in a loop",
    when=f"The N+1 rule warns: {Settings.n_plus_one} like queries with different parameters from one line, or"
    f" two that take {Settings.n_plus_one_duration} ms. Not: eager loads, batches, exact repeats alone.",
    evidence="Relationship or statement, queries, time.",
    fix="Fetch for all items at once: `WHERE key IN (...)`.",
    link="https://docs.sqlalchemy.org/en/20/orm/queryguide/relationships.html",
    find=_query_in_a_loop,
)
WRITE_IN_A_LOOP: Final = Rule(
    id="write-in-a-loop",
    title="Write in a loop",
    when=f"One line wrote single rows with like statements {MANY_WRITES} times or more (a warning from"
    f" {TOO_MANY_WRITES}). Not: executemany, bulk inserts, one flush.",
    evidence="Statements, time.",
    fix="Send them at once: a list of parameters, `session.add_all()` with one flush, or one UPDATE.",
    link="https://docs.sqlalchemy.org/en/20/orm/queryguide/dml.html",
    find=_write_in_a_loop,
)
SAME_FROM_SEVERAL_PLACES: Final = Rule(
    id="same-query-from-several-places",
    title="Same query from several places",
    when="The same statement with the same parameters ran in one request from two lines or more, and nothing"
    " was written in between. Not: other parameters, masked ones, from one line (those are duplicates).",
    evidence="Queries, the lines, time.",
    fix="Fetch it once and hand it on, as on the request's state or through a dependency.",
    link="https://docs.sqlalchemy.org/en/20/orm/session_basics.html#is-the-session-a-cache",
    find=_same_from_several_places,
)
COUNT_THEN_LOAD: Final = Rule(
    id="count-then-load",
    title="Counted, then loaded",
    when="`SELECT count(*)`, then all rows of the same FROM and WHERE with the same parameters. Not: a page"
    " with LIMIT, other conditions.",
    evidence="Time of the count, rows.",
    fix="Load them and take `len()` of that.",
    link="https://docs.sqlalchemy.org/en/20/orm/session_basics.html",
    find=_count_then_load,
)

RULES: Final = (QUERY_IN_A_LOOP, WRITE_IN_A_LOOP, SAME_FROM_SEVERAL_PLACES, COUNT_THEN_LOAD)
