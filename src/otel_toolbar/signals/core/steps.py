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
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Protocol, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_toolbar import guard

from . import current
from . import record as records

clock = time.perf_counter_ns
"""The clock of all times here."""

unix = time.time_ns() - clock()
"""What to add to such a time for unix ns; see `set_unix`."""

WORK = "_otel_toolbar_work"
"""Attribute of a task: its `Work`, which goes with it."""

_OF = "_otel_toolbar_watch"
"""Attribute of our methods: the watch. The watch must not hold them, for they hold the loop."""

_METHODS = ("call_soon", "create_task", "close")
"""Methods of a loop that are ours while it is watched."""

NOTABLE = 2_500_000
"""ns of a step from which on it is remembered as what may have made the loop late."""

MAX_MARKS = 512
"""Marks of a timeline before the observer is asked to shorten it."""


class Work(Protocol):
    """What one task did on its loop, in ns. It refers to no task, coroutine or frame."""

    account: Any
    """Of the request that it works for, in the observer's keeping."""
    label: str | None
    """Of its coroutine."""
    place: Any
    """Where it was created."""
    span: Any
    """While it goes on, if it has one."""
    current: Any
    """The span that its first step is to make the current one."""
    task_name: str | None
    """Once it has ended."""
    created: int
    first: int
    last: int
    """When its first step began and when its last one ended; 0 before."""
    steps: int
    busy: int
    queued: int
    """Ready, and the loop busy with others."""
    nested: int
    below: int
    """Time of what ran within a step and is not its own: of this one, and of all before."""
    marks: list[int] | None
    """When each step began and ended, when a timeline is wanted."""
    grain: int
    """A shorter wait is not marked."""


class PlainWork:
    """The work of a task that has no span, or one of the SDK's."""

    __slots__ = (
        "account", "below", "busy", "created", "current", "first", "grain", "label", "last", "marks",
        "nested", "place", "queued", "span", "steps", "task_name",
    )  # fmt: skip

    def __init__(self, account: Any = None, label: str | None = None, place: Any = None) -> None:
        self.account = account
        self.label = label
        self.place = place
        self.span: Any = None
        self.current: Any = None
        self.task_name: str | None = None
        self.created = clock()
        self.first = self.last = self.steps = self.busy = self.queued = 0
        self.nested = self.below = self.grain = 0
        self.marks: list[int] | None = None


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
        "outer",
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
        self.outer: list[tuple[Work | None, int, int]] = []
        """What was running when a loop was run within it."""
        self.thread = threading.get_ident()
        self.native = threading.get_native_id()
        self.pid = os.getpid()
        self.longest = 0
        self.culprit: Any = None
        """The longest step since the last look at the lag, of `NOTABLE` at least, and its account."""
        self.extra: Any = None
        """The observer's."""
        self.on = True

    def interrupt(self) -> None:
        """A step begins within what runs."""
        self.outer.append((self.work, self.since, self.step))

    def resume(self, took: int) -> None:
        """It has ended."""
        self.work, self.since, self.step = self.outer.pop()
        if self.work is not None:
            self.work.nested += took


_observer: Observer | None = None
_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = weakref.WeakKeyDictionary()


def set_unix() -> None:
    """Compare the clocks anew: a machine may have slept, or its time been set."""
    global unix
    for _ in range(3):
        before = clock()
        unix_time = time.time_ns()
        after = clock()
        unix = unix_time - (before + after) // 2
        if after - before < _AT_ONCE:
            return


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
        work = PlainWork()
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

_PY_TASK: type[Any] = cast(Any, asyncio.tasks)._PyTask  # noqa: SLF001
_STEP, _WAKEUP = "TaskStepMethWrapper", "task_wakeup"
_PY_STEPS = frozenset({"__step", "__wakeup"})
_ASYNCIO_TASKS = vars(asyncio.tasks)
_step_type: type[Any] | None = None
"""Of the C task's callback for a step, once one has been seen: to ask for its name takes longer."""


def is_step(callback: Any) -> bool:
    """True for what steps a task. `task.cancel` and the like have a task as `__self__` too."""
    global _step_type
    kind = cast("type[Any]", type(callback))
    if kind is MethodType:
        # Not by `isinstance`, which asks some proxies what they stand for.
        return callback.__name__ in _PY_STEPS and issubclass(type(callback.__self__), _PY_TASK)
    if kind is BuiltinFunctionType:
        return callback.__name__ == _WAKEUP
    if kind.__name__ == _STEP and isinstance(getattr(callback, "__self__", None), asyncio.Task):
        _step_type = kind
    return kind is _step_type


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
    if module in _loop_modules:
        return False
    if module is None:
        return not isinstance(getattr(callback, "__self__", None), asyncio.Future)
    if str(module).startswith(("asyncio", "_asyncio", "uvloop", "anyio", "uvicorn")):
        _loop_modules.add(module)
        return False
    return True


_loop_modules: set[str] = set()
"""Modules seen of a loop and of libraries that are part of one."""


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
    long_wait, notable = observer.long_wait, min(observer.blocking, NOTABLE)
    record_in, now, method = records.current_in, clock, MethodType
    builtin, function = BuiltinFunctionType, FunctionType

    def run(task: Any, ready: int, callback: Any, args: tuple[Any, ...]) -> Any:  # noqa: C901
        try:
            work: Work = task._otel_toolbar_work  # noqa: SLF001
        except AttributeError:
            work = _found(observer, task)
        start = now()
        last = work.last
        if ready - last > long_wait:  # before the first step, too
            _waited(observer, work, task, ready, start)
        work.queued += start - ready
        if watch.since:
            watch.interrupt()
        watch.work = work
        watch.since = watch.step = start
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
            since = watch.since
            watch.work, watch.since = None, 0
            if watch.outer:
                watch.resume(took)
            if end - since > notable:
                _was_long(observer, watch, work, task, since, end)
            account = work.account
            if account is not None:
                account.busy += own
                try:
                    marks = work.marks
                    if marks is not None:
                        if start - last < work.grain:
                            marks[-1] = end
                        else:
                            marks.append(start)
                            marks.append(end)
                            if len(marks) > MAX_MARKS:
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
        kind = type(callback)  # pyright: ignore[reportUnknownVariableType] - a `cast` is a call
        if kind is builtin:
            steps_a_task = callback.__name__ == _WAKEUP
        elif kind is function:
            steps_a_task = False
        else:
            steps_a_task = kind is _step_type or is_step(callback)
        if steps_a_task:
            # A bound method of the task: asyncio prints such a handle as the task, as without us.
            step = method(run, callback.__self__)
            handle = real_call_soon(step, now(), callback, args, context=context)
        else:
            own = kind is function and callback.__globals__ is _ASYNCIO_TASKS  # of `gather`, say
            if not own and record_in(context) is not None:
                callback = _callback(watch, callback)
            handle = real_call_soon(callback, *args, context=context)
        if handle._source_traceback:  # debug mode keeps where it was made  # noqa: SLF001
            del handle._source_traceback[-1]  # noqa: SLF001
        return handle

    def create_task(coro: Any, **kwargs: Any) -> Any:  # noqa: C901
        work = None
        if watch.on:
            try:
                work = observer.creating(coro, kwargs.get("name") if kwargs else None)
            except Exception:
                guard.failed("creation of a task")
        if work is None:
            work = PlainWork()
        elif kwargs and kwargs.get("context") is not None:
            work.current = None  # a context of the app's own is not ours to change
        try:
            if get_task_factory() is None and "eager_start" not in kwargs:
                task = real_create_task(coro, **kwargs)
            else:
                task = maybe_eager(work, coro, kwargs)
        except BaseException:
            _not_created(observer, work)
            raise
        try:
            task._otel_toolbar_work = work  # noqa: SLF001
            if task._source_traceback or work.first:  # noqa: SLF001
                _created(observer, work, task)
        except Exception:  # a task factory's own object
            _not_created(observer, work)
        try:
            return task
        finally:
            del task

    def maybe_eager(work: Work, coro: Any, kwargs: dict[str, Any]) -> Any:
        token = _enter(work.current)
        work.current = None
        outer, start = watch.work, clock()
        watch.work = work
        try:
            return real_create_task(coro, **kwargs)
        finally:
            watch.work = outer
            took = clock() - start
            if outer is not None:
                outer.nested += took  # an eager child's time is not its parent's
            _leave(token)
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


def _waited(observer: Observer, work: Work, task: Any, ready: int, start: int) -> None:
    """A step begins that comes long after the last one, or is the first."""
    if not work.last:
        work.first = start
        work.queued -= start - ready  # told as the time until it was started
        if work.current is not None:
            try:
                current.put(work.current)
            except Exception:
                guard.failed("context of a task")
            work.current = None
    elif work.account is not None:
        try:
            observer.waited(work, task, ready, start)
        except Exception:
            guard.failed("await of a task")


def _was_long(
    observer: Observer, watch: Watch, work: Work, task: Any, since: int, end: int
) -> None:
    """A step has ended, of which the part since `since` was long."""
    account = work.account
    if end - since > watch.longest:
        watch.longest, watch.culprit = end - since, account
    if end - since > observer.blocking and account is not None:
        try:
            observer.blocked(watch, work, task, since, end)
        except Exception:
            guard.failed("step of a task")


def _began_eagerly(work: Work, coro: Any, start: int, took: int) -> None:
    """Count the first step of a task that has run already; a factory need not have run it."""
    own = took - work.nested
    if work.account is not None:
        work.account.busy += own
    if inspect.iscoroutine(coro) and inspect.getcoroutinestate(coro) != inspect.CORO_CREATED:
        work.first, work.last, work.steps = start, start + took, 1
        work.busy, work.below, work.nested = own, work.nested, 0
        if work.marks is not None:
            work.marks += (start, start + took)


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
        work = PlainWork()
    setattr(task, WORK, work)
    return work


def _callback(watch: Watch, callback: Any) -> Any:
    """What is to be called for a callback that is scheduled within a request."""
    try:
        if not callable(callback) or not _is_of_the_app(callback):
            return callback
        # asyncio refuses those in debug mode; Python 3.10 still has generators for coroutines.
        if inspect.iscoroutinefunction(callback) or hasattr(callback, "_is_coroutine"):
            return callback
        return Callback(watch, callback)
    except Exception:
        guard.failed("callback of a request")
        return callback


def _enter(span: Any) -> Any:
    """Make `span` the current one while a task is created that may run at once."""
    if span is None:
        return None
    try:
        return otel_context.attach(trace.set_span_in_context(span))
    except Exception:
        guard.failed("context of a task")
        return None


def _leave(token: Any) -> None:
    if token is None:
        return
    try:
        otel_context.detach(token)
    except Exception:
        guard.failed("context of a task")


def _created(observer: Observer, work: Work, task: Any) -> None:
    """A task was created that has run already, or keeps where it was created."""
    if task._source_traceback:  # noqa: SLF001
        del task._source_traceback[-1]  # noqa: SLF001
    if work.span is not None and work.first and task.done():
        try:
            observer.finished(work, task, work.last)
        except Exception:
            guard.failed("end of a task")
