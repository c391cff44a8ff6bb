"""Callbacks of the app's own that a loop calls: steps without a task.

Not compiled: where the app's code begins, a stack has to have a frame that says so.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from otel_toolbar import guard

from .work import clock

if TYPE_CHECKING:
    from .stepping import Observer, Watch


def watched(watch: Watch, observer: Observer, callback: Any) -> Any:
    """What is to be called for a callback that is scheduled within a request."""
    try:
        if not callable(callback) or not _is_of_the_app(callback):
            return callback
        # asyncio refuses those in debug mode; Python 3.10 still has generators for coroutines.
        if inspect.iscoroutinefunction(callback) or hasattr(callback, "_is_coroutine"):
            return callback
        return Callback(watch, observer, callback)
    except Exception:
        guard.failed("callback of a request")
        return callback


class Callback:
    """A callback of the app's, scheduled within a request: a step without a task.

    It looks like the callback that it calls: asyncio prints those.
    """

    def __init__(self, watch: Watch, observer: Observer, callback: Any) -> None:
        self._watch = watch
        self._observer = observer
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
            if watch.on and now - began > self._observer.blocking:
                try:
                    self._observer.blocked(watch, None, self.__wrapped__, began, now)
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
