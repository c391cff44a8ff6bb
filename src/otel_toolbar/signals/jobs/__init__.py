"""Jobs of SAQ: what is sent to a queue, and what a worker runs. Imported with SAQ, not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import imports

if TYPE_CHECKING:
    from otel_toolbar.insights.job_state import JobState

__all__ = ["install", "refresh", "uninstall"]


def _hooks() -> Any:
    from . import hooks  # with SAQ

    return hooks


_watch = imports.WithLibrary(_hooks, "saq")


def install(options: Settings, flush: Callable[[], Any] | None = None) -> None:
    """See all jobs from now on, once SAQ is imported. `flush` is awaited when a worker has stopped."""
    _watch.install(options, flush)


def uninstall() -> None:
    """See none any more, and leave SAQ as it was."""
    _watch.uninstall()


async def refresh(job_id: str) -> JobState:
    """The job as its queue has it now; see `state.refresh`. Imported when somebody asks."""
    from . import state

    return await state.refresh(job_id)
