"""Turns what the step watch sees into spans and sums of the right request."""

from __future__ import annotations

import copy
import os
from typing import Any, cast

from otel_toolbar import semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import awaiting, callsite, current, light, steps
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.steps import Watch, Work

from . import blocking, spans, threads, timeline
from .account import SUBJECT, Account
from .lag import Lag
from .spans import Later
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


class TaskObserver:
    """The observer of the step watch; its methods say there when they are called."""

    def __init__(self, options: Settings) -> None:
        self.long_wait = NAMED
        self.blocking = options.blocking_threshold * 1_000_000
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
            self._watchdog = Watchdog(self.blocking, self._lag_interval)
            self._pid = os.getpid()
        lag = Lag(watch, self._lag_interval)
        watch.extra = LoopState(lag, self._watchdog.watch(watch))

    # Requests.

    def began(self, record: records.Record) -> None:
        watch = steps.here()
        work = None if watch is None else steps.current_work(watch)
        if watch is None or work is None:
            return
        steps.set_unix()
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
        for work in list(account.open):
            self._put_off(work, now)
        account.open.clear()
        for thread in list(account.threads):
            thread.stop_waiting()
        account.threads.clear()

    @staticmethod
    def _put_off(work: Work, now: int) -> None:
        span = work.span
        try:
            by_now = copy.copy(work)  # it goes on
            by_now.span = by_now.current = None
            if by_now.first:
                by_now.last = now
            spans.end_task(span, by_now, "running", None, now)
        finally:
            work.span, work.marks = Later(span), None

    # Tasks.

    def creating(self, coro: Any, name: str | None) -> Work | None:
        record = records.current()
        if record is None or record.server is None or record.account is None:
            return None
        coroutine = getattr(coro, "__qualname__", None)
        if type(coroutine) is not str:
            coroutine = spans.coroutine_name(coro)
        if name is not None and coroutine.startswith(_WRAPPERS):
            coroutine = str(name)  # the function's, as anyio gives it
        return _start(record, coroutine, callsite.caller(skip=_OURS))

    def found(self, task: Any) -> Work:
        record = records.current()
        if record is None or record.server is None or record.account is None:
            work = Work()
        else:
            work = _start(record, spans.coroutine_name(task.get_coro()), None)
            work.current = None
        work.name = task.get_name()
        return work

    def not_created(self, work: Work) -> None:
        """No task came of it: its span is taken back."""
        account, span = work.account, work.span
        if account is None:
            return
        account.tasks -= 1
        account.open.discard(work)
        work.span = work.current = None
        if isinstance(span, light.LightSpan) and span.record is not None:
            span.record.let_go(span)

    def finished(self, work: Work, task: Any, now: int) -> None:
        work.name = task.get_name()
        state, error = _outcome(task)
        span, work.span = work.span, None
        if isinstance(span, Later):
            span.end(work, state, error, now)
        else:
            work.account.open.discard(work)
            spans.end_task(span, work, state, error, now)

    def shorten(self, work: Work) -> None:
        timeline.shorten(work)

    # Awaits and blocking calls.

    def waited(self, work: Work, task: Any, ready: int, now: int) -> None:
        place, target = awaiting.point(task)
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


_OURS = 2
"""Frames between the loop's `create_task` and where it is asked who called."""


def _start(record: records.Record, name: str, place: callsite.Place | None) -> Work:
    """What is kept of a task of a request, with its span unless there are too many."""
    account: Account = record.account
    work = Work(account, name, place)
    if not record.closed_at:
        account.tasks += 1
    if account.spans >= account.max_tasks:
        account.drop(record)
    else:
        account.spans += 1
        if record.closed_at or record.told_of_starts:
            span = spans.start_task(work)
        else:
            span = spans.TaskSpan(work, current.span(), record)
            record.keep(span)
        work.span = work.current = span
        work.marks = []
        account.open.add(work)
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
