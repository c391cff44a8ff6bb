"""The trace context that travels with a job: in what the queue stores, not in what the app sees.

SAQ stores a job as its fields. The only one where something of ours has room is `meta`; a worker
without the toolbar would not read an unknown one. So it stands under a key of `meta` while the job is
stored, and is taken out again where it is read: `job.meta` is the app's, before and after.
"""

from __future__ import annotations

import copy
from typing import Any, cast

from opentelemetry import propagate
from opentelemetry.context import Context

KEY = "_otel_context"
"""Where litestar-saq's own instrumentation looks for it, too: a worker with that goes on with our trace."""

_KEPT = "_otel_toolbar_context"
"""Attribute of a job that was read or is being sent: what stands under `KEY` when it is stored."""


def put(job: Any, context: Context) -> None:
    """Let `context` travel with the job."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context=context)
    if headers:
        vars(job)[_KEPT] = headers


def extract(job: Any, context: Context) -> Context:
    """`context` with what travelled with the job; malformed headers add nothing."""
    try:
        return propagate.extract(_kept(job) or {}, context=context)
    except Exception:
        return context


def stored(job: Any) -> Any:
    """The job as it is to be stored: a copy with the context in `meta`, if there is one."""
    headers = _kept(job)
    if headers is None:
        return job
    copied = copy.copy(job)
    copied.meta = {**(job.meta or {}), KEY: headers}
    return copied


def read(job: Any) -> None:
    """Take the context out of the `meta` of a job that was stored."""
    given: Any = job.meta
    meta = cast("dict[Any, Any]", given if isinstance(given, dict) else {})
    headers = meta.get(KEY)
    if isinstance(headers, dict):
        job.meta = {key: value for key, value in meta.items() if key != KEY}
        vars(job)[_KEPT] = headers


def hand_on(job: Any, copied: Any) -> None:
    """Let a copy of the job have its context."""
    headers = _kept(job)
    if headers is not None and copied is not None:
        vars(copied)[_KEPT] = headers


def _kept(job: Any) -> dict[str, str] | None:
    return cast("dict[str, Any]", vars(job)).get(_KEPT)
