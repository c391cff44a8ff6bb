"""Work that a request hands to a thread: executors, `asyncio.to_thread`, anyio's worker threads.

The work gets the request along: `run_in_executor` and `Executor.submit` carry no context variables.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Any

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import callsite, light, steps
from otel_toolbar.signals.core import record as records

from . import spans
from .account import Account

_on = False


def install() -> None:
    global _on
    first, _on = not _on, True
    if first and not _hooked:
        _hooked.append(True)
        wrapt.register_post_import_hook(_hook_executor, "concurrent.futures.thread")
        wrapt.register_post_import_hook(_hook_anyio, "anyio._backends._asyncio")


def uninstall() -> None:
    """From now on all calls are only passed on."""
    global _on
    _on = False


_hooked: list[bool] = []


def _hook_executor(module: Any) -> None:
    def submit(real: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        given = _with_work(args)
        future = real(*given, **kwargs)
        if given is not args:
            _tell_of_cancelling(future, given[0])
        return future

    _wrap(module, "ThreadPoolExecutor.submit", submit)


def _hook_anyio(module: Any) -> None:
    def run(real: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        return real(*_with_work(args), **kwargs)

    _wrap(module, "AsyncIOBackend.run_sync_in_worker_thread", run)


def _wrap(module: Any, name: str, wrapper: Any) -> None:
    try:
        wrapt.wrap_function_wrapper(module, name, wrapper)
    except Exception as error:  # a version of the future
        guard.say_once(f"{module.__name__} is not as known ({error}); work in threads is not seen")


def _with_work(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a call whose first one is to run in a thread."""
    if not _on or not args:
        return args
    try:
        record = records.current()
        if record is None or record.server is None or record.account is None:
            return args
        account: Account = record.account
        if not account.may_have_span(record):
            return args
        return (Work(args[0], record, account), *args[1:])
    except Exception:
        guard.failed("work in a thread")
        return args


def _tell_of_cancelling(future: Any, work: Work) -> None:
    # A future keeps its callbacks, and this one must not keep the function.
    known = weakref.ref(work)

    def done(future: Any) -> None:
        try:
            work = known()
            if work is not None and future.cancelled():
                work.cancel()
        except Exception:
            guard.failed("cancelled work in a thread")

    try:
        future.add_done_callback(done)
    except Exception:
        guard.failed("work in a thread")


class Work:
    """A function on its way to a thread and in it; it calls as the function does."""

    def __init__(self, function: Any, record: records.Record, account: Account) -> None:
        self.function = function
        self._record = record
        self._account = account
        self._handed_over = steps.clock()
        self._context = _context_of(function)
        name = _name(function)
        attributes: dict[str, Any] = {}
        spans.put_place(attributes, callsite.caller(through_frameworks=True))
        self.span: Span = light.start(f"thread {name}", SpanKind.INTERNAL, attributes, spans.SCOPE)
        account.threads.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        undo = self._enter()
        cpu = time.thread_time()
        error: BaseException | None = None
        try:
            return self.function(*args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._leave(undo, time.thread_time() - cpu, error)
            error = None

    def cancel(self) -> None:
        """No thread will take it any more."""
        self._account.threads.discard(self)
        self._end("cancelled")

    def stop_waiting(self) -> None:
        """The request ends before this does."""
        self._end("running")

    def _enter(self) -> Callable[[], None] | None:
        try:
            self.span.set_attributes(
                {
                    semconv.ASYNCIO_EXECUTOR_STARTED: (steps.clock() - self._handed_over) / 1e9,
                    semconv.THREAD_NAME: threading.current_thread().name,
                    semconv.THREAD_ID: threading.get_ident(),
                }
            )
            return self._make_current()
        except Exception:
            guard.failed("start of work in a thread")
            return None

    def _make_current(self) -> Callable[[], None]:
        """In the context that the function will run in, and undone there."""
        run = self._context.run if self._context is not None else _run
        entered = None
        if run(records.current_in, None) is not self._record:
            entered = run(records.enter, self._record)
        attached = run(lambda: otel_context.attach(trace.set_span_in_context(self.span)))

        def undo() -> None:
            run(otel_context.detach, attached)
            if entered is not None:
                run(records.leave, entered)

        return undo

    def _leave(
        self, undo: Callable[[], None] | None, cpu: float, error: BaseException | None
    ) -> None:
        try:
            if undo is not None:
                undo()
            self._account.threads.discard(self)
            self.span.set_attribute(semconv.ASYNCIO_EXECUTOR_CPU, cpu)
            spans.put_error(self.span, error)
            self._end("done" if error is None else "failed")
        except Exception:
            guard.failed("end of work in a thread")

    def _end(self, state: str) -> None:
        self.span.set_attribute(semconv.ASYNCIO_EXECUTOR_STATE, state)
        self.span.end()


def _run(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _context_of(function: Any) -> Context | None:
    """Of `partial(context.run, function)`, which `asyncio.to_thread` makes, the context."""
    run = function.func if isinstance(function, functools.partial) else None
    owner = getattr(run, "__self__", None)
    return owner if isinstance(owner, Context) else None


def _name(function: Any) -> str:
    for _ in range(3):
        if not isinstance(function, functools.partial):
            break
        inner: Any = function.args[0] if _context_of(function) and function.args else function.func
        function = inner
    name = None
    with suppress(Exception):
        name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    return str(name or type(function).__name__)
