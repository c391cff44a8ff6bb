"""What a queue says of a job at this moment: the answer of an action, never part of a trace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobState:
    """A job as its queue has it. Times are in unix s, None where there is none yet."""

    id: str
    key: str
    function: str
    queue: str
    status: str
    """`new`, `queued`, `active`, `aborting`, `aborted`, `failed` or `complete`."""
    attempts: int
    retries: int
    """Attempts that it has."""
    progress: float
    """0 to 1, as the job itself says."""
    scheduled: float | None
    queued: float | None
    started: float | None
    completed: float | None
    result: str
    """Masked, cut."""
    error: str
    """The last line of it, masked."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """There is no answer; `code` is `not_here`, `gone`, `loop_gone`, `timeout` or `failed`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message
