"""Litestar, with SQLAlchemy's async ORM.

opentelemetry-instrument uvicorn app:app
"""

import asyncio
from collections.abc import AsyncIterator

from litestar import Litestar, MediaType, Request, Response, get
from litestar.events import listener
from litestar.response import Stream
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><ul>{items}</ul></body>
</html>"""
LINKS = ["/queries", "/json/7", "/lend/3", "/lend/99", "/stream", "/boom"]
SHELVES = ["Bread", "Maps", "Plants", "Poems", "Ships", "Stars"]

engine = create_async_engine("sqlite+aiosqlite://")
new_session = async_sessionmaker(engine)


class Base(DeclarativeBase):
    pass


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf: Mapped[str]
    title: Mapped[str]


async def fill() -> None:
    rows = [{"shelf": shelf, "title": f"{shelf} {n}"} for shelf in SHELVES for n in (1, 2, 3)]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Book), rows)


@get("/", media_type=MediaType.HTML)
async def home() -> str:
    items = "".join(f'<li><a href="{link}">{link}</a></li>' for link in LINKS)
    return PAGE.format(title="Litestar", items=items)


@get("/json/{number:int}")
async def json(number: int) -> dict[str, int]:
    return {"id": number}


@get("/queries", media_type=MediaType.HTML)
async def queries() -> str:
    """One query for the shelves, and one more for each of the six."""
    items = ""
    async with new_session() as session:
        for shelf in (await session.scalars(select(Book.shelf).distinct())).all():
            found = await session.scalars(select(Book).where(Book.shelf == shelf))
            items += f"<li>{shelf}: {', '.join(book.title for book in found)}</li>"
    return PAGE.format(title="Shelves", items=items)


class NotOnTheShelf(Exception):
    pass


@listener("lent")
async def write_down(book: int) -> None:
    async with new_session() as session:
        await session.get(Book, book)


@listener("lent")
async def tell_the_desk(book: int) -> None:
    await asyncio.sleep(0.02)


@get("/lend/{book:int}")
async def lend(book: int, request: Request) -> dict[str, int]:
    """Its event's listeners run after the response, and are in its trace."""
    if book > len(SHELVES) * 3:
        raise NotOnTheShelf
    request.app.emit("lent", book)
    return {"lent": book}


async def look_at(request: Request) -> None:
    """Litestar calls it before each route handler."""


def not_there(request: Request, error: NotOnTheShelf) -> Response[str]:
    return Response("there is no such book", status_code=404)


async def chunks() -> AsyncIterator[str]:
    for number in range(1, 6):
        yield f"chunk {number}\n"
        await asyncio.sleep(0.05)


@get("/stream")
async def stream() -> Stream:
    return Stream(chunks(), media_type=MediaType.TEXT)


@get("/boom")
async def boom() -> None:
    raise RuntimeError("this page always fails")


app = Litestar(
    [home, json, queries, lend, stream, boom],
    before_request=look_at,
    exception_handlers={NotOnTheShelf: not_there},
    listeners=[write_down, tell_the_desk],
    on_startup=[fill],
    on_shutdown=[engine.dispose],
    debug=True,
)
