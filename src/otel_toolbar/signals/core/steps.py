"""Sees every step of every asyncio task of a loop, without touching a coroutine.

A task is stepped by two callbacks only (its first step or bare yield, and its wake-up), and both go
through `loop.call_soon`. That one method, replaced on the loop *instance*, sees each step begin and end:
of asyncio's and uvloop's tasks, of tasks that were there before, of subclasses. Only an eager first step
(Python 3.12) runs outside of it: inside `loop.create_task`, which is timed for that.

A step runs in its task's own context, so that `record.current()` is right in the hooks. What has to be
done with what is seen is the business of an `Observer`; without one no loop is watched.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from typing import Any

from otel_toolbar import guard

from . import record as records
from .stepping import METHODS, NOTABLE, WORK, LoopMethods, Observer, Watch, run
from .work import Work, clock

__all__ = [
    "NOTABLE", "WORK", "Observer", "Watch", "Work", "began", "clock", "current_work", "cut", "here",
    "keep_unix", "left", "observe", "set_unix", "unix", "unwatch", "watches", "work_of",
]  # fmt: skip

unix = time.time_ns() - clock()
"""What to add to such a time for unix ns; see `set_unix`."""

_observer: Observer | None = None
_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = weakref.WeakKeyDictionary()


def set_unix() -> None:
    """Compare the clocks anew: a machine may have slept, or its time been set."""
    global unix, _compared
    for _ in range(3):
        before = clock()
        unix_time = time.time_ns()
        after = _compared = clock()
        unix = unix_time - (before + after) // 2
        if after - before < _AT_ONCE:
            return


def keep_unix() -> None:
    """Have them compared within the last tenth of a second."""
    if clock() - _compared > _TENTH:
        set_unix()


_compared = 0
_TENTH = 100_000_000
_AT_ONCE = 10_000
"""ns for three looks at clocks; beyond, something else ran meanwhile."""


def observe(observer: Observer | None) -> None:
    """Have `observer` told from now on; None takes the watch from all loops."""
    global _observer
    _observer = observer
    if observer is None:
        for loop in list(_watches):
            unwatch(loop)


def began(record: records.Record) -> None:
    """The running task handles this request from now on."""
    if _observer is not None:
        try:
            _observer.began(record)
        except Exception:
            guard.failed("task of a request")


def left(record: records.Record) -> None:
    """The running task is done with this request."""
    if _observer is not None:
        try:
            _observer.left(record)
        except Exception:
            guard.failed("task of a request")


def watches() -> list[Watch]:
    """All loops that are watched."""
    return list(_watches.values())


def here() -> Watch | None:
    """The watch of the loop that runs in this thread; it begins now if need be. None without a loop."""
    observer = _observer
    if observer is None:
        return None
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # a thread, or another library's loop
        return None
    methods = getattr(loop.call_soon, "__self__", None)
    # Mostly ours; somebody else's may stand over it.
    watch = methods.watch if type(methods) is LoopMethods else _watches.get(loop)
    if watch is None or watch.pid != os.getpid():
        watch = _watch(loop, observer)
    return watch


def work_of(task: Any) -> Work | None:
    """What is known of a task; None when it has not been seen."""
    return getattr(task, WORK, None)


def current_work(watch: Watch) -> Work | None:
    """The work of the task that runs now, also when its step began unseen."""
    if watch.work is not None:
        return watch.work
    task = asyncio.current_task()
    if task is None:
        return None
    work = work_of(task)
    if work is None:
        work = Work()
        setattr(task, WORK, work)
    return work


def cut(watch: Watch, work: Work, now: int) -> None:
    """Let the running step count for whom it has been until now, and from now on for whom is next."""
    observer = _observer
    if not watch.since or observer is None:
        return
    since, watch.since = watch.since, now
    took = now - since
    if took > watch.longest:
        watch.longest, watch.culprit = took, work.account
    if took > observer.blocking and work.account is not None:
        observer.blocked(watch, work, asyncio.current_task(), since, now)


def unwatch(loop: asyncio.AbstractEventLoop) -> None:
    """Leave a loop as it was; what others have put over our methods since then stays."""
    watch = _watches.pop(loop, None)
    if watch is None:
        return
    watch.on = False
    own = vars(loop)
    for name in METHODS:
        methods = getattr(own.get(name), "__self__", None)
        if isinstance(methods, LoopMethods) and methods.watch is watch:
            delattr(loop, name)


def _watch(loop: asyncio.AbstractEventLoop, observer: Observer) -> Watch:
    unwatch(loop)
    watch = Watch(loop)
    # uvloop has no frame where a task's code begins, and neither has ours where it is compiled.
    framed = isinstance(loop, asyncio.BaseEventLoop)
    methods = LoopMethods(loop, watch, observer, run if framed else _run, unwatch)
    for name in METHODS:
        setattr(loop, name, getattr(methods, name))
    _watches[loop] = watch
    observer.watching(watch)
    return watch


def _run(task: Any, methods: LoopMethods, ready: int, callback: Any, args: tuple[Any, ...]) -> Any:
    """`run`, with a frame in any case."""
    try:
        return run(task, methods, ready, callback, args)
    finally:
        del task, callback, args
