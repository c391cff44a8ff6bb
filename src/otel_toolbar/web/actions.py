"""Actions: they do something for the one who asks, and never feed a panel.

An action is reached by a POST of our own page's script with a JSON body, and names what it is about by
trace and span id only.
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from otel_toolbar import semconv
from otel_toolbar.insights import job_state
from otel_toolbar.insights.plans import Plan, Refused
from otel_toolbar.model import Span, Trace

from .answers import ApiError, answer, in_thread
from .site import Site

MAX_BODY: Final = 1024

_STATUS: Final = {
    "expired": 409,
    "engine_gone": 409,
    "loop_gone": 409,
    "locked": 504,
    "timeout": 504,
    "busy": 503,
    "no_connection": 503,
    "failed": 500,
}
"""HTTP status of a refusal; 422 for all others, which lie in the statement itself."""

_JOB_STATUS: Final = {"not_here": 409, "loop_gone": 409, "gone": 404, "timeout": 504}
"""HTTP status of a job that cannot be told of; 500 for all others."""

_waiting = anyio.CapacityLimiter(4)
"""Threads that wait for a database. Of their own: pages must not wait for it."""


async def explain(site: Site, request: Request) -> Response:
    """The plan of one query: `POST traces/{trace_id}/queries/{span_id}/explain`."""
    if request.method != "POST":
        raise ApiError(405, "method_not_allowed", "EXPLAIN is asked for by POST.")
    if not site.access.may_change(request.scope):
        raise ApiError(
            403, "forbidden",
            "EXPLAIN needs the page's Origin, its X-Toolbar-CSRF header and a JSON body.",
        )  # fmt: skip
    analyze = await _analyze(request)
    trace_id = request.path_params["trace_id"].lower()
    span_id = request.path_params["span_id"].lower()
    span = _query(await in_thread(lambda: site.store.get(trace_id)), trace_id, span_id)
    action = site.explain
    if action is None:
        raise ApiError(409, "not_here", "Queries are not watched in this process.")

    def ask() -> Plan:
        return action(trace_id, span_id, analyze)

    try:
        plan = await anyio.to_thread.run_sync(ask, limiter=_waiting)
    except Refused as refused:
        if refused.code == "expired" and _is_foreign(span, site):
            raise ApiError(
                409,
                "not_here",
                "Another process made this query (a worker, an earlier run, another service), and only"
                " that one knows how it was bound.",
            ) from None
        status = _STATUS.get(refused.code, 422)
        raise ApiError(status, refused.code, refused.message) from None
    return answer(plan)


async def refresh_job(site: Site, request: Request) -> Response:
    """The state of a job as its queue has it now: `POST jobs/{job_id}/refresh`."""
    if request.method != "POST":
        raise ApiError(405, "method_not_allowed", "A job is refreshed by POST.")
    if not site.access.may_change(request.scope):
        raise ApiError(
            403,
            "forbidden",
            "Refreshing a job needs the page's Origin and its X-Toolbar-CSRF header.",
        )
    action = site.refresh_job
    if action is None:
        raise ApiError(409, "not_here", "Jobs are not watched in this process.")
    try:
        return answer(await action(request.path_params["job_id"]))
    except job_state.Refused as refused:
        status = _JOB_STATUS.get(refused.code, 500)
        raise ApiError(status, refused.code, refused.message) from None


def _query(trace: Trace | None, trace_id: str, span_id: str) -> Span:
    """The span of a query that is in the store."""
    if trace is None:
        raise ApiError(404, "unknown_trace", f"No trace {trace_id!r} here, or no longer kept.")
    span = trace.by_id.get(span_id)
    if span is None:
        raise ApiError(404, "unknown_span", f"No span {span_id!r} in this trace.")
    if semconv.DB_QUERY_TEXT not in span.attributes:
        raise ApiError(422, "not_a_query", f"The span {span_id!r} is not a query.")
    return span


def _is_foreign(span: Span, site: Site) -> bool:
    """True when the span says that another process made it; with an app's own provider it says nothing."""
    made_by = span.resource.get(semconv.PROCESS_ID)
    return made_by is not None and made_by != site.process_id()


async def _analyze(request: Request) -> bool:
    """The body's only field. There is none for SQL: what a client sends is never run."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise ApiError(413, "too_large", f"The body may have {MAX_BODY} bytes at most.")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "not_json", 'The body has to be JSON: {} or {"analyze": true}.')
    try:
        content: Any = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise ApiError(400, "not_json", "The body is not JSON.") from None
    if not isinstance(content, dict):
        raise ApiError(400, "bad_body", "The body has to be an object.")
    fields = cast("dict[str, Any]", content)
    unknown = sorted(set(fields) - {"analyze"})
    if unknown:
        raise ApiError(
            422, "bad_body", f"Unknown field {unknown[0][:40]!r}. SQL from a client is never run."
        )
    if not isinstance(fields.get("analyze", False), bool):
        raise ApiError(422, "bad_body", "`analyze` is true or false.")
    return bool(fields.get("analyze", False))
