"""What one request did with its event loop: the subject `tasks` of its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.util.types import AttributeValue

from otel_toolbar import semconv
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core import steps
from otel_toolbar.signals.core.work import Sums
from otel_toolbar.wire import measured

if TYPE_CHECKING:
    from .observer import TaskObserver

SUBJECT = "tasks"
MAX_TARGETS = 20


class Account(Sums):
    """Sums of one request, in ns; see the attributes that `summary` writes.

    The handler's own task belongs to the server and may handle other requests before and after.
    """

    def __init__(
        self,
        observer: TaskObserver,
        watch: steps.Watch,
        record: records.Record,
        work: steps.Work,
        max_tasks: int,
    ) -> None:
        super().__init__()
        self.max_tasks = max_tasks
        self._observer = observer
        self.watch = watch
        self.record: records.Record | None = record
        self.server: Any = None
        """The SERVER span, once it has ended."""
        self.handler = work
        self.outer: Account | None = work.account
        """Of the request in whose task this one is handled."""
        self.outer_marks = work.marks
        self.outer_span = work.span
        self.begin = steps.clock()
        in_step = watch.work is work and watch.since != 0
        self.offset = self.begin - watch.since if in_step else 0
        """Part of the handler's first step that came before."""
        self._first_step = work.steps
        self._queued = work.queued
        self._below = work.below
        self.tasks = self.spans = self.dropped = 0
        self.threads: set[Any] = set()
        """`threads.Work` whose span has not ended."""
        self.blocking = self.blocked = 0
        """Blocking calls, and the time of them."""
        self.waits: dict[str, int] = {}
        self.lag_count, self.lag_total = watch.extra.lag.totals()
        self.other_lag = 0
        self.other: Account | None = None
        """The request that caused the longest lag which was not this request's own."""
        work.account, work.span = self, None
        work.marks, work.grain = ([] if in_step else None), 0

    def may_have_span(self, record: records.Record) -> bool:
        """True for one more task or work in a thread; else it is counted as dropped."""
        if self.spans < self.max_tasks:
            self.spans += 1
            return True
        self.drop(record)
        return False

    def drop(self, record: records.Record) -> None:
        """One more that has no span."""
        if not record.closed:
            self.dropped += 1
            record.dropped += 1

    def hand_back(self) -> None:
        """Give the task back to whom it belonged before."""
        work, outer = self.handler, self.outer
        if outer is not None:
            outer.busy += self.busy
            if self.outer_marks is not None and work.marks:
                self.outer_marks += work.marks
        work.account, work.marks, work.span = outer, self.outer_marks, self.outer_span
        work.grain = 0

    def summary(self) -> dict[str, AttributeValue]:
        record, work, watch = self.record, self.handler, self.watch
        now = steps.clock()
        self._observer.close(self, now)
        running_step = now - watch.step if watch.work is work else 0
        busy = max(0, self.busy + self._unfinished(now) - self.offset)
        wall = now - self.begin
        waiting, queued = self._handler(now, running_step)
        facts: dict[str, AttributeValue] = {
            semconv.TASKS_COUNT: self.tasks,
            semconv.BLOCKING_COUNT: self.blocking,
            semconv.BLOCKING_DURATION: self.blocked / 1e9,
            semconv.EVENT_LOOP_RUNNING: min(busy, wall) / 1e9,
            semconv.EVENT_LOOP_WAITING: waiting / 1e9,
            semconv.EVENT_LOOP_QUEUED: queued / 1e9,
            semconv.EVENT_LOOP_IDLE: max(0, wall - busy) / 1e9,
            semconv.ASYNCIO_TASK_STEPS: work.steps - self._first_step + 1,
        }
        facts |= self._lag(now)
        if self.dropped:
            facts[semconv.TASKS_DROPPED] = self.dropped
        if self.waits:
            longest = sorted(self.waits.items(), key=lambda item: -item[1])[:MAX_TARGETS]
            facts[semconv.AWAIT_TARGETS] = [target for target, _ in longest]
            facts[semconv.AWAIT_DURATIONS] = [ns / 1e9 for _, ns in longest]
        if work.marks is not None:
            marks = self._marks(now, running_step)
            facts[semconv.ASYNCIO_TASK_TIMELINE] = measured.timeline(marks)
        self.server, self.record = None if record is None else record.server, None
        return facts

    def _unfinished(self, now: int) -> int:
        """Time of the step that runs, when it is one of this request."""
        running = self.watch.work
        if running is None or running.account is not self:
            return 0
        return now - self.watch.step - running.nested

    def _handler(self, now: int, running_step: int) -> tuple[int, int]:
        """Time that the handler was not running, and the part of it in which it could have been."""
        work = self.handler
        if work.marks is None:
            return 0, 0
        marks = self._marks(now, running_step)
        waited = max(0, now - self.begin - sum(marks[1::2]) + sum(marks[::2]))
        return waited, min(waited, work.queued - self._queued)

    def _marks(self, now: int, running_step: int) -> list[int]:
        """When the handler's steps began and ended within the request, with the one that runs."""
        marks = list(self.handler.marks or ())
        if running_step:
            marks += (now - running_step, now)
        if marks:
            marks[0] = max(marks[0], self.begin)
        return marks

    def _lag(self, now: int) -> dict[str, AttributeValue]:
        lag = self.watch.extra.lag
        count, total = lag.totals()
        count, total = count - self.lag_count, total - self.lag_total
        facts: dict[str, AttributeValue] = {
            semconv.LAG_MAX: min(lag.longest_since(self.begin), now - self.begin) / 1e9,
            semconv.LAG_MEAN: total / count / 1e9 if count else 0.0,
            semconv.LAG_SAMPLES: count,
        }
        other = self.other
        span = None if other is None else other.span()
        if span is not None and self.record is not None and self.record.server is not None:
            context = span.get_span_context()
            facts[semconv.LAG_OTHER] = self.other_lag / 1e9
            facts[semconv.LAG_OTHER_NAME] = _name(span)
            facts[semconv.LAG_OTHER_TRACE_ID] = f"{context.trace_id:032x}"
            self.record.server.add_link(context)
        return facts

    def span(self) -> Any:
        """The SERVER span; None before there is one."""
        return self.server if self.record is None else self.record.server


def _name(span: Any) -> str:
    """`GET /orders/{id}`; with the path while the route is not known."""
    if " " in span.name:
        return span.name
    attributes: Mapping[str, Any] = span.attributes or {}
    return f"{span.name} {attributes.get(semconv.URL_PATH, '')}".rstrip()
