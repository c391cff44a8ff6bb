"""The JSON under `/_toolbar/api`: the same views that the pages show."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from otel_toolbar import export, panels
from otel_toolbar.insights import alerts
from otel_toolbar.insights.summary import Summary, summarize
from otel_toolbar.intake import importer
from otel_toolbar.model import Trace
from otel_toolbar.panels.trace.view import span_view
from otel_toolbar.store.base import MAX_LIMIT, Query
from otel_toolbar.wire.otlp import OtlpError

from . import actions, following
from .answers import ApiError, answer, dumps, in_thread
from .site import Site

STREAM_SECONDS = 20.0
"""How long an event stream lives; the page then asks again. Browsers allow few at a time."""

POLL_SECONDS = 0.2
"""How often a stream looks for what is new: seen within 500 ms, free while nobody looks."""

_WATCHED = 50
"""Traces that a stream looks at: that many of the newest, and of those that run."""

_TOLD_BY_BADGE = 3
"""Alerts that the badge names."""

_REST = 4
"""A stream rests this many times as long as its look at the store took."""

MAX_PAUSE = 5.0
"""Seconds between two looks at most."""

MAX_IMPORT = 32 * 2**20
"""Bytes of a file that is imported."""


def routes(site: Site) -> list[Route]:
    """The API's routes, relative to the site."""
    api = Api(site)
    return [
        Route("/api/traces", _guarded(api.list), methods=["GET"]),
        Route("/api/traces", _guarded(api.clear), methods=["DELETE"]),
        Route("/api/stream", _guarded(api.stream), methods=["GET"]),
        Route("/api/traces/{trace_id}", _guarded(api.trace), methods=["GET"]),
        Route("/api/traces/{trace_id}/export", _guarded(api.export), methods=["GET"]),
        Route("/api/import", _guarded(api.load), methods=["POST"]),
        Route("/api/traces/{trace_id}/pin", _guarded(api.pin), methods=["POST", "DELETE"]),
        Route("/api/traces/{trace_id}/panels/{panel_id}", _guarded(api.panel), methods=["GET"]),
        Route(
            "/api/traces/{trace_id}/panels/{panel_id}/{part}", _guarded(api.part), methods=["GET"]
        ),
        Route(
            "/api/traces/{trace_id}/queries/{span_id}/explain",
            _guarded(api.explain),
            methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        ),
        Route(
            "/api/jobs/{job_id:path}/refresh",
            _guarded(api.refresh_job),
            methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        ),
        Route("/api/traces/{trace_id}/spans/{span_id}", _guarded(api.span), methods=["GET"]),
        Route("/api/{rest:path}", _guarded(api.unknown), methods=["GET", "POST", "DELETE"]),
    ]


class Api:
    """The handlers. They hold no state: everything is in the store."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def list(self, request: Request) -> Response:
        query = query_of(request.query_params)
        page = await in_thread(lambda: self._site.store.list(query))
        return answer({"traces": page.traces, "next": page.next})

    async def trace(self, request: Request) -> Response:
        trace = await self._trace(request)
        options = self._site.options

        def read() -> dict[str, Any]:
            views = panels.views(panels.load(options.panels), trace, options)
            tabs = [
                {
                    "id": view.panel.id,
                    "title": view.panel.title,
                    "badge": view.badge.text,
                    "level": view.badge.level,
                }
                for view in views
            ]
            worst = [alert.title for alert in alerts.counted(trace, options)[:_TOLD_BY_BADGE]]
            summary = dataclasses.asdict(summarize(trace, options))
            return {**summary, "alerts": worst, "panels": tabs}

        return answer(await in_thread(read))

    async def panel(self, request: Request) -> Response:
        trace, options = await self._trace(request), self._site.options
        panel, store = self._panel(request), self._site.store
        view = await in_thread(lambda: panels.view(panel, following.found(store, trace), options))
        if view.data is None:
            raise ApiError(500, "panel_failed", "The panel failed; the log of the server says why.")
        return answer(view.data)

    async def part(self, request: Request) -> Response:
        """What a panel has beside its view, such as the time line of the tasks."""
        trace, options = await self._trace(request), self._site.options
        panel, wanted = self._panel(request), request.path_params["part"]
        part = panel.parts.get(wanted)
        if part is None:
            known = ", ".join(panel.parts) or "none"
            raise ApiError(404, "unknown_part", f"No {wanted!r} of {panel.id}. There are: {known}.")
        return Response(
            await in_thread(lambda: dumps(part(trace, options))), media_type="application/json"
        )

    async def span(self, request: Request) -> Response:
        """One span with all it says: the waterfall of a large trace would be too heavy with it."""
        trace, span_id = await self._trace(request), request.path_params["span_id"].lower()
        view = await in_thread(lambda: span_view(trace, span_id, self._site.options))
        if view is None:
            raise ApiError(404, "unknown_span", f"No span {span_id!r} in this trace.")
        return answer(view)

    async def explain(self, request: Request) -> Response:
        return await actions.explain(self._site, request)

    async def refresh_job(self, request: Request) -> Response:
        return await actions.refresh_job(self._site, request)

    async def clear(self, request: Request) -> Response:
        self._may_change(request)
        await in_thread(self._site.store.clear)
        return Response(status_code=204)

    async def pin(self, request: Request) -> Response:
        self._may_change(request)
        trace_id, pinned = request.path_params["trace_id"], request.method == "POST"
        if not await in_thread(lambda: self._site.store.pin(trace_id, pinned)):
            raise _gone(trace_id)
        return answer({"pinned": pinned})

    async def export(self, request: Request) -> Response:
        trace = await self._trace(request)
        wanted = request.query_params.get("format", "otlp")
        form = export.FORMATS.get(wanted)
        if form is None:
            known = ", ".join(export.FORMATS)
            raise ApiError(400, "unknown_format", f"No format {wanted!r}. There are: {known}.")
        content = await in_thread(lambda: form.export(trace))
        name = f"{trace.trace_id}.{form.suffix}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=form.media_type, headers=headers)

    async def load(self, request: Request) -> Response:
        self._may_change(request)
        content = await _body(request)
        try:
            traces = await in_thread(lambda: importer.load(self._site.store, content))
        except OtlpError as error:
            raise ApiError(400, "not_otlp", str(error)) from None
        return answer({"traces": traces})

    async def stream(self, request: Request) -> Response:  # noqa: ARG002 - a handler's signature
        return StreamingResponse(
            _events(self._site), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def unknown(self, request: Request) -> Response:
        raise ApiError(404, "unknown_path", f"No {request.method} {request.path_params['rest']!r}.")

    async def _trace(self, request: Request) -> Trace:
        trace_id = request.path_params["trace_id"].lower()
        trace = await in_thread(lambda: self._site.store.get(trace_id))
        if trace is None:
            raise _gone(trace_id)
        return trace

    def _panel(self, request: Request) -> panels.Panel:
        wanted, loaded = request.path_params["panel_id"], panels.load(self._site.options.panels)
        panel = next((p for p in loaded if p.id == wanted), None)
        if panel is None:
            known = ", ".join(p.id for p in loaded)
            raise ApiError(404, "unknown_panel", f"No panel {wanted!r}. There are: {known}.")
        return panel

    def _may_change(self, request: Request) -> None:
        if not self._site.access.may_change(request.scope):
            raise ApiError(
                403, "forbidden", "Changes need the page's Origin and its X-Toolbar-CSRF header."
            )


async def _body(request: Request) -> bytes:
    """The request's body, refused as soon as it is too large."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_IMPORT:
            limit = MAX_IMPORT // 2**20
            raise ApiError(413, "too_large", f"A file may have {limit} MiB at most.")
    return bytes(content)


def query_of(parameters: Mapping[str, str]) -> Query:
    """The list's query parameters; a `limit` that is none is an error."""
    limit = parameters.get("limit", "50")
    if not limit.isdecimal() or len(limit) > 9 or not 1 <= int(limit) <= MAX_LIMIT:
        raise ApiError(400, "bad_limit", f"limit must be a number from 1 to {MAX_LIMIT}.")
    return Query(
        limit=int(limit),
        after=parameters.get("after"),
        q=parameters.get("q", ""),
        service=parameters.get("service", ""),
        status=parameters.get("status", ""),
        kind=parameters.get("kind", ""),
        running=_yes_or_no(parameters.get("running", "")),
    )


def _yes_or_no(text: str) -> bool | None:
    known = {"": None, "true": True, "false": False}
    if text not in known:
        raise ApiError(400, "bad_running", "running must be true or false.")
    return known[text]


async def _events(site: Site) -> AsyncIterator[bytes]:
    """Server-sent events of what starts, changes and ends, for `STREAM_SECONDS` at most."""
    seen = {summary.trace_id: summary for summary in await _newest(site)}
    yield b"retry: 500\n\n"
    deadline = anyio.current_time() + STREAM_SECONDS
    pause = POLL_SECONDS
    while anyio.current_time() < deadline and not site.closing():
        await anyio.sleep(pause)
        began = anyio.current_time()
        newest = await _newest(site)
        # With much going on a look takes long, and it must not take the time of those it looks at.
        pause = min(max(POLL_SECONDS, _REST * (anyio.current_time() - began)), MAX_PAUSE)
        for summary in reversed(newest):
            before = seen.get(summary.trace_id)
            if summary != before:
                seen[summary.trace_id] = summary
                for name in _changes(before, summary):
                    yield b"event: " + name + b"\ndata: " + dumps(summary) + b"\n\n"


def _changes(before: Summary | None, now: Summary) -> list[bytes]:
    started = [b"trace.started"] if before is None else []
    if now.duration is None:
        return started or [b"trace.updated"]
    ended = before is None or before.duration is None
    return started + ([b"trace.ended"] if ended else [b"trace.updated"])


async def _newest(site: Site) -> list[Summary]:
    """The newest, and what still runs: a connection may be older than all that is kept."""
    store = site.store

    def read() -> list[Summary]:
        newest = store.list(Query(limit=_WATCHED)).traces
        known = {summary.trace_id for summary in newest}
        running = store.list(Query(limit=_WATCHED, running=True)).traces
        return [*newest, *(summary for summary in running if summary.trace_id not in known)]

    return await in_thread(read)


def _gone(trace_id: str) -> ApiError:
    return ApiError(404, "unknown_trace", f"No trace {trace_id!r} here, or no longer kept.")


def _guarded(handler: Callable[[Request], Awaitable[Response]]) -> Any:
    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except ApiError as error:
            return error.response()

    return handle
