"""The thread that takes a loop's stack while a step holds it, and asks it to measure its lag.

Awake only while requests run.
"""

from __future__ import annotations

import sys
import threading
import time

from otel_toolbar import guard
from otel_toolbar.signals.core import callsite, steps
from otel_toolbar.signals.core.callsite import Place, Stack

from .machine import Look, Meter

_LOOKS = 4
"""Looks in the threshold's time; a step is looked at from half of it on, so one look at least falls in."""
_MAX_STACKS = 200
_LONGEST_TICK = 25_000_000
_SHORTEST_TICK = 1_000_000
_SHORTEST_SLEEP = 100_000


class Seen:
    """What was seen of one loop's thread. Written by the watchdog, read by the loop's thread."""

    def __init__(self, watch: steps.Watch) -> None:
        self.watch = watch
        self.since = 0
        """The step that the rest is about, by its `watch.since`."""
        self.stacks: list[Stack] = []
        self.library: Place | None = None
        """Where it stood without a frame of the app's."""
        self._meter = Meter(watch.thread, watch.native)
        self._latest = self._meter.look()
        self._before: Look | None = None

    def refresh(self) -> None:
        """Look at the machine only: nothing has been seen for a while."""
        self._latest = self._meter.look()

    def look(self, half: int) -> None:
        """Look once; `half` ns is how old a step has to be for its stack to matter."""
        since = self.watch.since
        if since != self.since:
            self.stacks, self.library = [], None
            self._before, self.since = self._latest, since
        if since and steps.clock() - since > half and len(self.stacks) < _MAX_STACKS:
            self._sample(since)
        self._latest = self._meter.look()

    def _sample(self, since: int) -> None:
        frames = sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        frame = frames.get(self.watch.thread)
        if frame is None:
            return
        stack = callsite.stack_of(frame)
        library = callsite.library_of(frame)
        if self.watch.since != since:  # else it is still the same step, and the stack its own
            return
        if stack is not None:
            self.stacks.append(stack)
        elif library is not None and self.library is None:
            self.library = library

    def stack(self, since: int) -> Stack | None:
        """Where the app's code stood most of the time in a step."""
        if self.since != since or not self.stacks:
            return None
        seen = list(self.stacks)
        keys = [stack.key for stack in seen]
        key = max(keys, key=keys.count)
        return seen[keys.index(key)]

    def machine(self, since: int) -> tuple[Look, Look] | None:
        """The last look before a step, and one now."""
        before = self._before if self.since == since else self._latest
        now = self._meter.look()
        if before is None or now is None or before.at > since:
            return None
        return before, now


class Watchdog:
    """One thread for all loops of a process. `blocking` is the threshold, `interval` that of lag, in ns."""

    def __init__(self, blocking: int, interval: int) -> None:
        self._half = blocking // 2
        self._between = min(_LONGEST_TICK, max(_SHORTEST_TICK, blocking // _LOOKS))
        """ns between two looks."""
        self._look_at = 0
        self._longest = min(self._between, max(_SHORTEST_TICK, interval))
        """ns that it sleeps at most: a request that begins meanwhile is not due earlier."""
        self._seen: list[Seen] = []
        self._awake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="otel-toolbar-watchdog", daemon=True)
        self._thread.start()

    def watch(self, watch: steps.Watch) -> Seen:
        """See a further loop; to be called in its thread."""
        seen = Seen(watch)
        there = [each for each in self._seen if each.watch.on and each.watch.loop() is not None]
        self._seen = [*there, seen]
        return seen

    def wake(self, seen: Seen) -> None:
        """A request runs on this loop; to be called in its thread."""
        if not self._awake.is_set():
            # Not left to the thread: on a busy machine it may come to look only when something blocks.
            seen.refresh()
            self._awake.set()

    def stop(self) -> None:
        self._stopped = True
        self._awake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._awake.wait()
            try:
                self._look_at = 0
                for seen in self._seen:
                    seen.refresh()
                while not self._stopped and self._any_active():
                    time.sleep(self._look() / 1e9)
            except Exception:
                guard.failed("watching for blocking calls")
                time.sleep(1)
            self._awake.clear()
            if self._any_active():  # woken in the moment of falling asleep
                self._awake.set()

    def _look(self) -> int:
        """Look at all loops that have requests; returns the ns until something is due again."""
        now = steps.clock()
        looks = now >= self._look_at
        if looks:
            self._look_at = now + self._between
        due = min(self._look_at, now + self._longest)
        for seen in self._seen:
            lag = seen.watch.extra.lag
            if lag.active:
                due = min(due, lag.prompt())
                if looks:
                    seen.look(self._half)
        return max(_SHORTEST_SLEEP, due - steps.clock())

    def _any_active(self) -> bool:
        return any(
            seen.watch.on and seen.watch.extra.lag.active and seen.watch.loop() is not None
            for seen in self._seen
        )
