"""What a store of traces does, whatever keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from otel_toolbar import semconv
from otel_toolbar.model import Kind, Log, Span, Trace

from . import size

if TYPE_CHECKING:
    from otel_toolbar.insights.summary import Summary

MAIN_KINDS = (Kind.SERVER, Kind.CONSUMER)
"""Spans that tell what a trace is."""

MAX_LIMIT = 500
"""Most traces of one page of the list."""


@dataclass(frozen=True)
class Query:
    """What to list: newest first, all conditions together.

    `q` is searched in names and ids; `status` is an HTTP code, a class such as `5xx`, or
    `ok` or `error`; `running` True for those that have not ended, False for those that have;
    `after` is the `next` of the page before.
    """

    limit: int = 50
    after: str | None = None
    q: str = ""
    service: str = ""
    status: str = ""
    kind: str = ""
    running: bool | None = None

    def matches(self, summary: Summary) -> bool:
        """True when all conditions hold for a trace."""
        wanted = self.q.lower()
        return (
            (not wanted or wanted in summary.name.lower() or wanted in summary.trace_id)
            and self.service in ("", summary.service)
            and self.kind in ("", summary.kind)
            and self.running in (None, summary.duration is None)
            and _status_is(self.status.lower(), summary.status)
        )


@dataclass(frozen=True)
class Page:
    """Part of the list of traces; `next` is None on the last one."""

    traces: Sequence[Summary]
    next: str | None = None


@dataclass(frozen=True)
class Health:
    """How full a store is and what it had to let go."""

    traces: int = 0
    bytes: int = 0
    evicted_traces: int = 0
    dropped_spans: int = 0
    where: str = field(default="memory")


class Batch(Protocol):
    """Spans and log records of one trace, in whatever form they are cheapest to keep."""

    @property
    def count(self) -> int:
        """How many spans and log records."""
        ...

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        ...

    @property
    def main(self) -> bool:
        """A request, job or message is among them."""
        ...

    @property
    def websocket(self) -> bool:
        """The end of a websocket connection is among them."""
        ...

    def spans(self) -> list[Span]: ...

    def logs(self) -> list[Log]: ...


@dataclass(frozen=True)
class Spans:
    """A batch of spans and log records as they are."""

    items: tuple[Span, ...]
    records: tuple[Log, ...] = ()

    @property
    def count(self) -> int:
        return len(self.items) + len(self.records)

    @property
    def size(self) -> int:
        return sum(map(size.of, self.items)) + sum(map(size.of_log, self.records))

    @property
    def main(self) -> bool:
        return any(span.kind in MAIN_KINDS for span in self.items)

    @property
    def websocket(self) -> bool:
        return any(
            span.kind is Kind.SERVER and semconv.WEBSOCKET_STATE in span.attributes
            for span in self.items
        )

    def spans(self) -> list[Span]:
        return list(self.items)

    def logs(self) -> list[Log]:
        return list(self.records)


class Store(Protocol):
    """Keeps traces. Every method may be called from any thread."""

    def add(self, trace_id: str, batch: Batch) -> None:
        """Keep spans of one trace; more of it may come later."""
        ...

    def keep_process(self, facts: Log) -> None:
        """Keep the facts of a process in place of older ones; `get` puts them on its traces."""
        ...

    def get(self, trace_id: str) -> Trace | None:
        """A trace with its running spans; None when it is not known or no longer kept."""
        ...

    def list(self, query: Query) -> Page:
        """Summaries of the traces that match, newest first."""
        ...

    def clear(self) -> None:
        """Forget all traces but pinned ones."""
        ...

    def pin(self, trace_id: str, pinned: bool) -> bool:
        """Protect a trace from eviction and `clear`, or no longer. False when it is not known."""
        ...

    def pinned(self) -> frozenset[str]:
        """Ids of the pinned traces."""
        ...

    def health(self) -> Health: ...


def _status_is(wanted: str, status: int | str) -> bool:
    if wanted in ("ok", "error") and isinstance(status, int):
        return (status >= 500) == (wanted == "error")
    if wanted.endswith("xx"):
        return str(status)[:1] == wanted[:1] and isinstance(status, int)
    return wanted in ("", str(status))
