"""Which queries are alike, which repeat from one place, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from otel_toolbar import semconv
from otel_toolbar.insights import reading, sql_text
from otel_toolbar.model import Span, Trace
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class Repeat:
    """An N+1 group."""

    id: str
    spans: tuple[Span, ...]
    warning: bool


def fingerprint(span: Span) -> str:
    """16 hex digits that like statements share."""
    told = reading.text(span, semconv.QUERY_FINGERPRINT)
    return told or _digest(reading.statement(span) or reading.operation(span))


@lru_cache(maxsize=1024)
def _digest(statement: str) -> str:
    folded = " ".join(
        "?" if token.kind in ("string", "number", "parameter") else token.text
        for token in sql_text.tokens(statement)
        if token.kind not in ("space", "comment")
    )
    return blake2b(folded.encode("utf-8", "replace"), digest_size=8).hexdigest()


def has_placeholders(statement: str) -> bool:
    # Most statements without any are told by a glance: lexing thousands takes a page's time.
    return any(sign in statement for sign in "?%:$") and any(
        token.kind == "parameter" for token in sql_text.tokens(statement)
    )


def n_plus_one(trace: Trace, spans: Sequence[Span], settings: Settings) -> list[Repeat]:
    """The groups, those that took longest first."""
    by_group: dict[str, list[Span]] = {}
    for span in spans:
        if span.flag(semconv.N_PLUS_ONE):
            by_group.setdefault(reading.text(span, semconv.N_PLUS_ONE_GROUP), []).append(span)
    found = [_repeat(group, flagged, spans, trace, settings) for group, flagged in by_group.items()]
    return sorted(found, key=lambda repeat: -_total(repeat.spans, trace))


def _repeat(
    group: str, flagged: list[Span], spans: Sequence[Span], trace: Trace, settings: Settings
) -> Repeat:
    """The first query of a group bears no flag: nothing was repeated yet."""
    like = flagged[0]
    first = next(
        (
            span
            for span in spans
            if fingerprint(span) == fingerprint(like)
            and _site(span) == _site(like)
            and not span.flag(semconv.N_PLUS_ONE)
            and span.start <= like.start
        ),
        None,
    )
    members = tuple(flagged) if first is None else (first, *flagged)
    long = _total(members, trace) >= settings.n_plus_one_duration * 1_000_000
    return Repeat(group, members, len(members) >= settings.n_plus_one or long)


def _site(span: Span) -> tuple[str, int | None]:
    line = reading.integer(span, semconv.CODE_LINE_NUMBER)
    return reading.text(span, semconv.CODE_FILE_PATH), line


def _total(spans: Sequence[Span], trace: Trace) -> int:
    return sum(span.duration_at(trace.now) for span in spans)


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
