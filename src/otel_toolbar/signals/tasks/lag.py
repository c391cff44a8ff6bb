"""The loop's lag: by how much a timer of each `LAG_INTERVAL` is late. It ticks only while requests run."""

from __future__ import annotations

import contextvars
from bisect import bisect_left
from typing import TYPE_CHECKING

from otel_toolbar import guard
from otel_toolbar.signals.core import steps

if TYPE_CHECKING:
    from .account import Account

NOTABLE = 2 * steps.NOTABLE
"""ns of lag from which it is asked who caused it."""


class Lag:
    """The lag of one loop, in ns; used on its thread only."""

    def __init__(self, watch: steps.Watch, interval: int) -> None:
        self._watch = watch
        self._interval = interval
        self.active: set[Account] = set()
        self._ticking = False  # the timer itself would keep the loop
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
        self.active.add(account)
        if not self._ticking:
            self._wait()

    def part(self, account: Account) -> None:
        """A request has ended."""
        self.active.discard(account)

    def _wait(self) -> None:
        loop = self._watch.loop()
        if loop is None or loop.is_closed():
            return
        self._due = steps.clock() + self._interval
        # A context of its own: the timer belongs to no request.
        loop.call_later(self._interval / 1e9, self._tick, context=contextvars.Context())
        self._ticking = True

    def _tick(self) -> None:
        try:
            self._ticking = False
            steps.set_unix()
            now = steps.clock()
            self._add(now, max(0, now - self._due))
            if self.active and self._watch.on:
                self._wait()
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
