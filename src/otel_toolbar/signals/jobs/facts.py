"""What a job says of itself, as attributes."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_toolbar import semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import masking
from otel_toolbar.version import VERSION

SCOPE: Final = InstrumentationScope("otel_toolbar.signals.jobs", VERSION)
SYSTEM: Final = "saq"

_NUMBERS: Final = (
    ("timeout", semconv.SAQ_JOB_TIMEOUT),
    ("retries", semconv.SAQ_JOB_RETRIES),
    ("ttl", semconv.SAQ_JOB_TTL),
    ("attempts", semconv.SAQ_JOB_ATTEMPTS),
)


def of_operation(name: str, queue: Any, function: str) -> dict[str, Any]:
    """What is known before there is a job. `name` is `send` or `process`."""
    return {
        semconv.MESSAGING_SYSTEM: SYSTEM,
        semconv.MESSAGING_OPERATION_NAME: name,
        semconv.MESSAGING_OPERATION_TYPE: name,
        semconv.MESSAGING_DESTINATION_NAME: str(queue.name),
        semconv.SAQ_JOB_FUNCTION: function,
    }


def of_job(job: Any, options: Settings) -> dict[str, Any]:
    """The job's own facts, its arguments masked and cut."""
    found: dict[str, Any] = {
        semconv.SAQ_JOB_ID: job.id,
        semconv.MESSAGING_MESSAGE_ID: job.id,
        semconv.SAQ_JOB_KEY: job.key,
        semconv.SAQ_JOB_STATUS: status(job),
    }
    for name, key in _NUMBERS:
        value = getattr(job, name, None)
        if type(value) is int or type(value) is float:
            found[key] = value
    if job.scheduled:
        found[semconv.SAQ_JOB_SCHEDULED] = int(job.scheduled)
    if job.kwargs:
        found[semconv.SAQ_JOB_KWARGS] = shown(job.kwargs, options)
    return found


def status(job: Any) -> str:
    """`queued`, `complete`, ..."""
    return str(getattr(job.status, "value", job.status))


def shown(value: Any, options: Settings) -> str:
    """Arguments or a result as masked text."""
    return masking.clean(value, None, options.jobs_value_length)
