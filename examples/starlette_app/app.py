"""Starlette, with SQLAlchemy Core on aiosqlite.

opentelemetry-instrument uvicorn app:app
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><ul>{items}</ul></body>
</html>"""
LINKS = ["/queries", "/json/7", "/stream", "/boom"]
SHELVES = ["Bread", "Maps", "Plants", "Poems", "Ships", "Stars"]

engine = create_async_engine("sqlite+aiosqlite://")
metadata = MetaData()
books = Table(
    "books",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("shelf", String),
    Column("title", String),
)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    rows = [{"shelf": shelf, "title": f"{shelf} {n}"} for shelf in SHELVES for n in (1, 2, 3)]
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(books), rows)
    yield
    await engine.dispose()


async def home(request: Request) -> HTMLResponse:
    items = "".join(f'<li><a href="{link}">{link}</a></li>' for link in LINKS)
    return HTMLResponse(PAGE.format(title="Starlette", items=items))


async def json(request: Request) -> JSONResponse:
    return JSONResponse({"id": request.path_params["id"]})


async def queries(request: Request) -> HTMLResponse:
    """One query for the shelves, and one more for each of the six."""
    items = ""
    async with engine.connect() as connection:
        shelves = await connection.scalars(select(books.c.shelf).distinct())
        for shelf in shelves.all():
            titles = await connection.scalars(select(books.c.title).where(books.c.shelf == shelf))
            items += f"<li>{shelf}: {', '.join(titles)}</li>"
    return HTMLResponse(PAGE.format(title="Shelves", items=items))


async def chunks() -> AsyncIterator[str]:
    for number in range(1, 6):
        yield f"chunk {number}\n"
        await asyncio.sleep(0.05)


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(chunks(), media_type="text/plain")


async def boom(request: Request) -> HTMLResponse:
    raise RuntimeError("this page always fails")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", home),
        Route("/json/{id:int}", json),
        Route("/queries", queries),
        Route("/stream", stream),
        Route("/boom", boom),
    ],
)
