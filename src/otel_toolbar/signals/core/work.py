"""What one task did on its loop: plain figures, written at each of its steps.

Compiled where the build could: see `work.pxd`, which says of what C type each figure is.
"""

from __future__ import annotations

import time
from typing import Any

clock = time.perf_counter_ns
"""The clock of all times here."""


class Sums:
    """What the tasks of one request took of their loop, in ns: what a step adds to."""

    __slots__ = ("busy",)

    def __init__(self) -> None:
        self.busy = 0


class Work:
    """What one task did on its loop, in ns. It refers to no task, coroutine or frame."""

    __slots__ = (
        "account", "below", "busy", "created", "current", "first", "grain", "label", "last", "marks",
        "nested", "place", "queued", "span", "stands", "steps", "task_name",
    )  # fmt: skip

    def __init__(
        self, account: Sums | None = None, label: str | None = None, place: Any = None
    ) -> None:
        self.account: Any = account
        """Of the request that it works for, in the observer's keeping."""
        self.label = label
        """Of its coroutine."""
        self.place = place
        """Where it was created."""
        self.span: Any = None
        """While it goes on, if it has one."""
        self.current: Any = None
        """The span that its first step is to make the current one."""
        self.stands: Any = None
        """Where it waited last, as `awaiting.point` gave it: a weak reference."""
        self.task_name: str | None = None
        """Once it has ended."""
        self.created = clock()
        self.first = self.last = 0
        """When its first step began and when its last one ended; 0 before."""
        self.steps = self.busy = 0
        self.queued = 0
        """Ready, and the loop busy with others."""
        self.nested = self.below = 0
        """Time of what ran within a step and is not its own: of this one, and of all before."""
        self.marks: list[int] | None = None
        """When each step began and ended, when a timeline is wanted."""
        self.grain = 0
        """A shorter wait is not marked."""
