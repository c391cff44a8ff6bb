"""What a watched loop does: the methods that are ours, and what is noted at each step of a task.

Compiled where the build could, for this runs at every step: see `stepping.pxd`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import weakref
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_toolbar import guard

from . import callbacks, current
from . import record as records
from .record import Record
from .work import Work, clock

WORK = "_otel_toolbar_work"
"""Attribute of a task: its `Work`, which goes with it."""

METHODS = ("call_soon", "create_task", "close")
"""Methods of a loop that are ours while it is watched."""

NOTABLE = 2_500_000
"""ns of a step from which on it is remembered as what may have made the loop late."""

MAX_MARKS = 512
"""Marks of a timeline before the observer is asked to shorten it."""


class Observer:
    """Who is told of what happens, on the loop's thread and in the task's context. It must not raise."""

    __slots__ = ("blocking", "long_wait")

    def __init__(self, long_wait: int, blocking: int) -> None:
        self.long_wait = long_wait
        """ns from a step's end until the task could go on, from which on `waited` is told."""
        self.blocking = blocking
        """ns of a step from which on `blocked` is told."""

    def began(self, record: Record) -> None:
        """The running task handles this request from now on."""
        raise NotImplementedError

    def left(self, record: Record) -> None:
        """The running task handles it no more."""
        raise NotImplementedError

    def creating(self, coro: Any, name: Any) -> Work | None:
        """A task is about to be created, with a name if it was given one; None when it is nobody's."""
        raise NotImplementedError

    def not_created(self, work: Work) -> None:
        """Nothing came of that."""
        raise NotImplementedError

    def found(self, task: Any) -> Work:
        """A step of a task whose creation was not seen."""
        raise NotImplementedError

    def waited(self, work: Work, task: Any, ready: int, now: int) -> None:
        """The task stands at its await still, since `work.last`; it could go on since `ready`."""
        raise NotImplementedError

    def blocked(self, watch: Watch, work: Work | None, what: Any, since: int, until: int) -> None:
        """`what` is the task of the step; without `work`, the callback that was no step."""
        raise NotImplementedError

    def finished(self, work: Work, task: Any, now: int) -> None:
        """The task has ended with the step that has just run."""
        raise NotImplementedError

    def shorten(self, work: Work) -> None:
        """The timeline has become long."""
        raise NotImplementedError

    def watching(self, watch: Watch) -> None:
        """A loop is watched from now on."""
        raise NotImplementedError


class Watch:
    """One watched loop, and what its thread does at this moment: read by threads without a lock."""

    __slots__ = (
        "__weakref__", "culprit", "extra", "longest", "loop", "native", "on", "outer", "pid", "since", "step",
        "thread", "work",
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


class LoopMethods:
    """The methods of one loop that are ours while it is watched. They hold the loop, which holds them."""

    __slots__ = (
        "_create_task", "_get_task_factory", "_real_close", "_schedule", "_step", "_unwatch",
        "long_wait", "notable", "observer", "watch",
    )  # fmt: skip

    def __init__(
        self, loop: Any, watch: Watch, observer: Observer, step: Any, unwatch: Any
    ) -> None:
        """`step` is `run`, or what calls it; `unwatch` is called with the loop once that is closed."""
        self.watch = watch
        self._step = step
        self.observer = observer
        self._unwatch = unwatch
        self._schedule, self._create_task = loop.call_soon, loop.create_task
        self._real_close, self._get_task_factory = loop.close, loop.get_task_factory
        self.long_wait = observer.long_wait
        self.notable = min(observer.blocking, NOTABLE)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        if not self.watch.on:
            return self._schedule(callback, *args, context=context)
        kind = type(callback)  # pyright: ignore[reportUnknownVariableType] - a `cast` is a call
        if kind is BuiltinFunctionType:
            steps_a_task = callback.__name__ == _WAKEUP
        elif kind is FunctionType:
            steps_a_task = False
        else:
            steps_a_task = kind is _step_type or is_step(callback)
        if steps_a_task:
            # A bound method of the task: asyncio prints such a handle as the task, as without us.
            step = MethodType(self._step, callback.__self__)
            handle = self._schedule(step, self, clock(), callback, args, context=context)
        else:
            # asyncio's own: of `gather`, say
            own = kind is FunctionType and callback.__globals__ is _ASYNCIO_TASKS
            if not own and records.current_in(context) is not None:
                callback = callbacks.watched(self.watch, self.observer, callback)
            handle = self._schedule(callback, *args, context=context)
        if handle._source_traceback:  # debug mode keeps where it was made  # noqa: SLF001
            _forget_our_frame(handle)
        return handle

    def create_task(self, coro: Any, **kwargs: Any) -> Any:
        work, observer = self._creating(coro, kwargs), self.observer
        try:
            if self._get_task_factory() is None and "eager_start" not in kwargs:
                task = self._create_task(coro, **kwargs)
            else:
                task = self.maybe_eager(work, coro, kwargs)
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

    def _creating(self, coro: Any, kwargs: dict[str, Any]) -> Work:
        work = None
        if self.watch.on:
            try:
                work = self.observer.creating(coro, kwargs.get("name") if kwargs else None)
            except Exception:
                guard.failed("creation of a task")
        if work is None:
            work = Work()
        elif kwargs and kwargs.get("context") is not None:
            work.current = None  # a context of the app's own is not ours to change
        return work

    def maybe_eager(self, work: Work, coro: Any, kwargs: dict[str, Any]) -> Any:
        """Create a task whose first step may run at once."""
        watch = self.watch
        token = _enter(work.current)
        work.current = None
        outer, start = watch.work, clock()
        watch.work = work
        try:
            return self._create_task(coro, **kwargs)
        finally:
            watch.work = outer
            took = clock() - start
            if outer is not None:
                outer.nested += took  # an eager child's time is not its parent's
            _leave(token)
            _began_eagerly(work, coro, start, took)

    def close(self) -> None:
        self._real_close()
        try:
            # Our methods hold the loop that holds them: only the collector would free it.
            self._unwatch(self.watch.loop())
        except Exception:
            guard.failed("end of a loop")


def run(task: Any, methods: LoopMethods, ready: int, callback: Any, args: tuple[Any, ...]) -> Any:
    """A step of a task, which was ready for it at `ready`."""
    watch = methods.watch
    work = getattr(task, WORK, None) or _found(methods.observer, task)
    last = work.last
    start = _begins(methods, watch, work, task, ready)
    try:
        return callback(*args)
    finally:
        _has_run(methods, watch, work, task, start, last)
        # A frame that a traceback keeps must not keep the task.
        del task, callback, args


def _begins(methods: LoopMethods, watch: Watch, work: Work, task: Any, ready: int) -> int:
    """A step begins; returns when."""
    start = clock()
    if ready - work.last > methods.long_wait:  # before the first step, too
        _waited(methods.observer, work, task, ready, start)
    work.queued += start - ready
    if watch.since:
        watch.interrupt()
    watch.work = work
    watch.since = watch.step = start
    return start


def _has_run(
    methods: LoopMethods, watch: Watch, work: Work, task: Any, start: int, last: int
) -> None:
    """A step has run since `start`; the one before ended at `last`."""
    end = work.last = clock()
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
    if end - since > methods.notable:
        _was_long(methods.observer, watch, work, task, since, end)
    account = work.account
    if account is None:
        return
    account.busy += own
    try:
        if work.marks is not None:
            _mark(methods, work, start, end, last)
        if work.span is not None and task.done():
            methods.observer.finished(work, task, end)
    except Exception:
        guard.failed("step of a task")


def _mark(methods: LoopMethods, work: Work, start: int, end: int, last: int) -> None:
    """Put a step on the timeline."""
    marks: Any = work.marks
    if start - last < work.grain:
        marks[-1] = end
    else:
        marks.append(start)
        marks.append(end)
        if len(marks) > MAX_MARKS:
            methods.observer.shorten(work)


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
        work = Work()
    setattr(task, WORK, work)
    return work


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
        _forget_our_frame(task)
    if work.span is not None and work.first and task.done():
        try:
            observer.finished(work, task, work.last)
        except Exception:
            guard.failed("end of a task")


def _forget_our_frame(made: Any) -> None:
    """Of where a handle or task was made, in debug mode: compiled code has no frame there."""
    if made._source_traceback[-1].filename == __file__:  # noqa: SLF001
        del made._source_traceback[-1]  # noqa: SLF001
