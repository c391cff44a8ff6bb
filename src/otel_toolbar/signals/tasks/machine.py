"""What a thread had of the machine: CPU time, and time in which it could run and got no CPU."""

from __future__ import annotations

import contextlib
import os
import time
from typing import NamedTuple

from otel_toolbar.signals.core import steps


class Look(NamedTuple):
    """The sums of a thread at a time of `steps.clock`, in ns."""

    at: int
    cpu: int
    stolen: int | None
    """None where the system does not tell: anywhere but on Linux."""


class Meter:
    """Reads what one thread had so far, from any thread."""

    def __init__(self, thread: int, native: int) -> None:
        self._clock: int | None = None
        self._schedstat = -1
        if hasattr(time, "pthread_getcpuclockid"):
            self._clock = time.pthread_getcpuclockid(thread)
        with contextlib.suppress(OSError):
            self._schedstat = os.open(
                f"/proc/self/task/{native}/schedstat", os.O_RDONLY | os.O_CLOEXEC
            )

    def look(self) -> Look | None:
        """None when the system tells nothing, or the thread is gone."""
        if self._clock is None:
            return None
        try:
            return Look(steps.clock(), int(time.clock_gettime_ns(self._clock)), self._stolen())
        except (OSError, ValueError, IndexError):
            return None

    def _stolen(self) -> int | None:
        if self._schedstat < 0:
            return None
        return int(os.pread(self._schedstat, 100, 0).split()[1])

    def __del__(self) -> None:
        if self._schedstat >= 0:
            os.close(self._schedstat)
