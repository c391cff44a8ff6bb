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
import inspect
import os
import threading
import time
import weakref
from functools import lru_cache
from types import MethodType
from typing import Any, Protocol, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_toolbar import guard

from . import record as records

clock = time.perf_counter_ns
"""The clock of all times here."""

WORK = "_otel_toolbar_work"
"""Attribute of a task: its `Work`, which goes with it."""

_OF = "_otel_toolbar_watch"
"""Attribute of our methods: the watch. The watch must not hold them, for they hold the loop."""

_METHODS = ("call_soon", "create_task", "close")
"""Methods of a loop that are ours while it is watched."""

MAX_PARTS = 512
"""Parts of a timeline before the observer is asked to shorten it."""


class Work:
    """What one task did on its loop, in ns. It refers to no task, coroutine or frame."""

    __slots__ = (
        "account", "below", "busy", "created", "first", "grain", "label", "last", "name", "nested",
        "parts", "place", "queued", "span", "steps",
    )  # fmt: skip

    def __init__(self) -> None:
        self.account: Any = None
        """Of the request that it works for, in the observer's keeping."""
        self.span: Any = None
        self.name: str | None = None
        """Of the task, once it has ended."""
        self.label: str | None = None
        """Of its coroutine."""
        self.place: Any = None
        """Where it was created."""
        self.created = clock()
        self.first = self.last = 0
        """When its first step began and when its last one ended."""
        self.steps = self.busy = self.queued = 0
        """`queued`: ready, and the loop busy with others."""
        self.nested = self.below = 0
        """Time of what ran within a step and is not its own: of this one, and of all before."""
        self.parts: list[int] | None = None
        """Running and waiting in turn, when a timeline is wanted."""
        self.grain = 0
        """A shorter wait is no part of its own."""


class Observer(Protocol):
    """Who is told of what happens, on the loop's thread and in the task's context. It must not raise."""

    long_wait: int
    """ns from a step's end until the task could go on, from which on `waited` is told."""
    blocking: int
    """ns of a step from which on `blocked` is told."""

    def began(self, record: records.Record) -> None:
        """The running task handles this request from now on."""
        ...

    def left(self, record: records.Record) -> None:
        """The running task handles it no more."""
        ...

    def creating(self, coro: Any, name: str | None) -> Work | None:
        """A task is about to be created, with a name if it was given one; None when it is nobody's."""
        ...

    def not_created(self, work: Work) -> None: ...

    def found(self, task: Any) -> Work:
        """A step of a task whose creation was not seen."""
        ...

    def waited(self, work: Work, task: Any, ready: int, now: int) -> None:
        """The task stands at its await still, since `work.last`; it could go on since `ready`."""
        ...

    def blocked(self, watch: Watch, work: Work | None, what: Any, since: int, until: int) -> None:
        """`what` is the task of the step; without `work`, the callback that was no step."""
        ...

    def finished(self, work: Work, task: Any, now: int) -> None: ...

    def shorten(self, work: Work) -> None:
        """The timeline has become long."""
        ...

    def watching(self, watch: Watch) -> None:
        """A loop is watched from now on."""
        ...


class Watch:
    """One watched loop, and what its thread does at this moment: read by threads without a lock."""

    __slots__ = (
        "__weakref__",
        "call_soon",
        "create_task",
        "culprit",
        "extra",
        "longest",
        "loop",
        "native",
        "on",
        "pid",
        "since",
        "step",
        "thread",
        "work",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self.work: Work | None = None
        self.since = 0
        """Since when what runs now counts for whom it does; 0 while the loop waits, or is not watched."""
        self.step = 0
        """When the running step began."""
        self.thread = threading.get_ident()
        self.native = threading.get_native_id()
        self.pid = os.getpid()
        self.longest = 0
        self.culprit: Any = None
        """The longest step since the last look at the lag, and its account."""
        self.extra: Any = None
        """The observer's."""
        self.on = True


_observer: Observer | None = None
_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = weakref.WeakKeyDictionary()


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
    watch = _watches.get(loop)
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
    for name in _METHODS:
        if getattr(own.get(name), _OF, None) is watch:
            delattr(loop, name)


# The task's two callbacks: of the C task, and of the Python one, which subclasses may come from.

_TASKS: tuple[type[Any], ...] = (asyncio.Task, cast(Any, asyncio.tasks)._PyTask)  # noqa: SLF001
_PY_TASK: type[Any] = _TASKS[1]
_STEP, _WAKEUP = "TaskStepMethWrapper", "task_wakeup"
_PY_STEPS = frozenset({"__step", "__wakeup"})


def is_step(callback: Any, task: Any) -> bool:
    """True for what steps a task. `task.cancel` and the like have a task as `__self__` too."""
    if type(callback).__name__ == _STEP:
        return True
    name = callback.__name__
    return name == _WAKEUP or (name in _PY_STEPS and isinstance(task, _PY_TASK))


class Callback:
    """A callback of the app's, scheduled within a request: a step without a task.

    It looks like the callback that it calls: asyncio prints those.
    """

    def __init__(self, watch: Watch, callback: Any) -> None:
        self._watch = watch
        self.__wrapped__ = callback
        self.__module__ = getattr(callback, "__module__", "")
        self.__name__ = getattr(callback, "__name__", "")
        self.__qualname__ = getattr(callback, "__qualname__", "")

    def __eq__(self, other: object) -> bool:
        return other is self or other == self.__wrapped__

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __call__(self, *args: Any) -> Any:
        watch = self._watch
        outer, since = watch.work, watch.since
        watch.work, watch.since = None, clock()
        try:
            return self.__wrapped__(*args)
        finally:
            began, now = watch.since, clock()
            watch.work, watch.since = outer, since
            observer = _observer
            if observer is not None and now - began > observer.blocking:
                try:
                    observer.blocked(watch, None, self.__wrapped__, began, now)
                except Exception:
                    guard.failed("callback of a request")


def _is_of_the_app(callback: Any) -> bool:
    """False for asyncio's own callbacks and for what a loop or a library does within."""
    module = getattr(callback, "__module__", None)
    if module is None:
        return not isinstance(getattr(callback, "__self__", None), asyncio.Future)
    return not _is_of_a_loop(str(module))


@lru_cache(4096)
def _is_of_a_loop(module: str) -> bool:
    return module.startswith(("asyncio", "_asyncio", "uvloop", "anyio", "uvicorn"))


def _watch(loop: asyncio.AbstractEventLoop, observer: Observer) -> Watch:
    unwatch(loop)
    watch = Watch(loop)
    _hook(loop, watch, observer)
    _watches[loop] = watch
    observer.watching(watch)
    return watch


def _hook(loop: Any, watch: Watch, observer: Observer) -> None:  # noqa: C901 - one closure, for speed
    real_call_soon, real_create_task, real_close = loop.call_soon, loop.create_task, loop.close
    get_task_factory = loop.get_task_factory
    long_wait, blocking = observer.long_wait, observer.blocking
    current, now, method = records.current_in, clock, MethodType

    def run(task: Any, ready: int, callback: Any, *args: Any) -> Any:  # noqa: C901
        try:
            work: Work = task._otel_toolbar_work  # noqa: SLF001
        except AttributeError:
            work = _found(observer, task)
        start = now()
        last = work.last
        if last:
            work.queued += start - ready
            if ready - last > long_wait and work.account is not None:
                try:
                    observer.waited(work, task, ready, start)
                except Exception:
                    guard.failed("await of a task")
        else:
            work.first = start
        outer, outer_since, outer_step = watch.work, watch.since, watch.step
        watch.work, watch.since, watch.step = work, start, start
        try:
            return callback(*args)
        finally:
            end = work.last = now()
            took = own = end - start
            if work.nested:
                own -= work.nested
                work.below += work.nested
                work.nested = 0
            work.steps += 1
            work.busy += own
            held = end - watch.since
            watch.work, watch.since, watch.step = outer, outer_since, outer_step
            if outer is not None:  # a loop that is run within a step
                outer.nested += took
            account = work.account
            if held > watch.longest:
                watch.longest, watch.culprit = held, account
            try:
                if account is not None:
                    account.busy += own
                    if held > blocking:
                        observer.blocked(watch, work, task, end - held, end)
                    parts = work.parts
                    if parts is not None:
                        gap = start - last
                        if not parts:
                            parts.append(took)
                        elif gap < work.grain:
                            parts[-1] += gap + took
                        else:
                            parts.append(gap)
                            parts.append(took)
                            if len(parts) > MAX_PARTS:
                                observer.shorten(work)
                    if work.span is not None and task.done():
                        observer.finished(work, task, end)
            except Exception:
                guard.failed("step of a task")
            # A frame that a traceback keeps must not keep the task.
            del task, callback, args

    def call_soon(callback: Any, *args: Any, context: Any = None) -> Any:
        if not watch.on:
            return real_call_soon(callback, *args, context=context)
        task = getattr(callback, "__self__", None)
        if isinstance(task, _TASKS) and is_step(callback, task):
            # A bound method of the task: asyncio prints such a handle as the task, as without us.
            handle = real_call_soon(method(run, task), now(), callback, *args, context=context)
        elif current(context) is not None and callable(callback) and _is_of_the_app(callback):
            handle = real_call_soon(_callback(watch, callback), *args, context=context)
        else:
            handle = real_call_soon(callback, *args, context=context)
        if handle._source_traceback:  # debug mode keeps where it was made  # noqa: SLF001
            del handle._source_traceback[-1]  # noqa: SLF001
        return handle

    def create_task(coro: Any, **kwargs: Any) -> Any:
        work = _creating(observer, coro, kwargs.get("name")) if watch.on else None
        if work is None:
            work = Work()
        token = None if work.span is None or kwargs.get("context") else _enter(work.span)
        try:
            if get_task_factory() is None and "eager_start" not in kwargs:
                task = real_create_task(coro, **kwargs)
            else:
                task = maybe_eager(work, coro, kwargs)
        except BaseException:
            _not_created(observer, work)
            raise
        finally:
            if token is not None:
                _leave(token)
        _keep(observer, work, task)
        try:
            return task
        finally:
            del task

    def maybe_eager(work: Work, coro: Any, kwargs: dict[str, Any]) -> Any:
        outer, start = watch.work, clock()
        watch.work = work
        try:
            return real_create_task(coro, **kwargs)
        finally:
            watch.work = outer
            took = clock() - start
            if outer is not None:
                outer.nested += took  # an eager child's time is not its parent's
            _began_eagerly(work, coro, start, took)

    def close() -> None:
        real_close()
        try:
            # Our methods hold the loop that holds them: only the collector would free it.
            unwatch(loop)
        except Exception:
            guard.failed("end of a loop")

    for name, ours in zip(_METHODS, (call_soon, create_task, close), strict=True):
        setattr(ours, _OF, watch)
        setattr(loop, name, ours)


def _began_eagerly(work: Work, coro: Any, start: int, took: int) -> None:
    """Count the first step of a task that has run already; a factory need not have run it."""
    own = took - work.nested
    if work.account is not None:
        work.account.busy += own
    if inspect.iscoroutine(coro) and inspect.getcoroutinestate(coro) != inspect.CORO_CREATED:
        work.first, work.last, work.steps = start, start + took, 1
        work.busy, work.below, work.nested = own, work.nested, 0
        if work.parts is not None:
            work.parts.append(took)


def _creating(observer: Observer, coro: Any, name: Any) -> Work | None:
    try:
        return observer.creating(coro, name)
    except Exception:
        guard.failed("creation of a task")
        return None


def _not_created(observer: Observer, work: Work) -> None:
    try:
        observer.not_created(work)
    except Exception:
        guard.failed("creation of a task")


def _found(observer: Observer, task: Any) -> Work:
    try:
        work = observer.found(task)
    except Exception:
        guard.failed("first step of a task")
        work = Work()
    setattr(task, WORK, work)
    return work


def _callback(watch: Watch, callback: Any) -> Any:
    try:
        # asyncio refuses those in debug mode; Python 3.10 still has generators for coroutines.
        if inspect.iscoroutinefunction(callback) or hasattr(callback, "_is_coroutine"):
            return callback
        return Callback(watch, callback)
    except Exception:
        guard.failed("callback of a request")
        return callback


def _enter(span: Any) -> Any:
    """Make `span` the current one of the context that the new task copies."""
    try:
        return otel_context.attach(trace.set_span_in_context(span))
    except Exception:
        guard.failed("context of a task")
        return None


def _leave(token: Any) -> None:
    try:
        otel_context.detach(token)
    except Exception:
        guard.failed("context of a task")


def _keep(observer: Observer, work: Work, task: Any) -> None:
    """Let the work go with its task."""
    try:
        try:
            setattr(task, WORK, work)
        except AttributeError:  # a task factory's own object
            observer.not_created(work)
            return
        if task._source_traceback:  # noqa: SLF001
            del task._source_traceback[-1]  # noqa: SLF001
        if work.span is not None and work.first and task.done():
            observer.finished(work, task, work.last)
    except Exception:
        guard.failed("creation of a task")
