"""The site's routes: history, a page per trace, static files, and the JSON of `api`."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from otel_toolbar import guard

from . import api, pages
from .security import own_headers
from .site import ASGI, Site

STATIC = Path(__file__).parent / "static"


def build(site: Site) -> ASGI:
    """The site as an ASGI app; its scope says under `otel_toolbar.base` where it is mounted."""
    handlers = pages.Pages(site)
    app = Starlette(
        routes=[
            Route("/", handlers.history),
            Route("/t/{trace_id}", handlers.trace),
            Route("/static/{file:path}", static),
            *api.routes(site),
            Route("/{rest:path}", handlers.unknown),
        ]
    )
    return _with_headers(_with_errors(app))


async def static(request: Request) -> Response:
    """A file of `static/`."""
    path = (STATIC / request.path_params["file"]).resolve()
    if not path.is_relative_to(STATIC) or not path.is_file():
        return Response("No such file.", 404)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Response(path.read_bytes(), media_type=kind)


def _with_headers(app: ASGI) -> ASGI:
    """Put our policy's headers on every answer of ours."""

    async def headed(scope: Any, receive: Any, send: Any) -> None:
        versioned = "/static/" in scope["path"] and b"v=" in scope["query_string"]
        own = own_headers(cacheable=versioned)

        async def send_headed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        await app(scope, receive, send_headed)

    return headed


def _with_errors(app: ASGI) -> ASGI:
    """A failure of ours is ours: it is answered here and never reaches the server or the app."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, watched)
        except Exception:
            guard.failed("a page of the toolbar")
            if not started:
                text = "The toolbar failed here; the log of the server says why. The app runs on."
                await HTMLResponse(text, 500)(scope, receive, send)

    return guarded
