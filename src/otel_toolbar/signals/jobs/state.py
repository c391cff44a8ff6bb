"""The action that asks a queue for the state of a job: for jobs that this process has sent or run."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple
from weakref import ref

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_toolbar.insights.job_state import JobState, Refused
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import masking

from . import facts

MAX_JOBS: Final = 2000
"""Jobs that can be asked for; the oldest is forgotten."""

SECONDS: Final = 5.0
"""How long a queue may take to answer."""


class _Known(NamedTuple):
    queue: ref[Any]
    key: str
    loop: ref[asyncio.AbstractEventLoop]
    """Of the queue: its connections belong to it."""


class _State:
    options: Settings = Settings()


_known: OrderedDict[str, _Known] = OrderedDict()
_lock = threading.Lock()


def configure(options: Settings) -> None:
    """Take `JOBS_VALUE_LENGTH` from the settings, and know of no job."""
    _State.options = options
    with _lock:
        _known.clear()


def remember(job: Any) -> None:
    """Note where a job can be asked for. It keeps neither the job nor its queue alive."""
    known = _Known(ref(job.get_queue()), job.key, ref(asyncio.get_running_loop()))
    with _lock:
        _known[job.id] = known
        _known.move_to_end(job.id)
        while len(_known) > MAX_JOBS:
            _known.popitem(last=False)


async def refresh(job_id: str) -> JobState:
    """The job as its queue has it now.

    Raises `Refused`: `not_here` when this process has not seen the job, `gone` when the queue no longer
    has it, `loop_gone` when the queue's event loop has ended, `timeout` and `failed` as they say.
    """
    known = _known.get(job_id)
    queue = None if known is None else known.queue()
    if known is None or queue is None:
        raise Refused(
            "not_here",
            "This process neither sent nor ran the job, or has forgotten it: ask in the process that did.",
        )
    try:
        job = await asyncio.wait_for(_asked(known, queue), SECONDS)
    except Refused:
        raise
    except asyncio.TimeoutError:
        raise Refused("timeout", f"The queue did not answer within {SECONDS:g} s.") from None
    except Exception as error:
        said = masking.text(f"{type(error).__name__}: {error}")
        raise Refused("failed", f"The queue could not be asked: {said}") from None
    if job is None:
        raise Refused(
            "gone", "The queue no longer has the job: it ended, and the time of its `ttl` is over."
        )
    return _state(job)


async def _asked(known: _Known, queue: Any) -> Any:
    loop = known.loop()
    if loop is asyncio.get_running_loop():
        return await _job(queue, known.key)
    if loop is None or not loop.is_running():
        raise Refused(
            "loop_gone", "The event loop that the queue's connections belong to has ended."
        )
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_job(queue, known.key), loop))


def _job(queue: Any, key: str) -> Coroutine[Any, Any, Any]:
    async def ask() -> Any:
        with suppress_instrumentation():
            return await queue.job(key)

    return ask()


def _state(job: Any) -> JobState:
    error = str(job.error or "").strip().rpartition("\n")[2]
    return JobState(
        id=job.id,
        key=job.key,
        function=job.function,
        queue=job.get_queue().name,
        status=facts.status(job),
        attempts=job.attempts,
        retries=job.retries,
        progress=float(job.progress),
        scheduled=float(job.scheduled) if job.scheduled else None,
        queued=_seconds(job.queued),
        started=_seconds(job.started),
        completed=_seconds(job.completed),
        result="" if job.result is None else facts.shown(job.result, _State.options),
        error=masking.text(error)[: _State.options.value_length],
    )


def _seconds(milliseconds: int) -> float | None:
    return milliseconds / 1000 if milliseconds else None
