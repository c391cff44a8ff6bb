"""GraphQL in a trace: its operations, what each resolver cost, and which ones want a data loader."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.model import Span, Trace

from . import n_plus_one, reading
from .hint import Figure, Hint, Rule

MANY_CALLS: Final = 3
"""Calls of one resolver, each with a like query, from which a data loader is worth a word."""

SLOW_CALLS: Final = 5
"""From here on it is a warning, as for N+1 queries."""

_INDEX = re.compile(r"(?<=\.)\d+(?=\.|$)")


@dataclass
class Resolver:
    """All calls of one resolver at one place of the result: `orders.*.customer`."""

    path: str
    spans: list[Span] = field(default_factory=list[Span])
    """In order of start."""
    count: int = 0
    total: int = 0
    """ns, of all calls together."""
    queries: list[Span] = field(default_factory=list[Span])
    depth: int = 0
    """Resolvers that it stands within."""


@dataclass
class Operation:
    """One operation with what it called."""

    span: Span
    resolvers: list[Resolver] = field(default_factory=list[Resolver])
    """Outer ones first, each followed by those within it."""
    queries: list[Span] = field(default_factory=list[Span])
    """All of them, whoever made them."""


def is_operation(span: Span) -> bool:
    """True for a whole operation."""
    attributes = span.attributes
    return (
        semconv.GRAPHQL_DOCUMENT in attributes or semconv.GRAPHQL_OPERATION_TYPE in attributes
    ) and not is_resolver(span)


def is_resolver(span: Span) -> bool:
    return semconv.GRAPHQL_FIELD_PATH in span.attributes


def calls(span: Span) -> int:
    """Calls that stand on the span together."""
    return max(1, reading.integer(span, semconv.GRAPHQL_RESOLVER_COUNT) or 1)


def time(span: Span, now: int) -> int:
    """ns that its calls took together."""
    told = reading.number(span, semconv.GRAPHQL_RESOLVER_DURATION)
    return span.duration_at(now) if told is None else max(0, int(told * 1e9))


def operations(trace: Trace) -> tuple[Operation, ...]:
    """The operations of a trace in order of start. Kept with it."""
    if operations not in trace.memo:
        trace.memo[operations] = tuple(_operations(trace))
    return trace.memo[operations]


def _operations(trace: Trace) -> list[Operation]:
    found: list[Operation] = []
    within: dict[str, tuple[Operation, Resolver | None]] = {}
    paths: dict[tuple[str, str], Resolver] = {}
    for span, _ in trace.walk():
        operation, resolver = within.get(span.parent_id or "", (None, None))
        if is_operation(span):
            operation, resolver = Operation(span), None
            found.append(operation)
        elif operation is not None and is_resolver(span):
            resolver = _take(trace, span, operation, paths)
        elif operation is not None and reading.is_query(span):
            operation.queries.append(span)
            if resolver is not None:
                resolver.queries.append(span)
        if operation is not None:
            within[span.span_id] = operation, resolver
    for operation in found:
        operation.resolvers = _ordered(operation.resolvers)
    return sorted(found, key=lambda operation: operation.span.start)


def _take(
    trace: Trace, span: Span, operation: Operation, paths: dict[tuple[str, str], Resolver]
) -> Resolver:
    path = _INDEX.sub("*", reading.text(span, semconv.GRAPHQL_FIELD_PATH))
    key = operation.span.span_id, path
    resolver = paths.get(key)
    if resolver is None:
        resolver = paths[key] = Resolver(path)
        operation.resolvers.append(resolver)
    resolver.spans.append(span)
    resolver.count += calls(span)
    resolver.total += time(span, trace.now)
    return resolver


def _ordered(resolvers: Sequence[Resolver]) -> list[Resolver]:
    """As a tree by their paths: a field stands below the one that it is a part of."""
    by_path = {resolver.path: resolver for resolver in resolvers}
    inside: dict[str, list[Resolver]] = {}
    for resolver in sorted(resolvers, key=lambda each: each.spans[0].start):
        inside.setdefault(_above(resolver.path, by_path), []).append(resolver)
    ordered: list[Resolver] = []
    pending = [(resolver, 0) for resolver in reversed(inside.get("", ()))]
    while pending:
        resolver, depth = pending.pop()
        resolver.depth = depth
        ordered.append(resolver)
        below = inside.get(resolver.path, ()) if resolver.path else ()
        pending.extend((each, depth + 1) for each in reversed(below))
    return ordered


def _above(path: str, known: dict[str, Resolver]) -> str:
    """The nearest field around that one that has a resolver; empty without one."""
    while path:
        path = path.rpartition(".")[0]
        if path in known:
            return path
    return ""


def find(trace: Trace) -> tuple[Hint, ...]:
    """What could be better about the resolvers of a trace, warnings first."""
    return tuple(sorted(_one_by_one(trace), key=lambda hint: hint.severity != "warn"))


def _one_by_one(trace: Trace) -> Iterator[Hint]:
    for operation in operations(trace):
        for resolver in operation.resolvers:
            if resolver.count >= MANY_CALLS:
                yield from _alike(trace, resolver)


def _alike(trace: Trace, resolver: Resolver) -> Iterator[Hint]:
    groups: dict[str, list[Span]] = {}
    for span in resolver.queries:
        statement = n_plus_one.read_statement(trace, span)
        if statement.reads_only and not n_plus_one.is_bulk(span.attributes, statement):
            groups.setdefault(statement.fingerprint, []).append(span)
    for spans in groups.values():
        if len(spans) < MANY_CALLS:
            continue
        taken = sum(span.duration_at(trace.now) for span in spans)
        first = spans[0]
        summary = reading.text(first, semconv.DB_QUERY_SUMMARY) or first.name
        evidence = (
            f"`{resolver.path}` was resolved {resolver.count:,} times, with {len(spans):,} like queries"
            f" ({summary}), {taken / 1e6:.1f} ms together."
        )
        figures = (
            Figure("calls", resolver.count),
            Figure("queries", len(spans)),
            Figure("duration", taken / 1e9, "s"),
        )
        severity = "warn" if len(spans) >= SLOW_CALLS else "info"
        yield _LOADER.hint(spans, evidence, figures, severity=severity)


_LOADER = Rule(
    "graphql-data-loader",
    "Resolved one by one",
    f"A resolver ran {MANY_CALLS} times or more and made {MANY_CALLS} like queries or more. A warning"
    f" from {SLOW_CALLS} queries on.",
    "How often, the queries, and their time.",
    "Ask for all of them at once: in the resolver of the list, or with a"
    " `strawberry.dataloader.DataLoader` that each request makes anew.",
    "https://strawberry.rocks/docs/guides/dataloaders",
    _one_by_one,
)
