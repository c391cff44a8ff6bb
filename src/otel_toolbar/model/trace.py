"""A trace: its spans as a tree and its log records, with self times and the critical path.

Spans arrive in any order and some never do: a span whose parent is missing stands at the top, and
a cycle of parents (broken senders make them) is cut where it was met.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from otel_toolbar import semconv

from .log import Log
from .span import Kind, Span


@dataclass(frozen=True)
class Trace:
    """All spans known of one trace."""

    trace_id: str
    spans: tuple[Span, ...]
    """In order of start."""
    now: int
    """When this was read, Unix time in ns: until then running spans are drawn."""
    dropped: int = 0
    """Spans and log records that were not kept because the trace was full."""
    logs: tuple[Log, ...] = ()
    """In order of time."""
    followers: tuple[Span, ...] = ()
    """Main spans of other traces that link to a span of this one, such as the runs of the jobs that it
    sent; in order of start. Only where whoever reads the trace has looked for them."""
    process: Log | None = None
    """The newest facts of the process that served it: routes, settings, versions; None: not known."""

    @classmethod
    def of(
        cls,
        trace_id: str,
        spans: Sequence[Span],
        now: int,
        dropped: int = 0,
        logs: Sequence[Log] = (),
    ) -> Trace:
        """Build a trace from spans in any order; of two with one id the ended one is kept."""
        by_id: dict[str, Span] = {}
        for span in spans:
            known = by_id.get(span.span_id)
            if known is None or known.running:
                by_id[span.span_id] = span
        ordered = sorted(by_id.values(), key=lambda span: span.start)
        in_time = sorted(logs, key=lambda log: log.time)
        return cls(trace_id, tuple(ordered), now, dropped, tuple(in_time))

    @cached_property
    def memo(self) -> dict[object, Any]:
        """What has been concluded from the trace, by who concluded it: a trace never changes."""
        return {}

    @cached_property
    def by_id(self) -> dict[str, Span]:
        return {span.span_id: span for span in self.spans}

    @cached_property
    def children(self) -> dict[str | None, list[Span]]:
        """Children by parent id, in order of start; under None the spans at the top."""
        tree: dict[str | None, list[Span]] = {}
        for span in self.spans:
            parent = span.parent_id if span.parent_id in self.by_id else None
            tree.setdefault(parent, []).append(span)
        _cut_cycles(tree, self.spans)
        return tree

    @property
    def roots(self) -> list[Span]:
        return self.children.get(None, [])

    @property
    def main(self) -> Span | None:
        """The span a reader takes the trace for: the first SERVER or CONSUMER span, else a root."""
        entries = (span for span in self.spans if span.kind in (Kind.SERVER, Kind.CONSUMER))
        return next(entries, None) or next(iter(self.roots or self.spans), None)

    @property
    def process_id(self) -> str:
        """`toolbar.process.id` of the process that served it; empty when no span tells."""
        main = self.main
        found = main.resource.get(semconv.PROCESS_ID) if main is not None else None
        return found if isinstance(found, str) else ""

    @property
    def start(self) -> int:
        return self.spans[0].start if self.spans else self.now

    @property
    def end(self) -> int:
        """The latest end; `now` while a span runs."""
        return max((self.end_of(span) for span in self.spans), default=self.now)

    @property
    def running(self) -> bool:
        return any(span.running for span in self.spans)

    def end_of(self, span: Span) -> int:
        """End in ns; of a running span, `now`."""
        return self.now if span.end is None else max(span.end, span.start)

    def walk(self) -> Iterator[tuple[Span, int]]:
        """Every span with its depth, parents before children, siblings in order of start."""
        stack = [(root, 0) for root in reversed(self.roots)]
        while stack:
            span, depth = stack.pop()
            yield span, depth
            children = self.children.get(span.span_id, [])
            stack.extend((child, depth + 1) for child in reversed(children))

    def ancestors(self, span: Span) -> Iterator[Span]:
        """The parents of `span`, nearest first."""
        seen = {span.span_id}
        while (parent := self.by_id.get(span.parent_id or "")) and parent.span_id not in seen:
            seen.add(parent.span_id)
            yield parent
            span = parent

    @cached_property
    def owners(self) -> dict[str, Span]:
        """By span id the nearest request or job above; without one, what stands at the top.

        In one walk: asking each span for its ancestors takes minutes for a deep trace.
        """
        owners: dict[str, Span] = {}
        for span, _ in self.walk():
            own = span if span.kind in (Kind.SERVER, Kind.CONSUMER) else owners.get(span.span_id)
            for child in self.children.get(span.span_id, ()):
                owners[child.span_id] = own or span
        return owners

    def self_time(self, span: Span) -> int:
        """Time of `span` in ns during which none of its children ran."""
        end = self.end_of(span)
        covered, reached = 0, span.start
        for child in self.children.get(span.span_id, ()):
            begin, stop = max(child.start, reached), min(self.end_of(child), end)
            if stop > begin:
                covered += stop - begin
                reached = stop
        return max(0, end - span.start - covered)

    @cached_property
    def critical_path(self) -> frozenset[str]:
        """Ids of the spans that the main span's end waited for.

        Walked backwards from the end, each time into the child that ended last before the point
        reached (the method of Jaeger and of Yang & Miller, ICDCS 1988).
        """
        path: set[str] = set()
        pending = [(self.main, self.end)] if self.main else []
        while pending:
            span, until = pending.pop()
            path.add(span.span_id)
            children = self.children.get(span.span_id, ())
            for child in sorted(children, key=self.end_of, reverse=True):
                if self.end_of(child) <= until and child.span_id not in path:
                    pending.append((child, self.end_of(child)))
                    until = child.start
        return frozenset(path)


def _cut_cycles(tree: dict[str | None, list[Span]], spans: Sequence[Span]) -> None:
    """Move the first span of every cycle to the top, so that a walk reaches all spans once."""
    reached = _below(tree, tree.get(None, []))
    for span in spans:
        if span.span_id not in reached:
            tree[span.parent_id].remove(span)
            tree.setdefault(None, []).append(span)
            reached |= _below(tree, [span])


def _below(tree: dict[str | None, list[Span]], tops: Sequence[Span]) -> set[str]:
    """Ids of `tops` and of everything under them."""
    reached: set[str] = set()
    pending = list(tops)
    while pending:
        span = pending.pop()
        reached.add(span.span_id)
        pending.extend(tree.get(span.span_id, ()))
    return reached
