"""Hands the ended spans and log records of long requests to others' processors while they run.

A websocket connection may stay open for days: what an exporter gets only at the end would be lost with
the process, and would fill its memory until then. A thread does it, so that converting costs the event
loop nothing; it runs only while such a request is open and somebody else wants spans at all.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from otel_toolbar import guard

from . import light, logs
from .long_record import LongRecord

if TYPE_CHECKING:
    from .record import Record

SECONDS = 1.0
"""Between two looks at what has ended; a late fact, such as rows fetched, may come within it."""

MAX_UNTOLD = 10_000
"""Spans of a request that wait; beyond that exporters are too slow, and the oldest are given up."""


class _Telling:
    """The thread and what it looks after."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.thread: threading.Thread | None = None
        self.starting = threading.Lock()
        self.telling = threading.Lock()
        self.wake = threading.Event()

    def run(self) -> None:
        while True:
            self.wake.wait(SECONDS)
            self.wake.clear()
            self.round()
            with self.starting:
                if not self.records:
                    self.thread = None
                    return

    def round(self) -> None:
        with self.telling:
            for key, record in list(self.records.items()):
                closed = record.closed  # before the last look: what ends afterwards is told at once
                tell(record)
                if closed:
                    self.records.pop(key, None)


_state = _Telling()


def start_afresh() -> None:
    """In a forked process: no thread, no requests, and locks that nobody holds."""
    global _state
    _state = _Telling()


def begin(record: Record) -> None:
    """Hand on what ends in a long request from now on, when there is anybody to hand it to."""
    if not isinstance(record, LongRecord) or not (light.has_others(record) or logs.has_others()):
        return
    record.untold, record.untold_logs = deque[Any](), deque[Any]()
    state = _state
    state.records[id(record)] = record
    with state.starting:
        if state.thread is None:
            state.thread = threading.Thread(
                target=state.run, name="otel-toolbar-handover", daemon=True
            )
            state.thread.start()


def end(record: Record, most: int) -> None:
    """Hand on the rest of a request that has ended: at once when that is quick, else in the thread."""
    state = _state
    few = record.untold is not None and len(record.untold) <= most
    # The thread may be within an exporter that hangs: it is not waited for.
    if few and state.telling.acquire(blocking=False):
        try:
            tell(record)
        finally:
            state.telling.release()
    state.wake.set()


def hurry(record: Record) -> None:
    """Wake the thread; what it cannot keep up with is given up and counted."""
    _state.wake.set()
    untold = record.untold
    while untold is not None and len(untold) > MAX_UNTOLD:
        try:
            untold.popleft()
        except IndexError:  # the thread was quicker
            return
        record.dropped += 1


def flush(seconds: float) -> bool:
    """Hand on all that waits, within a time. False when that was not long enough."""
    if not _state.records:
        return True
    worker = threading.Thread(target=_state.round, name="otel-toolbar-handover", daemon=True)
    worker.start()
    worker.join(seconds)
    return not worker.is_alive()


def tell(record: Record) -> None:
    """Hand on what a request has ended by now."""
    try:
        light.tell_others(record, _taken(record.untold))
        logged = _taken(record.untold_logs)
        for log in logged:
            logs.place(log, record)
        logs.tell_others(logged)
    except Exception:
        guard.failed("handing on what has ended")


def _taken(waiting: deque[Any] | None) -> list[Any]:
    taken: list[Any] = []
    for _ in range(len(waiting or ())):
        try:
            taken.append(waiting.popleft())  # pyright: ignore[reportOptionalMemberAccess]
        except IndexError:
            break
    return taken


def settle(seconds: float = 5) -> None:
    """Wait until the thread has gone. For tests."""
    deadline = time.monotonic() + seconds
    while _state.thread is not None and time.monotonic() < deadline:
        _state.wake.set()
        time.sleep(0.01)
