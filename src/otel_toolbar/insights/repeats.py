"""Work that was done again: a key read again from a cache, a URL fetched again."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from otel_toolbar import semconv
from otel_toolbar.model import Kind, Span, Trace

from . import reading

READS = frozenset({"GET", "HGET", "HGETALL", "GETEX", "MGET", "HMGET", "MULTI_GET", "JSON.GET"})
"""Operations of a cache that only read."""

_KEEP = READS | {"EXISTS", "TTL", "PTTL", "TYPE", "HEXISTS", "STRLEN"}
"""Operations that leave what is under a key as it is."""

SAFE_METHODS = frozenset({"GET", "HEAD"})
"""Methods for which the same URL again is the same question again."""


@dataclass(frozen=True)
class Repeat:
    """The same thing done several times from one place."""

    spans: tuple[Span, ...]
    """In order of start, two at least."""


class Grouped(Protocol):
    """Like spans under a name: of queries or of jobs."""

    @property
    def group(self) -> str: ...
    @property
    def spans(self) -> Sequence[Span]: ...


def numbered(spans: Iterable[Span], found: Iterable[Repeat]) -> Iterator[tuple[int, Span, bool]]:
    """Each of `spans` with its position, from 1, and whether it repeats one before it."""
    again = {span.span_id for repeat in found for span in repeat.spans[1:]}
    return ((position, span, span.span_id in again) for position, span in enumerate(spans, 1))


def groups(found: Iterable[Grouped]) -> dict[str, str]:
    """The group of each span that is in one, by the span's id."""
    return {span.span_id: each.group for each in found for span in each.spans}


def cached(trace: Trace) -> tuple[Span, ...]:
    """Calls of caches in order of start. Of a cache that is made of another only the outer call counts."""
    return _once(trace, cached, [span for span in trace.spans if _is_cache(span)])


def calls(trace: Trace) -> tuple[Span, ...]:
    """Outgoing HTTP calls in order of start. Of a client that is made of another the outer one counts."""
    return _once(trace, calls, [span for span in trace.spans if _is_call(span)])


def read_again(trace: Trace) -> tuple[Repeat, ...]:
    """Reads of one key from one place that nothing was written to in between, most time first."""
    runs: dict[tuple[str, str], dict[Hashable, list[Span]]] = {}
    found: list[list[Span]] = []
    for span in cached(trace):
        key = reading.text(span, semconv.CACHE_KEY)
        if not key:
            continue
        operation = command(span)
        since_write = runs.setdefault((system(span), key), {})
        if operation in READS:
            run = since_write.setdefault((operation, where(span)), [])
            run.append(span)
            if len(run) == 2:
                found.append(run)
        elif operation not in _KEEP:
            since_write.clear()
    return _longest_first(trace, found)


def called_again(trace: Trace) -> tuple[Repeat, ...]:
    """GET and HEAD of one URL, wherever they were called from, most time first."""
    groups: dict[Hashable, list[Span]] = {}
    for span in calls(trace):
        method, url = reading.method(span).upper(), reading.whole_url(span)
        if method in SAFE_METHODS and url:
            tag = reading.text(span, semconv.HTTP_URL_FINGERPRINT)
            groups.setdefault((method, url, tag), []).append(span)
    return _longest_first(trace, [group for group in groups.values() if len(group) > 1])


def system(span: Span) -> str:
    """The cache that was asked."""
    return reading.text(span, semconv.CACHE_SYSTEM) or reading.database_system(span)


def command(span: Span) -> str:
    """What the cache was asked to do, in capitals."""
    told = reading.text(span, semconv.CACHE_OPERATION) or reading.operation(span)
    return (told or reading.statement(span).partition(" ")[0] or span.name).upper()


def where(span: Span) -> tuple[str, int | None]:
    """File and line that the span comes from."""
    return (
        reading.text(span, semconv.CODE_FILE_PATH, semconv.OLD_CODE_FILE_PATH),
        reading.integer(span, semconv.CODE_LINE_NUMBER, semconv.OLD_CODE_LINE_NUMBER),
    )


def _is_cache(span: Span) -> bool:
    return reading.category(span) == "cache"


def _is_call(span: Span) -> bool:
    return span.kind is Kind.CLIENT and reading.category(span) == "http" and reading.is_http(span)


def _once(trace: Trace, key: object, spans: list[Span]) -> tuple[Span, ...]:
    """Those with none of them above them. Kept with the trace: panels and badges ask for them."""
    if key not in trace.memo:
        inner = _below(trace, spans)
        trace.memo[key] = tuple(span for span in spans if span.span_id not in inner)
    return trace.memo[key]


def _below(trace: Trace, spans: Iterable[Span]) -> set[str]:
    """Ids of all that is under one of `spans`, in the same service."""
    below: set[str] = set()
    pending = [child for span in spans for child in trace.children.get(span.span_id, ())]
    while pending:
        span = pending.pop()
        if span.span_id not in below and span.kind not in (Kind.SERVER, Kind.CONSUMER):
            below.add(span.span_id)
            pending += trace.children.get(span.span_id, ())
    return below


def _longest_first(trace: Trace, groups: Iterable[list[Span]]) -> tuple[Repeat, ...]:
    def together(group: list[Span]) -> int:
        return sum(span.duration_at(trace.now) for span in group)

    return tuple(Repeat(tuple(group)) for group in sorted(groups, key=together, reverse=True))
