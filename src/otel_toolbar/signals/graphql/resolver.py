"""One call of a resolver: a span that is current in it, up to a number of them.

What goes beyond stands on one span for all further calls of its place, so that a list of thousands
neither costs nor keeps thousands.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import CoroutineType
from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_toolbar import guard

from . import errors, operation, spans
from .field import Field, is_resolved_by_app, path_text, place
from .operation import Operation

ALIKE = 100
"""Spans of the calls at one place of a result."""
MOST = 1000
"""Spans of the calls of one operation, or of one result of a subscription."""
PLACES = 200
"""Places that are told apart; calls elsewhere are only counted."""

_FUTURE = "_asyncio_future_blocking"
"""What tells a future from other objects, for asyncio too."""


def call(info: Any) -> Call | None:
    """The call that is about to be made; None for what is not the app's own, and where nobody looks."""
    try:
        watched = operation.current()
        field = None if watched is None else _field(watched, info)
        return None if watched is None or field is None else Call(watched, field, info.path)
    except Exception:
        guard.failed("call of a GraphQL resolver")
        return None


def run_sync(
    made: Call, real: Callable[..., Any], root: Any, info: Any, /, *args: Any, **kwargs: Any
) -> Any:
    """Call a resolver that is a plain function. What it gives may have to be awaited."""
    made.begin()
    try:
        result = real(root, info, *args, **kwargs)
    except BaseException as error:
        made.fail(error)
        made.end()
        raise
    # Nothing else is asked: a lazy proxy would answer with a query.
    kind = cast("type[Any]", type(result))
    if kind is CoroutineType:
        made.leave()
        return _awaited(made, result)
    if hasattr(kind, _FUTURE):
        made.leave()
        return made.ends_with(result)
    made.end()
    return result


async def run(
    made: Call, real: Callable[..., Any], root: Any, info: Any, /, *args: Any, **kwargs: Any
) -> Any:
    """Likewise one that is a coroutine function: it begins when it is awaited."""
    made.begin()
    try:
        return await real(root, info, *args, **kwargs)
    except BaseException as error:
        made.fail(error)
        raise
    finally:
        made.end()


async def _awaited(made: Call, result: Any) -> Any:
    made.enter()
    try:
        return await result
    except BaseException as error:
        made.fail(error)
        raise
    finally:
        made.end()


class Call:
    """See the module. `begin`, `enter`, `leave` and `end` are called in the context that it runs in."""

    __slots__ = ("_before", "_field", "_ours", "_own", "_path", "_span", "_started", "_watched")

    def __init__(self, watched: Operation, field: Field, path: Any) -> None:
        self._watched = watched
        self._path = path
        self._field = field
        self._span: Span | None = None
        self._own = False
        self._before: Context | None = None
        self._ours: Context | None = None
        self._started = 0

    def begin(self) -> None:
        """Start, and be the current span."""
        try:
            self._start()
            self.enter()
            self._started = time.perf_counter_ns()
        except Exception:
            guard.failed("start of a GraphQL resolver")

    def _start(self) -> None:
        watched, field = self._watched, self._field
        field.calls += 1
        if field.calls <= ALIKE and watched.own_spans < MOST:
            watched.own_spans += 1
            self._own = True
            self._span = spans.start_resolver(field, self._path)
            return
        field.more += 1
        if field.rest is None:
            field.rest = spans.start_rest(field, self._path)
        self._span = field.rest

    def enter(self) -> None:
        try:
            if self._span is not None:
                self._before = otel_context.get_current()
                self._ours = trace.set_span_in_context(self._span, self._before)
                otel_context.attach(self._ours)
        except Exception:
            guard.failed("context of a GraphQL resolver")

    def leave(self) -> None:
        try:
            if self._before is not None and otel_context.get_current() is self._ours:
                otel_context.attach(self._before)
        except Exception:
            guard.failed("context of a GraphQL resolver")

    def fail(self, error: BaseException) -> None:
        """It has raised. A task that is cancelled is no error."""
        try:
            if isinstance(error, Exception):
                self._put(error)
        except Exception:
            guard.failed("error of a GraphQL resolver")

    def _put(self, error: Exception) -> None:
        span, recorded = self._span, self._watched.recorded
        if span is None:
            return  # the operation tells of it
        errors.put(span, error)
        if len(recorded) < errors.MOST:
            recorded.append(error)
            errors.record_raised(span, error, path_text(self._path))

    def end(self) -> None:
        """It is over, however."""
        self.leave()
        try:
            self._finish()
        except Exception:
            guard.failed("end of a GraphQL resolver")

    def _finish(self) -> None:
        span, field = self._span, self._field
        if span is None:
            return
        if self._own:
            span.end()
            return
        field.nanoseconds += time.perf_counter_ns() - self._started
        field.last = time.time_ns()

    def ends_with(self, future: Any) -> Any:
        """End when a future is done, which is handed on as it is: a data loader's, say."""
        try:
            future.add_done_callback(self._done)
        except Exception:
            guard.failed("future of a GraphQL resolver")
        return future

    def _done(self, future: Any) -> None:
        try:
            # Not by `exception()`: that would say that somebody has looked at it.
            error = None if future.cancelled() else getattr(future, "_exception", None)
            if error is not None:
                self.fail(error)
            self._finish()
        except Exception:
            guard.failed("end of a GraphQL resolver")


def _field(watched: Operation, info: Any) -> Field | None:
    where = place(info)
    field = watched.fields.get(where)
    if field is None:
        if not is_resolved_by_app(info):
            return None
        if len(watched.fields) < PLACES:
            field = watched.fields[where] = Field(info)
    watched.calls += 1
    return field
