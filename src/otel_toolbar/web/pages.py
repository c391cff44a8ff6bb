"""The HTML pages: history and a page per trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from otel_toolbar import panels
from otel_toolbar.insights.summary import Summary, summarize
from otel_toolbar.store.base import Query, Store

from . import following, render
from .answers import ApiError, in_thread
from .api import query_of
from .site import Site
from .source import Sources

RECENT = 50
"""Traces listed beside a trace."""


class Pages:
    """The handlers. They hold no state: everything is in the store."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def history(self, request: Request) -> Response:
        try:
            query = query_of(request.query_params)
        except ApiError as error:
            return await self._message(request, 400, "Bad address", error.message)
        store = self._site.store

        def page() -> str:
            traces = _listed(store, query)
            context = self._context(request, traces)
            return render.history_page(context, traces, request.query_params, store.pinned())

        return HTMLResponse(await in_thread(page))

    async def trace(self, request: Request) -> Response:
        site, trace_id = self._site, request.path_params["trace_id"].lower()

        def page() -> str | None:
            trace = site.store.get(trace_id)
            if trace is None:
                return None
            trace = following.found(site.store, trace)
            recent = site.store.list(Query(limit=RECENT)).traces
            return render.trace_page(
                self._context(request, recent),
                trace,
                summarize(trace, site.options),
                panels.views(panels.load(site.options.panels), trace, site.options),
                request.query_params,
                recent,
                site.store.pinned(),
            )

        text = await in_thread(page)
        if text is not None:
            return HTMLResponse(text)
        return await self._message(
            request,
            404,
            "This trace is not here",
            f"{trace_id} is not known to this process ({site.pid}), or no longer kept.",
            _why_gone(site),
        )

    async def unknown(self, request: Request) -> Response:
        return await self._message(request, 404, "No such page", "The toolbar has no page here.")

    async def _message(
        self, request: Request, status: int, title: str, text: str, advice: tuple[str, ...] = ()
    ) -> Response:
        embed = request.query_params.get("embed") == "1"
        context = self._context(request)
        page = await in_thread(lambda: render.message_page(context, title, text, advice, embed))
        return HTMLResponse(page, status)

    def _context(self, request: Request, traces: Sequence[Summary] = ()) -> render.Context:
        site = self._site
        return render.Context(
            base=request.scope["otel_toolbar.base"],
            settings=site.options,
            service=traces[0].service if traces else "",
            pid=site.pid,
            process_id=site.process_id(),
            csrf=site.access.csrf,
            why_empty=site.why_empty(),
            sources=Sources(site.process_id(), site.started),
        )


def _listed(store: Store, query: Query) -> Sequence[Summary]:
    """Newest first; of websocket connections those that are open come first, however old."""
    if query.kind != "websocket" or query.running is not None:
        return store.list(query).traces
    running = store.list(replace(query, running=True)).traces
    return [*running, *store.list(replace(query, running=False)).traces]


def _why_gone(site: Site) -> tuple[str, ...]:
    kept = site.options.store_max_traces
    return (
        f"The newest {kept} traces are kept: OTEL_TOOLBAR_STORE_MAX_TRACES raises that.",
        "They live in this process's memory: a restart forgets them, and every worker has its own.",
    )
