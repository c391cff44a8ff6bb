"""Nothing is lost at the end, and no endpoint holds the end up: providers are flushed within a bound.

uvicorn raises SIGTERM again after its shutdown, so that neither `atexit` nor anything else runs: the
server's shutdown is the last occasion. Where `atexit` does run, the SDK would wait up to 30 s for each
processor; the bound holds there too.
"""

from __future__ import annotations

import atexit
import inspect
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from otel_toolbar import guard
from otel_toolbar.signals.core.light import TAKES_ALL

TIMEOUT = 3.0
"""Seconds at most that the server's shutdown waits for exporters, and again the interpreter's exit.

An exporter that used them up at shutdown is not waited for at exit.
"""

_AT_EXIT = ("_atexit_handler", "_at_exit_handler")
"""Where the SDK's providers keep what they registered with `atexit`; None once they are shut down."""

_CHAINS = {
    "_active_span_processor": "_span_processors",
    "_multi_log_record_processor": "_log_record_processors",
}
"""Where a provider keeps its chain of processors, and the chain its parts."""

_flushed: weakref.WeakSet[Any] = weakref.WeakSet()
_shut_at_exit: list[Any] = []
_threads: weakref.WeakKeyDictionary[Any, threading.Thread] = weakref.WeakKeyDictionary()
"""The last flush of each processor. One that still runs is of an exporter that hangs."""


def keep(provider: Any) -> None:
    """Flush `provider` at shutdown, and bound what it does at exit."""
    _flushed.add(provider)
    handler = _at_exit_handler(provider)
    if handler is not None:
        atexit.unregister(handler)
        if not _shut_at_exit:
            atexit.register(_at_exit)
        # As `atexit` did, this holds on to a provider that the app has let go of.
        _shut_at_exit.append(provider)


def flush(timeout: float = TIMEOUT) -> None:
    """Send on what is queued in every provider, all at once, and wait at most `timeout` seconds."""
    deadline = time.monotonic() + timeout
    parts = [part for provider in list(_flushed) for part in _parts(provider)]
    # Ours first: it may still be handing spans to the others.
    for part in parts:
        if hasattr(part, TAKES_ALL):
            _quietly(part.force_flush, int(timeout * 1000))
    others = [part for part in parts if not hasattr(part, TAKES_ALL) and not _hangs(part)]
    for part in others:
        _threads[part] = thread = threading.Thread(
            target=_quietly, args=(part.force_flush, int(timeout * 1000)), daemon=True
        )
        thread.start()
    for part in others:
        _threads[part].join(max(0.0, deadline - time.monotonic()))


def _at_exit() -> None:
    """Shut the providers down in place of their own handlers. No thread can be started any more."""
    deadline = time.monotonic() + TIMEOUT
    for provider in _shut_at_exit:
        if _at_exit_handler(provider) is None:
            continue  # the app has done it
        for part in _parts(provider):
            left = 0.0 if _hangs(part) else max(0.0, deadline - time.monotonic())
            _quietly(_shutdown_of(part), int(left * 1000))


def _shutdown_of(part: Any) -> Callable[[int], Any]:
    """The shutdown of a processor or provider, with its timeout where it takes one."""
    # A batch processor takes none, what is inside of it does.
    real = getattr(part, "_batch_processor", part).shutdown
    if "timeout_millis" in inspect.signature(real).parameters:
        return lambda milliseconds: real(timeout_millis=milliseconds)
    return lambda _: real()


def _parts(provider: Any) -> Sequence[Any]:
    """The processors, so that one that hangs holds up no other; the provider when they are not seen."""
    for chain, parts in _CHAINS.items():
        found = getattr(getattr(provider, chain, None), parts, None)
        if found is not None:
            return tuple(found)
    return (provider,)


def _hangs(part: Any) -> bool:
    thread = _threads.get(part)
    return thread is not None and thread.is_alive()


def _at_exit_handler(provider: Any) -> Any:
    handlers: Iterator[Any] = (getattr(provider, name, None) for name in _AT_EXIT)
    return next((handler for handler in handlers if handler is not None), None)


def _quietly(work: Callable[[int], Any], milliseconds: int) -> None:
    try:
        work(milliseconds)
    except Exception:
        guard.failed("flush at shutdown")
