"""What came of a trace: other traces whose main span links to it, such as the runs of its jobs.

A link is on the later of the two, so they have to be looked for. Summaries are kept and say what they
link to; only traces that do are read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from otel_toolbar.insights import jobs
from otel_toolbar.model import Trace
from otel_toolbar.store.base import MAX_LIMIT, Query, Store

_MOST: Final = 200
"""Runs that are read; a page shows no more."""


def found(store: Store, trace: Trace) -> Trace:
    """The trace with its followers, when it is one that can have any."""
    if not jobs.sent(trace):
        return trace
    listed = store.list(Query(limit=MAX_LIMIT, kind="job")).traces
    ids = [each.trace_id for each in listed if trace.trace_id in each.links][:_MOST]
    runs = [later.main for each in ids if (later := store.get(each)) is not None]
    followers = sorted((span for span in runs if span is not None), key=lambda span: span.start)
    return replace(trace, followers=tuple(followers)) if followers else trace
