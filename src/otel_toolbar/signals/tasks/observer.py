"""Turns what the step watch sees into spans and sums of the right request."""

from __future__ import annotations

import os
from typing import Any, cast

from otel_toolbar import semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import awaiting, callsite, current, light, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.stepping import Observer, Watch
from otel_toolbar.signals.core.work import Work

from . import blocking, spans, threads, timeline
from .account import SUBJECT, Account
from .lag import Lag
from .spans import TaskSpan
from .watchdog import Seen, Watchdog

NAMED = 1_000_000
"""ns of a wait from which on it is asked what is awaited; shorter ones are summed up only."""


_WRAPPERS = ("TaskHandle.", "TaskGroup._run_wrapped_task")
"""Coroutines of anyio's around that of a task."""


class LoopState:
    """What is kept of one watched loop."""

    def __init__(self, lag: Lag, seen: Seen) -> None:
        self.lag = lag
        self.seen = seen


class TaskObserver(Observer):
    """The observer of the step watch; its methods say there when they are called."""

    def __init__(self, options: Settings) -> None:
        super().__init__(NAMED, options.blocking_threshold * 1_000_000)
        self._await_threshold = options.await_threshold * 1_000_000
        self._lag_interval = options.lag_interval * 1_000_000
        self._max_tasks = options.max_tasks
        self._stacks = options.stacks
        self._watchdog: Watchdog | None = None
        self._pid = 0

    def stop(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()

    def watching(self, watch: Watch) -> None:
        if self._watchdog is None or self._pid != os.getpid():  # a fork leaves threads behind
            self._watchdog, self._pid = Watchdog(self.blocking), os.getpid()
        lag = Lag(watch, self._lag_interval)
        watch.extra = LoopState(lag, self._watchdog.watch(watch))

    # Requests.

    def began(self, record: records.Record) -> None:
        watch = steps.here()
        work = None if watch is None else steps.current_work(watch)
        if watch is None or work is None:
            return
        steps.keep_unix()
        account = Account(self, watch, record, work, self._max_tasks)
        record.account = record.subjects[SUBJECT] = account
        steps.cut(watch, work, account.begin)
        watch.extra.lag.join(account)
        assert self._watchdog is not None
        self._watchdog.wake(watch.extra.seen)

    def left(self, record: records.Record) -> None:
        account: Account | None = record.account
        if account is not None:
            account.watch.extra.lag.part(account)
            steps.cut(account.watch, account.handler, steps.clock())
            account.hand_back()

    def close(self, account: Account, now: int) -> None:
        """The SERVER span is about to end: what still goes on is told as it is."""
        account.watch.extra.lag.part(account)
        running = account.watch.work
        if running is not None and running.account is account:
            steps.cut(account.watch, running, now)
        record = account.record
        for span in list(record.spans) if record is not None and account.spans else ():
            if isinstance(span, TaskSpan) and span.work.span is span:
                span.put_off(now)
        for thread in list(account.threads):
            thread.stop_waiting()
        account.threads.clear()

    # Tasks.

    def creating(self, coro: Any, name: Any) -> Work | None:
        record = records.current()
        if record is None or record.server is None or record.account is None:
            return None
        label = getattr(coro, "__qualname__", None)
        if type(label) is not str:
            label = spans.coroutine_name(coro)
        if name is not None and label.startswith(_WRAPPERS):
            label = str(name)  # the function's, as anyio gives it
        return _start(record, label, callsite.caller())

    def found(self, task: Any) -> Work:
        record = records.current()
        if record is None or record.server is None or record.account is None:
            work = Work()
        else:
            work = _start(record, spans.coroutine_name(task.get_coro()), None)
            work.current = None
        work.task_name = task.get_name()
        return work

    def not_created(self, work: Work) -> None:
        """No task came of it: its span is taken back."""
        account, span = work.account, work.span
        if account is None:
            return
        account.tasks -= 1
        work.span = work.current = None
        if isinstance(span, light.LightSpan) and span.record is not None:
            span.record.let_go(span)

    def finished(self, work: Work, task: Any, now: int) -> None:
        work.task_name = task.get_name()
        span, work.span = work.span, None
        state, error = _outcome(task)
        if type(span) is TaskSpan and error is None:
            span.finish(state, now)
        else:
            spans.end_task(span, work, state, error, now)

    def shorten(self, work: Work) -> None:
        timeline.shorten(work)

    # Awaits and blocking calls.

    def waited(self, work: Work, task: Any, ready: int, now: int) -> None:
        place, target, work.stands = awaiting.point(task, work.stands)
        if place is None:
            return
        account: Account = work.account
        if account.handler is work or not callsite.is_of_the_app(work.place):
            account.waits[target] = account.waits.get(target, 0) + now - work.last
        if ready - work.last >= self._await_threshold:
            spans.put_await(place, target, work, ready, now)

    def blocked(self, watch: Watch, work: Work | None, what: Any, since: int, until: int) -> None:
        record = records.current()
        account: Account | None = None if record is None else record.account
        if account is None or record is None or record.server is None:
            return
        state = cast(LoopState, watch.extra)
        facts = blocking.judged(state.seen, since, until, self.blocking)
        name = work.label if work is not None else None
        if name is None:
            name = spans.coroutine_name(what if work is None else what.get_coro())
        if work is not None:
            facts[semconv.ASYNCIO_TASK_NAME] = what.get_name()
        spans.put_blocking(
            state.seen.stack(since),
            state.seen.library if state.seen.since == since else None,
            name,
            facts,
            since,
            until,
            stacks=self._stacks,
        )
        if facts.get(semconv.ASYNCIO_BLOCKING_CAUSE) != "machine" and not record.closed:
            account.blocking += 1
            account.blocked += until - since


def _start(record: records.Record, label: str, place: callsite.Place | None) -> Work:
    """What is kept of a task of a request, with its span unless there are too many."""
    account: Account = record.account
    work = Work(account, label, place)
    if record.closed_at:
        return _start_late(record, account, work)
    account.tasks += 1
    if account.spans >= account.max_tasks:
        account.drop(record)
        return work
    account.spans += 1
    span = work.span = work.current = TaskSpan(work, current.span(), record)
    work.marks = []
    if record.told_of_starts:
        light.tell_of_start(span, record)
    record.keep(span)
    return work


def _start_late(record: records.Record, account: Account, work: Work) -> Work:
    """Likewise of a task that is created after the response."""
    if account.may_have_span(record):
        work.span = work.current = spans.start_task(work)
        work.marks = []
    return work


def _outcome(task: Any) -> tuple[str, BaseException | None]:
    """The state of a finished task, read so that asyncio still tells of an exception nobody gets."""
    error = task._exception  # noqa: SLF001
    if error is not None:
        return "failed", error
    return ("cancelled" if task.cancelled() else "done"), None


_observer: TaskObserver | None = None


def install(options: Settings) -> None:
    """Watch the loops of requests from now on."""
    global _observer
    uninstall()
    _observer = TaskObserver(options)
    steps.observe(_observer)
    blocking.watch_collections()
    threads.install()


def uninstall() -> None:
    """Watch none any more, and leave the loops as they were."""
    global _observer
    observer, _observer = _observer, None
    steps.observe(None)
    blocking.forget_collections()
    threads.uninstall()
    if observer is not None:
        observer.stop()
