"""The loop's lag: how late what is due each `LAG_INTERVAL` comes to run. It ticks only while requests run.

The watchdog's thread asks for each tick. A timer of the loop's own would give each of its waits a time
limit, for which the system sets a timer: a page of 50 queries waits 400 times.
"""

from __future__ import annotations

import contextvars
from bisect import bisect_left
from contextlib import suppress
from typing import TYPE_CHECKING

from otel_toolbar import guard
from otel_toolbar.signals.core import steps

if TYPE_CHECKING:
    from .account import Account

NOTABLE = 2 * steps.NOTABLE
"""ns of lag from which it is asked who caused it."""


class Lag:
    """The lag of one loop, in ns; used on its thread, but for `prompt`."""

    def __init__(self, watch: steps.Watch, interval: int) -> None:
        self._watch = watch
        self._interval = interval
        self.active: set[Account] = set()
        self._ticking = False
        """The loop has been asked, and has not come to it yet: one tick at a time."""
        self._due = 0
        self._count = self._total = 0
        self._peaks: list[tuple[int, int]] = []
        """(when, lag), each longer than all that came after it: the longest since then."""

    def totals(self) -> tuple[int, int]:
        """Samples so far, and their sum."""
        return self._count, self._total

    def longest_since(self, when: int) -> int:
        at = bisect_left(self._peaks, (when, 0))
        return self._peaks[at][1] if at < len(self._peaks) else 0

    def join(self, account: Account) -> None:
        """A request runs."""
        if not self.active:
            self._peaks.clear()
            if not self._ticking:
                self._due = steps.clock() + self._interval
        self.active.add(account)

    def part(self, account: Account) -> None:
        """A request has ended."""
        self.active.discard(account)

    def prompt(self) -> int:
        """Have the loop tick when that is due; from another thread. Returns when it is due again."""
        now, due = steps.clock(), self._due
        if not self.active or self._ticking:
            return now + self._interval
        if now < due:
            return due
        loop = self._watch.loop()
        if loop is not None and self._watch.on and not loop.is_closed():
            self._ticking = True
            with suppress(RuntimeError):  # it has been closed meanwhile
                # A context of its own: the tick belongs to no request.
                loop.call_soon_threadsafe(self._tick, context=contextvars.Context())
        return now + self._interval - (now - due) % self._interval

    def _tick(self) -> None:
        try:
            steps.set_unix()
            now = steps.clock()
            late = max(0, now - self._due)
            self._due += (late // self._interval + 1) * self._interval
            self._ticking = False
            self._add(now, late)
        except Exception:
            guard.failed("lag of the event loop")

    def _add(self, now: int, lag: int) -> None:
        self._count += 1
        self._total += lag
        peaks = self._peaks
        while peaks and peaks[-1][1] <= lag:
            peaks.pop()
        peaks.append((now, lag))
        watch = self._watch
        longest, culprit = watch.longest, watch.culprit
        watch.longest, watch.culprit = 0, None
        if lag >= NOTABLE and culprit is not None and longest * 2 >= lag:
            for account in self.active:
                share = min(lag, now - account.begin)
                if account is not culprit and share > account.other_lag:
                    account.other_lag, account.other = share, culprit
