"""The apps that are measured, their database, and one exchange by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

App = Callable[[Any, Any, Any], Awaitable[None]]

HEADERS = [
    (b"host", b"bench.local"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    (b"accept", b"text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-language", b"en-US,en;q=0.9"),
    (b"cookie", b"theme=dark; lang=en"),
    (b"connection", b"keep-alive"),
]
PATHS = {
    "json": "/json",
    "page-1": "/page/1",
    "page-50": "/page/50",
    "tasks-100": "/tasks/100",
}
"""Workloads: JSON without I/O, an HTML page with one query, one with fifty, JSON of a hundred tasks."""


async def new_engine() -> AsyncEngine:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)"))
        rows = [{"id": number, "name": f"item {number}"} for number in range(1, 201)]
        await connection.execute(text("INSERT INTO item (id, name) VALUES (:id, :name)"), rows)
    return engine


async def page(engine: AsyncEngine, count: int) -> str:
    """An HTML page of `count` items, each with a query of its own."""
    names = []
    async with engine.connect() as connection:
        for number in range(1, count + 1):
            query = text("SELECT id, name FROM item WHERE id = :id")
            names.append((await connection.execute(query, {"id": number})).one().name)
    items = "".join(f"<li>{name}</li>" for name in names)
    return f"<!doctype html><html><head><title>Items</title></head><body>{items}</body></html>"


async def gathered(count: int) -> int:
    """A sum that `count` tasks have part in, each of two steps."""

    async def leaf(number: int) -> int:
        await asyncio.sleep(0)
        return number

    return sum(await asyncio.gather(*(leaf(number) for number in range(count))))


def fastapi_app(engine: AsyncEngine) -> Any:
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    app = FastAPI()

    @app.get("/json")
    async def json() -> dict[str, Any]:
        return {"id": 7, "items": [1, 2, 3]}

    @app.get("/page/{count}", response_class=HTMLResponse)
    async def html(count: int) -> str:
        return await page(engine, count)

    @app.get("/tasks/{count}")
    async def tasks(count: int) -> dict[str, int]:
        return {"sum": await gathered(count)}

    for number in range(50):
        app.add_api_route(f"/other/{number}", json)
    return app


def starlette_app(engine: AsyncEngine) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    async def json(_: Any) -> JSONResponse:
        return JSONResponse({"id": 7, "items": [1, 2, 3]})

    async def html(request: Any) -> HTMLResponse:
        return HTMLResponse(await page(engine, request.path_params["count"]))

    async def tasks(request: Any) -> JSONResponse:
        return JSONResponse({"sum": await gathered(request.path_params["count"])})

    return Starlette(
        routes=[
            Route("/json", json),
            Route("/page/{count:int}", html),
            Route("/tasks/{count:int}", tasks),
        ]
    )


async def exchange(app: App, path: str) -> None:
    """One GET whose answer must be complete and 200."""
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]
    done = asyncio.Event()
    status = 0

    async def receive() -> Any:
        if incoming:
            return incoming.pop()
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif not message.get("more_body"):
            done.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"page=2",
        "root_path": "",
        "headers": list(HEADERS),
        "client": ("127.0.0.1", 5000),
        "server": ("bench.local", 80),
        "state": {},
    }
    await app(scope, receive, send)
    if status != 200 or not done.is_set():
        raise AssertionError(f"{path} answered {status}")
