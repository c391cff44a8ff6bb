"""Everything of one request that is still being written, in one object found through a ContextVar.

Nothing about a request stands on a middleware, a module or a panel: concurrent requests could then
mix. `asyncio` tasks and `to_thread` carry the ContextVar on; so work started by a request finds its
request, and only its own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, ContextVar, Token
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue

from otel_toolbar import guard, semconv

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

    from .light import LightSpan

KEPT_BACK = 500
"""Ended SDK spans of a running request that are handed on together at its end, at most."""

DETACHED_SECONDS = 30
"""Work that outlives its response by more than this starts a trace of its own, linked to it."""

_current: ContextVar[Record | None] = ContextVar("otel_toolbar_record", default=None)


class Subject(Protocol):
    """What one subject keeps of a request: its private state, and what it sums up to."""

    def summary(self) -> Mapping[str, AttributeValue]:
        """Attributes for the SERVER span, asked for just before it ends."""
        ...


class Timed(Protocol):
    """A subject that tells its time in the response's headers, too."""

    def server_timing(self) -> str:
        """One metric of the header `Server-Timing`."""
        ...


class Record:
    """One request while it is written.

    `server` is the SERVER span, None until the framework or we have made it. `spans` are its light
    spans in order of start, running ones too, `logs` what was logged, each at most `limit`; beyond that
    they are counted in `dropped`. `closed` says that the SERVER span has ended: what comes later is
    detached work.
    """

    __slots__ = (
        "account",
        "closed_at",
        "dropped",
        "ended",
        "ends_for_all",
        "later",
        "limit",
        "logs",
        "now",
        "resource",
        "root",
        "route",
        "server",
        "spans",
        "subjects",
        "timed",
        "told_of_starts",
        "trace_id",
        "untold",
        "untold_logs",
    )

    def __init__(self, limit: int, *, ends_for_all: bool = False) -> None:
        self.limit = limit
        self.ends_for_all = ends_for_all
        """Once closed it is nobody's: what goes on then has no request."""
        self.server: Span | None = None
        self.root: SpanContext | None = None
        """Of the SERVER span: where the request's spans belong. None before there is one."""
        self.told_of_starts: Sequence[SpanProcessor] = ()
        """Processors of others that want to know when a span starts."""
        self.resource: Resource | None = None
        """Of the SERVER span."""
        self.trace_id = 0
        """Of the SERVER span; 0 before there is one."""
        self.spans: list[Any] = []
        """`LightSpan`s."""
        self.logs: list[Any] = []
        """Light log records, and the SDK's."""
        self.ended: list[ReadableSpan] = []
        """SDK spans that have ended, kept back to be handed on together with the SERVER span."""
        self.subjects: dict[str, Subject] = {}
        self.account: Any = None
        """What the step watch keeps of it, also for work after the response."""
        self.timed: list[Timed] = []
        """Subjects with something for `Server-Timing`."""
        self.dropped = 0
        self.route: str | None = None
        """Route template, where a framework's hook tells it."""
        self.now: Callable[[], Mapping[str, AttributeValue]] | None = None
        """What the SERVER span would say at this moment. Asked for from any thread, by who looks."""
        self.untold: deque[LightSpan] | None = None
        """Ended light spans that others are told of before the end; None: they are told at the end."""
        self.untold_logs: deque[Any] | None = None
        """Likewise the log records."""
        self.closed_at = 0.0
        self.later: SpanContext | None = None
        """Root of the trace that takes over long after the response."""

    @property
    def closed(self) -> bool:
        return self.closed_at != 0.0

    @property
    def outlived(self) -> bool:
        """True when work goes on so long after the response that it needs a trace of its own."""
        return self.closed and time.monotonic() - self.closed_at > DETACHED_SECONDS

    def keep(self, span: LightSpan) -> None:
        """Take a light span that has started, or count it when there are too many."""
        if len(self.spans) < self.limit:
            self.spans.append(span)
        else:
            self.dropped += 1

    def has_room_for_log(self) -> bool:
        """False when there are too many log records already: the one to come is counted as dropped."""
        if len(self.logs) < self.limit:
            return True
        self.dropped += 1
        return False

    def keep_back(self, span: ReadableSpan) -> Sequence[ReadableSpan]:
        """Keep an SDK span until the SERVER span ends; returns those to be handed on now."""
        self.ended.append(span)
        if len(self.ended) < KEPT_BACK:
            return ()
        ended, self.ended = self.ended, []
        return ended

    def shown(self) -> list[LightSpan]:
        """The light spans as a reader is to see them, running ones too. From any thread."""
        return self.spans

    def keep_log(self, log: Any) -> None:
        """Take a log record, or count it when there are too many."""
        if self.has_room_for_log():
            self.logs.append(log)

    def let_go(self, span: LightSpan) -> None:
        """Drop a span of something that did not come to be."""
        if self.spans and self.spans[-1] is span:
            self.spans.pop()

    def summary(self) -> dict[str, AttributeValue]:
        """The SERVER span's summary of all subjects, empty ones as zero."""
        attributes: dict[str, AttributeValue] = {
            semconv.QUERIES_COUNT: 0,
            semconv.QUERIES_DURATION: 0.0,
            semconv.N_PLUS_ONE_COUNT: 0,
            semconv.JOBS_COUNT: 0,
            semconv.JOBS_N_PLUS_ONE_COUNT: 0,
        }
        for name, subject in self.subjects.items():
            try:
                attributes.update(subject.summary())
            except Exception:  # one subject's fault must not cost the others' facts
                guard.failed(f"summary of {name}")
        if self.dropped:
            attributes[semconv.DROPPED] = self.dropped
        return attributes

    def server_timing(self) -> list[str]:
        """What is known by now for the header `Server-Timing`, a metric each."""
        return [subject.server_timing() for subject in self.timed]

    def close(self) -> None:
        self.closed_at = time.monotonic()
        self.timed = []
        self.subjects = {}  # they refer back to us; what comes later is not summed up


EXCLUDED = Record(0, ends_for_all=True)
"""Stands in the context of a request that is not to be watched: nothing in it is recorded."""
EXCLUDED.close()


def is_excluded() -> bool:
    """True in a request that is not to be watched."""
    return _current.get() is EXCLUDED


def current() -> Record | None:
    """The request being handled, also after its response; None outside of requests."""
    record = _current.get()
    return None if record is not None and record.ends_for_all and record.closed_at else record


def current_in(context: Context | None) -> Record | None:
    """The record of a context, None standing for the running one; quick, and only to ask whether."""
    return _current.get() if context is None else context.get(_current)


def enter(record: Record | None) -> Token[Record | None]:
    """Make `record` the current one of this context."""
    return _current.set(record)


def is_left_over(token: Token[Record | None]) -> bool:
    """True when, before `enter` gave `token`, this context was that of another request."""
    return isinstance(token.old_value, Record)


def leave(token: Token[Record | None]) -> None:
    """Undo `enter`. In a context that was left meanwhile there is nothing to undo."""
    try:
        _current.reset(token)
    except ValueError:
        _current.set(None)
