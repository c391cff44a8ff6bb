"""Traces in this process's memory: bounded in traces, bytes, age, and spans of a trace.

Spans are kept as they came, packed, and become the model's when somebody looks: most are never looked
at.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from otel_toolbar import guard, semconv
from otel_toolbar.model import Log, Span, Trace
from otel_toolbar.settings import Settings

if TYPE_CHECKING:
    from otel_toolbar.insights.summary import Summary

from . import size
from .base import MAIN_KINDS, MAX_LIMIT, Batch, Health, Page, Query, Spans

MAX_PROCESSES = 50
"""Processes whose facts are kept."""

_RESERVE = 100
"""SERVER and CONSUMER spans that a full trace still takes."""

_READ = 6000
"""Spans and logs of the traces that stay unpacked after a look: one large trace, or many small."""

Live = Callable[[], Mapping[str, Batch]]
"""The spans that run at this moment, by trace id."""


@dataclass(slots=True)
class _Entry:
    """One trace."""

    number: int
    added: float
    batches: list[Batch] = field(default_factory=list[Batch])
    count: int = 0
    size: int = 0
    dropped: int = 0
    pinned: bool = False
    changes: int = 0
    """Counted up with every change: a summary of before is not kept."""
    summary: Summary | None = None


class MemoryStore:
    """See the module."""

    def __init__(self, options: Settings, live: Live = dict[str, Batch]) -> None:
        self._options = options
        self._live = live
        self.start_afresh()

    def start_afresh(self) -> None:
        """Hold nothing, under locks that nobody holds. For a forked process."""
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._minor: dict[str, None] = {}
        """Traces of no request or job, in order: a poller's queries, say, which come in numbers."""
        self._read: OrderedDict[str, tuple[int, Trace]] = OrderedDict()
        """Traces read last, with their number of changes: a page is several requests."""
        self._closed: deque[tuple[float, str]] = deque(maxlen=self._options.store_max_traces)
        """When websocket connections were closed, the oldest first."""
        self._numbers = 0
        self._size = 0
        self._evicted = 0
        self._dropped = 0
        self._processes: OrderedDict[str, Log] = OrderedDict()

    def keep_process(self, facts: Log) -> None:
        process_id = facts.resource.get(semconv.PROCESS_ID)
        if not isinstance(process_id, str) or not process_id:
            return
        with self._lock:
            known = self._processes.get(process_id)
            if known is None or known.time <= facts.time:
                self._processes[process_id] = facts
                self._processes.move_to_end(process_id)
            self._evict_processes()

    def _evict_processes(self) -> None:
        """Let the oldest facts go until they are few and take an eighth of the store at most."""
        most = self._options.store_max_bytes // 8
        while len(self._processes) > MAX_PROCESSES or (
            self._processes and sum(map(size.of_log, self._processes.values())) > most
        ):
            self._processes.popitem(last=False)

    def add(self, trace_id: str, batch: Batch) -> None:
        with self._lock:
            entry = self._entry(trace_id, batch)
            kept = self._kept(entry, batch)
            count = kept.count
            if kept is not batch:
                entry.dropped += batch.count - count
                self._dropped += batch.count - count
            if count:
                size = kept.size
                entry.batches.append(kept)
                entry.count += count
                entry.size += size
                self._size += size
            entry.summary = None
            entry.changes += 1
            if self._is_too_much():
                self._evict()

    def _kept(self, entry: _Entry, batch: Batch) -> Batch:
        """What of a batch the trace has room for, spans before log records.

        What tells what the trace is has room in any case: a SERVER span ends last of all.
        """
        before = entry.count
        room = max(0, self._options.max_spans - before)
        if before and entry.size + batch.size > self._options.store_max_bytes:
            room = 0
        if batch.count <= room:
            return batch
        spans, logs = batch.spans(), batch.logs()
        beyond = max(0, self._options.max_spans + _RESERVE - entry.count - room)
        main = [span for span in spans[room:] if span.kind in MAIN_KINDS]
        return Spans((*spans[:room], *main[:beyond]), tuple(logs[: max(0, room - len(spans))]))

    def get(self, trace_id: str) -> Trace | None:
        return self._trace(trace_id, self._live().get(trace_id), keep=True)

    def list(self, query: Query) -> Page:
        live = self._live()
        limit = max(1, min(query.limit, MAX_LIMIT))
        found: list[Summary] = []
        for number, trace_id in self._newest_first(live, query.after):
            if query.running and trace_id not in live:
                continue  # without a look at it: this is asked for often
            summary = self._summary(trace_id, live.get(trace_id))
            if summary is None or not query.matches(summary):
                continue
            if len(found) == limit:
                return Page(found, next=str(number + 1))
            found.append(summary)
        return Page(found)

    def clear(self) -> None:
        with self._lock:
            self._forget(self._entries)

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

    def _is_too_much(self) -> bool:
        """Whether a trace may have to go. Called with the lock."""
        options = self._options
        return (
            len(self._entries) > options.store_max_traces
            or self._size > options.store_max_bytes
            or options.store_max_age is not None
            or bool(self._closed)
        )

    def _evict(self) -> None:
        """Let the oldest unpinned traces go until all bounds hold. Called with the lock.

        The newest stays in any case: it is the one that somebody is about to look at.
        """
        options = self._options
        if options.store_max_age is not None:
            oldest = time.monotonic() - options.store_max_age / 1000
            self._evicted += self._forget(
                key for key, entry in self._entries.items() if entry.added < oldest
            )
        if self._closed:
            self._evicted += self._forget_closed()
        while len(self._entries) > options.store_max_traces or self._size > options.store_max_bytes:
            victim = self._victim()
            if victim is None:
                return
            self._let_go(victim)
            self._evicted += 1

    def _forget_closed(self) -> int:
        """Let the websocket connections go that were closed `WEBSOCKET_TTL` ago."""
        oldest = time.monotonic() - self._options.websocket_ttl / 1000
        old: list[str] = []
        while self._closed and self._closed[0][0] < oldest:
            old.append(self._closed.popleft()[1])
        return self._forget(trace_id for trace_id in old if trace_id in self._entries)

    def _victim(self) -> str | None:
        """The oldest; of the minor ones where these are more than a quarter of what is kept."""
        crowded = len(self._minor) > self._options.store_max_traces // 4
        newest = next(reversed(self._entries))
        for trace_id in self._minor if crowded else self._entries:
            if trace_id != newest and not self._entries[trace_id].pinned:
                return trace_id
        return None

    def _forget(self, trace_ids: Iterable[str]) -> int:
        """Let traces go, but for pinned ones; how many went."""
        gone = [key for key in trace_ids if not self._entries[key].pinned]
        for trace_id in gone:
            self._let_go(trace_id)
        return len(gone)

    def _let_go(self, trace_id: str) -> None:
        self._size -= self._entries.pop(trace_id).size
        self._minor.pop(trace_id, None)
        self._read.pop(trace_id, None)

    def _entry(self, trace_id: str, batch: Batch) -> _Entry:
        """The trace's entry, made when it is new, and noted as minor as long as it is."""
        entry = self._entries.get(trace_id)
        if entry is None:
            self._numbers += 1
            entry = self._entries[trace_id] = _Entry(self._numbers, time.monotonic())
            if not batch.main:
                self._minor[trace_id] = None
        elif batch.main:
            self._minor.pop(trace_id, None)
        if batch.websocket:
            self._closed.append((time.monotonic(), trace_id))
        return entry

    def _newest_first(self, live: Mapping[str, Batch], after: str | None) -> list[tuple[int, str]]:
        with self._lock:
            known = [(entry.number, trace_id) for trace_id, entry in self._entries.items()]
            running = [trace_id for trace_id in live if trace_id not in self._entries]
            newest = self._numbers
        known += [(newest + 1 + place, trace_id) for place, trace_id in enumerate(running)]
        last = int(after[:18]) if after and after.isdecimal() else None
        return sorted((pair for pair in known if last is None or pair[0] < last), reverse=True)

    def _summary(self, trace_id: str, live: Batch | None) -> Summary | None:
        with self._lock:
            entry = self._entries.get(trace_id)
            if entry is not None and entry.summary is not None and live is None:
                return entry.summary
            changes = entry.changes if entry is not None else 0
        from otel_toolbar.insights.summary import summarize  # not before somebody looks

        trace = self._trace(trace_id, live)
        if trace is None or not (trace.spans or trace.logs):
            return None
        summary = summarize(trace, self._options)
        with self._lock:
            # Kept only while it is true: nothing runs, and nothing came meanwhile.
            if entry is not None and live is None and entry.changes == changes:
                entry.summary = summary
        return summary

    def _trace(self, trace_id: str, live: Batch | None, keep: bool = False) -> Trace | None:
        with self._lock:
            entry = self._entries.get(trace_id)
            if entry is None and live is None:
                return None
            changes = entry.changes if entry else 0
            known = self._read.get(trace_id)
            if known is not None and live is None and self._is_true(known, changes):
                return known[1]
            batches = list(entry.batches) if entry else []
            dropped = entry.dropped if entry else 0
        if live is not None:
            batches.append(live)
        # Unpacked without the lock: whoever adds a span never waits for whoever looks.
        spans: list[Span] = []
        logs: list[Log] = []
        for batch in batches:
            try:
                spans += batch.spans()
                logs += batch.logs()
            except Exception:
                guard.failed("reading a kept batch")
                dropped += batch.count
        trace = Trace.of(trace_id, spans, time.time_ns(), dropped, logs)
        facts = self._processes.get(trace.process_id)
        if facts is not None:
            trace = replace(trace, process=facts)
        # What runs is drawn until now, and now goes on.
        if keep and live is None and not trace.running:
            self._remember(trace, entry, changes)
        return trace

    def _is_true(self, read: tuple[int, Trace], changes: int) -> bool:
        """True when nothing came since: neither to the trace, nor facts of its process."""
        return read[0] == changes and self._processes.get(read[1].process_id) is read[1].process

    def _remember(self, trace: Trace, entry: _Entry | None, changes: int) -> None:
        with self._lock:
            if entry is None or self._entries.get(trace.trace_id) is not entry:
                return
            self._read.pop(trace.trace_id, None)
            self._read[trace.trace_id] = changes, trace
            while len(self._read) > 1 and sum(map(_length, self._read.values())) > _READ:
                self._read.popitem(last=False)


def _length(read: tuple[int, Trace]) -> int:
    return len(read[1].spans) + len(read[1].logs)
