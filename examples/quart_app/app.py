"""Quart, with a Jinja2 template and SQLAlchemy Core on aiosqlite.

opentelemetry-instrument uvicorn app:app
"""

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, Response, render_template_string
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{{ title }}</title></head>
<body>
<h1>{{ title }}</h1>
<ul>
{% for link in links %}<li><a href="{{ link }}">{{ link }}</a></li>{% endfor %}
{% for line in lines %}<li>{{ line }}</li>{% endfor %}
</ul>
</body>
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
app = Quart(__name__)


@app.before_serving
async def fill() -> None:
    rows = [{"shelf": shelf, "title": f"{shelf} {n}"} for shelf in SHELVES for n in (1, 2, 3)]
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(books), rows)


@app.after_serving
async def close() -> None:
    await engine.dispose()


@app.get("/")
async def home() -> str:
    return await render_template_string(PAGE, title="Quart", links=LINKS)


@app.get("/json/<int:number>")
async def json(number: int) -> dict[str, int]:
    return {"id": number}


@app.get("/queries")
async def queries() -> str:
    """One query for the shelves, and one more for each of the six."""
    lines = []
    async with engine.connect() as connection:
        shelves = await connection.scalars(select(books.c.shelf).distinct())
        for shelf in shelves.all():
            titles = await connection.scalars(select(books.c.title).where(books.c.shelf == shelf))
            lines.append(f"{shelf}: {', '.join(titles)}")
    return await render_template_string(PAGE, title="Shelves", lines=lines)


async def chunks() -> AsyncIterator[str]:
    for number in range(1, 6):
        yield f"chunk {number}\n"
        await asyncio.sleep(0.05)


@app.get("/stream")
async def stream() -> Response:
    return Response(chunks(), mimetype="text/plain")


@app.get("/boom")
async def boom() -> str:
    raise RuntimeError("this page always fails")
