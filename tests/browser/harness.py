"""A small app with the toolbar's pages over recorded traces, for the browser to look at.

The site is served with the strictest policy it has to bear; `/pages/...` are pages of an app, each
hostile in its own way. What the real app does around the pages is tested where that is.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict, replace

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from otel_toolbar import panels
from otel_toolbar.export import FORMATS
from otel_toolbar.insights import alerts
from otel_toolbar.insights.summary import Summary, summarize
from otel_toolbar.model import Trace
from otel_toolbar.panels.trace.view import span_view
from otel_toolbar.settings import Settings
from otel_toolbar.web import render
from otel_toolbar.web.answers import dumps
from otel_toolbar.web.source import Sources
from tests import recorded

SETTINGS = Settings()
SOURCES = Sources("p-4711")
SITE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'self'; form-action 'self'; base-uri 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
STRICT = (
    "default-src 'none'; script-src 'nonce-abc' 'strict-dynamic'; connect-src 'self';"
    " frame-src 'self'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HOSTILE_STYLE = """
* { all: unset !important; display: inline !important; position: static !important; }
html { transform: rotate(1deg) !important; filter: blur(1px) !important; }
div, section, otel-toolbar { display: none !important; z-index: -1 !important; }
button, a, iframe { visibility: hidden !important; font-size: 60px !important; }
"""


class Pages:
    """The app. `traces` may be changed while it runs."""

    def __init__(self) -> None:
        self.traces: dict[str, Trace] = {}
        self.known: dict[str, Summary] = {}
        self.pinned: set[str] = set()
        self.served: list[str] = []
        for name in recorded.NAMES:
            self.add(recorded.load(name))
        self.add(recorded.large(5000))
        self.add(recorded.gathered(1000))

    def add(self, trace: Trace) -> None:
        # Its summary first: the live stream, in the server's thread, looks it up for every trace.
        self.known[trace.trace_id] = summarize(trace, SETTINGS)
        self.traces[trace.trace_id] = trace

    def summaries(self, kind: str = "") -> list[Summary]:
        found = [self.known[trace_id] for trace_id in reversed([*self.traces])]
        if kind == "websocket":
            found.sort(key=lambda summary: summary.duration is not None)
        return [summary for summary in found if kind in ("", summary.kind)]

    def context(self) -> render.Context:
        return render.Context(
            "/_toolbar", SETTINGS, "shop", 4711, "p-4711", csrf="token", sources=SOURCES
        )

    def app(self) -> Starlette:
        site = [
            Route("/", self.history),
            Route("/t/{trace_id}", self.trace),
            Route("/api/traces", self.list),
            Route("/api/traces", self.clear, methods=["DELETE"]),
            Route("/api/traces/{trace_id}", self.summary),
            Route("/api/traces/{trace_id}/pin", self.pin, methods=["POST", "DELETE"]),
            Route("/api/traces/{trace_id}/export", self.export),
            Route("/api/traces/{trace_id}/panels/{panel_id}", self.panel),
            Route("/api/traces/{trace_id}/panels/{panel_id}/{part}", self.part),
            Route("/api/traces/{trace_id}/spans/{span_id}", self.span),
            Route("/api/stream", self.stream),
            Mount("/static", StaticFiles(directory=render.STATIC)),
        ]
        pages = [
            Route("/pages/{name}", self.page),
            Route("/data", self.data),
        ]
        return Starlette(routes=[Mount("/_toolbar", routes=site), *pages])

    async def history(self, request: Request) -> Response:
        page = render.history_page(
            self.context(),
            self.summaries(request.query_params.get("kind", "")),
            dict(request.query_params),
            frozenset(self.pinned),
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": SITE_POLICY})

    async def trace(self, request: Request) -> Response:
        self.served.append(request.url.path)
        trace = self.traces.get(request.path_params["trace_id"])
        query = dict(request.query_params)
        if trace is None:
            page = render.message_page(
                self.context(),
                "This trace is gone",
                "It was not kept: the store holds the last 200 traces.",
                embed="embed" in query,
            )
        else:
            page = render.trace_page(
                self.context(),
                trace,
                self.known[trace.trace_id],
                panels.views(panels.load(), trace, SETTINGS),
                query,
                self.summaries()[:30],
                frozenset(self.pinned),
            )
        headers = {
            "Content-Security-Policy": SITE_POLICY,
            "Cross-Origin-Embedder-Policy": "require-corp",
        }
        return HTMLResponse(page, 200 if trace else 404, headers=headers)

    async def list(self, request: Request) -> Response:
        found = self.summaries(request.query_params.get("kind", ""))
        if "running" in request.query_params:
            found = [summary for summary in found if summary.duration is None]
        return JSONResponse({"traces": [asdict(s) for s in found], "next": None})

    async def clear(self, request: Request) -> Response:
        assert request.headers["x-toolbar-csrf"] == "token"
        self.traces.clear()
        return Response(status_code=204)

    async def summary(self, request: Request) -> Response:
        self.served.append(request.url.path)
        trace = self.traces.get(request.path_params["trace_id"])
        if trace is None:
            return JSONResponse({"error": {"code": "unknown_trace", "message": "gone"}}, 404)
        worst = [alert.title for alert in alerts.counted(trace, SETTINGS)[:3]]
        return JSONResponse({**asdict(summarize(trace, SETTINGS)), "alerts": worst, "panels": []})

    async def pin(self, request: Request) -> Response:
        assert request.headers["x-toolbar-csrf"] == "token"
        change = self.pinned.add if request.method == "POST" else self.pinned.discard
        change(request.path_params["trace_id"])
        return JSONResponse({"pinned": request.method == "POST"})

    async def panel(self, request: Request) -> Response:
        trace = self.traces[request.path_params["trace_id"]]
        panel = next(p for p in panels.load() if p.id == request.path_params["panel_id"])
        text = json.dumps(panels.view(panel, trace, SETTINGS).data, default=vars)
        return Response(text, media_type="application/json")

    async def part(self, request: Request) -> Response:
        trace = self.traces[request.path_params["trace_id"]]
        panel = next(p for p in panels.load() if p.id == request.path_params["panel_id"])
        part = panel.parts[request.path_params["part"]](trace, SETTINGS)
        return Response(dumps(part), media_type="application/json")

    async def export(self, request: Request) -> Response:
        trace = self.traces[request.path_params["trace_id"]]
        form = FORMATS[request.query_params["format"]]
        return Response(form.export(trace), media_type=form.media_type)

    async def span(self, request: Request) -> Response:
        trace = self.traces[request.path_params["trace_id"]]
        view = span_view(trace, request.path_params["span_id"], SETTINGS)
        return Response(json.dumps(view, default=vars), media_type="application/json")

    async def stream(self, _: Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        yield "retry: 500\n\n"
        seen = dict(self.known)
        for _ in range(60):
            await asyncio.sleep(0.1)
            for key in [key for key in self.traces if seen.get(key) != self.known[key]]:
                summary = self.known[key]
                started = key not in seen and summary.duration is None
                seen[key] = summary
                ended = "trace.ended" if summary.duration is not None else "trace.updated"
                name = "trace.started" if started else ended
                yield f"event: {name}\ndata: {json.dumps(asdict(summary))}\n\n"

    async def page(self, request: Request) -> Response:
        name, trace_id = request.path_params["name"], request.query_params.get("trace", "")
        trace_id = trace_id or recorded.load("orders").trace_id
        named = recorded.load("orders").trace_id if name == "stale" else trace_id
        tag = (
            '<script nonce="abc" src="/_toolbar/static/toolbar.js?v=1"'
            f' data-trace="{named}" data-base="/_toolbar" async></script>'
        )
        style = f"<style>{HOSTILE_STYLE}</style>" if name == "hostile" else ""
        dialog = "<dialog><p>modal</p><button>ok</button></dialog>" if name == "modal" else ""
        html = (
            f'<!doctype html><html lang="en"><head><title>{name}</title>{style}{tag}</head>'
            f"<body><main><h1>A page</h1><p>Text.</p>{dialog}</main></body></html>"
        )
        return HTMLResponse(html, headers=_page_headers(name, trace_id))

    async def data(self, _: Request) -> Response:
        trace_id = recorded.load("checkout").trace_id
        return JSONResponse({}, headers=_server_timing(trace_id))


def _page_headers(name: str, trace_id: str) -> dict[str, str]:
    headers = _server_timing(trace_id)
    if name == "strict":
        headers["Content-Security-Policy"] = STRICT
    if name == "noframes":
        headers["Content-Security-Policy"] = STRICT.replace("frame-src 'self';", "")
    if name == "coep":
        headers["Cross-Origin-Embedder-Policy"] = "require-corp"
    return headers


def _server_timing(trace_id: str) -> dict[str, str]:
    return {"Server-Timing": f'traceparent;desc="00-{trace_id}-{"1" * 16}-01"'}


def renamed(trace: Trace, trace_id: str) -> Trace:
    """The same trace under another id."""
    spans = [replace(span, trace_id=trace_id) for span in trace.spans]
    return Trace.of(trace_id, spans, trace.now)


class Server:
    """Runs the app in a thread; `url` is where."""

    def __init__(self, pages: Pages, port: int = 0) -> None:
        config = uvicorn.Config(pages.app(), port=port, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.02)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(5)
