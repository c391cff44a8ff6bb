"""The app that is measured, the same in each framework, with its database, templates and queue.

Every path answers with the `id` that it was asked with, so that an answer to another request is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jinja2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

QUERIES, TASKS, CARDS, LINES, EVENTS, KEYS, CALLS = 50, 100, 50, 1000, 100, 50, 10
"""How many of each a request makes."""

ROWS = [
    {"n": n, "name": f"row {n}", "note": "some words about this row, and some more " * 5}
    for n in range(40)
]

log = logging.getLogger("bench")


class Parts:
    """What the app works with. `redis` is a URL; None leaves out jobs."""

    def __init__(self, redis: str | None = None) -> None:
        file = Path(tempfile.mkdtemp(prefix="otel-toolbar-bench-")) / "bench.sqlite"
        self.engine: AsyncEngine = create_async_engine(
            f"sqlite+aiosqlite:///{file}", pool_size=10, max_overflow=0, pool_timeout=120
        )
        self.templates = jinja2.Environment(
            autoescape=True, loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates")
        )
        self.redis = redis
        self.queue: Any = None
        self.neighbour = ""
        """URL of a small HTTP server in this process, for outgoing calls."""

    async def open(self) -> None:
        """Make the table, the queue, the neighbour, and a log that goes nowhere; outside of any request."""
        async with self.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, v INTEGER)"))
            values = [{"id": n, "v": n} for n in range(1, 201)]
            await connection.execute(text("INSERT INTO item (id, v) VALUES (:id, :v)"), values)
        if self.redis:
            from saq import Queue

            self.queue = Queue.from_url(self.redis)
            await self.queue.connect()
        self.neighbour = await _neighbour()
        _log_to_nowhere()


async def _neighbour() -> str:
    async def answer(reader: Any, writer: Any) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    _servers.append(server)
    host, port = server.sockets[0].getsockname()
    return f"http://{host}:{port}/"


_servers: list[Any] = []
"""Kept, so that they are not collected."""


def _log_to_nowhere() -> None:
    """Lines are formatted and written as in any app, but take no space."""
    handler = logging.FileHandler(os.devnull)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    for library in ("saq", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)


Answer = Callable[[str], Awaitable[Any]]


def pages(parts: Parts) -> dict[str, Answer]:
    """HTML by path."""

    async def rows(rid: str, count: int) -> str:
        total = 0
        async with parts.engine.connect() as connection:
            for number in range(1, count + 1):
                query = text("SELECT v FROM item WHERE id = :id")
                total += (await connection.execute(query, {"id": number})).scalar_one()
        return parts.templates.get_template("rows.html").render(id=rid, total=total, rows=ROWS)

    async def one(rid: str) -> str:
        return await rows(rid, 1)

    async def many(rid: str) -> str:
        return await rows(rid, QUERIES)

    async def cards(rid: str) -> str:
        template = parts.templates.get_template("cards.html")
        return template.render(id=rid, cards=[ROWS[n % len(ROWS)] for n in range(CARDS)])

    return {"/page/1": one, "/page/50": many, "/cards": cards}


def data(parts: Parts) -> dict[str, Answer]:
    """JSON by path."""

    async def json(rid: str) -> dict[str, Any]:
        return {"id": rid, "items": list(range(10))}

    async def leaf(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def tasks(rid: str) -> dict[str, Any]:
        return {"id": rid, "sum": sum(await asyncio.gather(*(leaf(n) for n in range(TASKS))))}

    async def lines(rid: str) -> dict[str, Any]:
        for number in range(LINES):
            log.info("line %d of %s", number, rid)
        return {"id": rid}

    async def job(rid: str) -> dict[str, Any]:
        sent = await parts.queue.enqueue("send_mail", order=7, ttl=60)
        return {"id": rid, "job": sent.key}

    async def keys(rid: str) -> dict[str, Any]:
        from aiocache import SimpleMemoryCache

        cache = SimpleMemoryCache()
        for number in range(KEYS // 2):
            await cache.set(f"key {number}", number)
        found = [await cache.get(f"key {number}") for number in range(KEYS // 2)]
        return {"id": rid, "found": sum(found)}

    async def calls(rid: str) -> dict[str, Any]:
        import httpx

        async with httpx.AsyncClient(verify=False) as client:  # reads no certificates
            answers = [(await client.get(parts.neighbour)).text for _ in range(CALLS)]
        return {"id": rid, "answers": answers}

    known = {"/json": json, "/tasks": tasks, "/lines": lines, "/keys": keys, "/calls": calls}
    return known | ({"/job": job} if parts.redis else {})


async def events(rid: str) -> AsyncIterator[str]:
    for number in range(EVENTS):
        yield f"id: {rid}\ndata: {number}\n\n"
        await asyncio.sleep(0)


def starlette(parts: Parts) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    def html(answer: Answer) -> Any:
        async def page(request: Any) -> Any:
            return HTMLResponse(await answer(request.query_params["id"]))

        return page

    def json(answer: Answer) -> Any:
        async def endpoint(request: Any) -> Any:
            return JSONResponse(await answer(request.query_params["id"]))

        return endpoint

    async def stream(request: Any) -> Any:
        return StreamingResponse(events(request.query_params["id"]), media_type="text/event-stream")

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(message)

    routes = [Route(path, json(answer)) for path, answer in data(parts).items()]
    routes += [Route(path, html(answer)) for path, answer in pages(parts).items()]
    return Starlette(
        debug=True, routes=[*routes, Route("/events", stream), WebSocketRoute("/echo", echo)]
    )


def fastapi(parts: Parts, session: Any = None) -> Any:
    """`session` is a dependency that each page declares."""
    from fastapi import Depends, FastAPI, WebSocket
    from fastapi.responses import HTMLResponse, StreamingResponse

    app = FastAPI(debug=True)
    dependencies = [Depends(session)] if session else []

    def html(path: str, answer: Answer) -> None:
        @app.get(path, response_class=HTMLResponse, dependencies=dependencies)
        async def page(id: str) -> str:  # noqa: A002
            return await answer(id)

    def json(path: str, answer: Answer) -> None:
        @app.get(path)
        async def endpoint(id: str) -> dict[str, Any]:  # noqa: A002
            return await answer(id)

    @app.get("/events")
    async def stream(id: str) -> Any:  # noqa: A002
        return StreamingResponse(events(id), media_type="text/event-stream")

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(message)

    echo.__annotations__["websocket"] = WebSocket  # as the module's annotations are strings
    app.websocket("/echo")(echo)
    for path, answer in pages(parts).items():
        html(path, answer)
    for path, answer in data(parts).items():
        json(path, answer)
    return app


def litestar(parts: Parts, plugins: Any = (), middleware: Any = ()) -> Any:
    import litestar as lib
    from litestar.exceptions import WebSocketDisconnect
    from litestar.response import Stream

    def html(path: str, answer: Answer) -> Any:
        async def page(id: str) -> str:  # noqa: A002
            return await answer(id)

        return lib.get(path, media_type=lib.MediaType.HTML)(page)

    def json(path: str, answer: Answer) -> Any:
        async def endpoint(id: str) -> dict[str, Any]:  # noqa: A002
            return await answer(id)

        return lib.get(path)(endpoint)

    async def stream(id: str) -> Any:  # noqa: A002
        return Stream(events(id), media_type="text/event-stream")

    async def echo(socket: Any) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect:
            pass

    stream.__annotations__["return"] = Stream
    echo.__annotations__["socket"] = lib.WebSocket
    handlers = [json(path, answer) for path, answer in data(parts).items()]
    handlers += [html(path, answer) for path, answer in pages(parts).items()]
    return lib.Litestar(
        [*handlers, lib.get("/events")(stream), lib.websocket("/echo")(echo)],
        debug=True,
        openapi_config=None,
        logging_config=None,
        plugins=list(plugins),
        middleware=list(middleware),
    )
