"""Traces in this process's memory: bounded in traces, bytes, age, and spans of a trace.

Spans are kept as they came and become the model's when somebody looks: most are never looked at. The
original is dropped then.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_toolbar import guard
from otel_toolbar.insights.summary import Summary, summarize
from otel_toolbar.model import Span, Trace
from otel_toolbar.settings import Settings

from .base import MAX_LIMIT, Health, Page, Query

_RESERVE = 100
"""SERVER and CONSUMER spans that a full trace still takes."""

Live = Callable[[], Mapping[str, Sequence[Any]]]
"""Copies of the spans that run at this moment, by trace id."""


@dataclass(slots=True)
class _Entry:
    """One trace. `fresh` spans wait for conversion, `spans` are converted."""

    number: int
    added: float
    fresh: list[Any] = field(default_factory=list[Any])
    spans: list[Span] = field(default_factory=list[Span])
    size: int = 0
    dropped: int = 0
    pinned: bool = False
    changes: int = 0
    """Counted up with every change: a summary of before is not kept."""
    summary: Summary | None = None

    def __len__(self) -> int:
        return len(self.fresh) + len(self.spans)


class MemoryStore:
    """See the module. `convert` makes a model span of what `add` and `live` deliver otherwise."""

    def __init__(
        self, options: Settings, convert: Callable[[Any], Span], live: Live = dict[str, Any]
    ) -> None:
        self._options = options
        self._convert = convert
        self._live = live
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._minor: dict[str, None] = {}
        """Traces of no request or job, in order: a poller's queries, say, which come in numbers."""
        self._numbers = 0
        self._size = 0
        self._evicted = 0
        self._dropped = 0

    def add(self, trace_id: str, spans: Sequence[Any], size: int) -> None:
        with self._lock:
            entry = self._entry(trace_id, spans)
            kept = self._kept(entry, spans, size)
            entry.dropped += len(spans) - len(kept)
            self._dropped += len(spans) - len(kept)
            if kept:
                size = size * len(kept) // len(spans)
                entry.fresh.extend(kept)
                entry.size += size
                self._size += size
            entry.changes += 1
            entry.summary = None
            self._evict()

    def _kept(self, entry: _Entry, spans: Sequence[Any], size: int) -> Sequence[Any]:
        """Those of `spans` that the trace has room for.

        What tells what the trace is has room in any case: a SERVER span ends last of all.
        """
        room = max(0, self._options.max_spans - len(entry))
        if len(entry) and entry.size + size > self._options.store_max_bytes:
            room = 0
        if len(spans) <= room:
            return spans
        beyond = self._options.max_spans + _RESERVE - len(entry) - room
        main = [span for span in spans[room:] if _is_main(span)]
        return [*spans[:room], *main[: max(0, beyond)]]

    def get(self, trace_id: str) -> Trace | None:
        return self._trace(trace_id, self._live().get(trace_id, ()))

    def list(self, query: Query) -> Page:
        live = self._live()
        limit = max(1, min(query.limit, MAX_LIMIT))
        found: list[Summary] = []
        for number, trace_id in self._newest_first(live, query.after):
            summary = self._summary(trace_id, live.get(trace_id, ()))
            if summary is None or not query.matches(summary):
                continue
            if len(found) == limit:
                return Page(found, next=str(number + 1))
            found.append(summary)
        return Page(found)

    def clear(self) -> None:
        with self._lock:
            for trace_id in [key for key, entry in self._entries.items() if not entry.pinned]:
                self._size -= self._entries.pop(trace_id).size
                self._minor.pop(trace_id, None)

    def pin(self, trace_id: str, pinned: bool) -> bool:
        with self._lock:
            entry = self._entries.get(trace_id)
            if entry is not None:
                entry.pinned = pinned
                entry.summary = None
            return entry is not None

    def pinned(self) -> frozenset[str]:
        with self._lock:
            return frozenset(key for key, entry in self._entries.items() if entry.pinned)

    def health(self) -> Health:
        with self._lock:
            return Health(len(self._entries), self._size, self._evicted, self._dropped)

    def _evict(self) -> None:
        """Let the oldest unpinned traces go until all bounds hold. Called with the lock.

        The newest stays in any case: it is the one that somebody is about to look at.
        """
        options = self._options
        if options.store_max_age is not None:
            oldest = time.monotonic() - options.store_max_age / 1000
            self._forget(key for key, entry in self._entries.items() if entry.added < oldest)
        while len(self._entries) > options.store_max_traces or self._size > options.store_max_bytes:
            victim = self._victim()
            if victim is None:
                return
            self._forget([victim])

    def _victim(self) -> str | None:
        """The oldest; of the minor ones where these are more than a quarter of what is kept."""
        crowded = len(self._minor) > self._options.store_max_traces // 4
        newest = next(reversed(self._entries))
        for trace_id in self._minor if crowded else self._entries:
            if trace_id != newest and not self._entries[trace_id].pinned:
                return trace_id
        return None

    def _forget(self, trace_ids: Iterable[str]) -> None:
        for trace_id in list(trace_ids):
            if not self._entries[trace_id].pinned:
                self._size -= self._entries.pop(trace_id).size
                self._minor.pop(trace_id, None)
                self._evicted += 1

    def _entry(self, trace_id: str, spans: Sequence[Any]) -> _Entry:
        """The trace's entry, made when it is new, and noted as minor as long as it is."""
        entry = self._entries.get(trace_id)
        if entry is None:
            self._numbers += 1
            entry = self._entries[trace_id] = _Entry(self._numbers, time.monotonic())
            self._minor[trace_id] = None
        # From the back: a request's own span ends last.
        if trace_id in self._minor and any(map(_is_main, reversed(spans))):
            del self._minor[trace_id]
        return entry

    def _newest_first(
        self, live: Mapping[str, Sequence[Any]], after: str | None
    ) -> list[tuple[int, str]]:
        with self._lock:
            known = [(entry.number, trace_id) for trace_id, entry in self._entries.items()]
            running = [trace_id for trace_id in live if trace_id not in self._entries]
            newest = self._numbers
        known += [(newest + 1 + place, trace_id) for place, trace_id in enumerate(running)]
        last = int(after[:18]) if after and after.isdecimal() else None
        return sorted((pair for pair in known if last is None or pair[0] < last), reverse=True)

    def _summary(self, trace_id: str, live: Sequence[Any]) -> Summary | None:
        with self._lock:
            entry = self._entries.get(trace_id)
            changes = entry.changes if entry is not None else 0
            if entry is not None and entry.summary is not None and not live:
                return entry.summary
        trace = self._trace(trace_id, live)
        if trace is None or not trace.spans:
            return None
        summary = summarize(trace, self._options)
        with self._lock:
            # Kept only while it is true: nothing runs, and nothing came meanwhile.
            if entry is not None and not live and entry.changes == changes:
                entry.summary = summary
        return summary

    def _trace(self, trace_id: str, live: Sequence[Any]) -> Trace | None:
        with self._reading:
            with self._lock:
                entry = self._entries.get(trace_id)
                if entry is None and not live:
                    return None
                fresh = list(entry.fresh) if entry else []
            converted = self._as_models(fresh)
            with self._lock:
                if entry is not None:
                    entry.dropped += len(fresh) - len(converted)
                    entry.spans.extend(converted)
                    del entry.fresh[: len(fresh)]
                spans = list(entry.spans) if entry else []
                dropped = entry.dropped if entry else 0
        running = self._as_models(live)
        return Trace.of(trace_id, spans + running, time.time_ns(), dropped)

    def _as_models(self, spans: Sequence[Any]) -> list[Span]:
        """Spans as the model has them; one that cannot be read costs only itself."""
        converted: list[Span] = []
        for span in spans:
            try:
                converted.append(span if isinstance(span, Span) else self._convert(span))
            except Exception:
                guard.failed("reading a span")
        return converted


def _is_main(span: Any) -> bool:
    """True for a span of a request or a job, of whatever door."""
    return span.kind.name in ("SERVER", "CONSUMER")
