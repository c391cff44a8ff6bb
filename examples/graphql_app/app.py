"""Strawberry under FastAPI: a small library, its books asked one by one and all at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import strawberry
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool
from strawberry.dataloader import DataLoader
from strawberry.fastapi import GraphQLRouter

ENGINE = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
AUTHORS = ["Ada Akers", "Bo Berg", "Cleo Cole", "Dag Dahl", "Eve Ekman", "Finn Falk"]
ALL = text("SELECT author_id, title FROM book WHERE author_id IN :ids").bindparams(
    bindparam("ids", expanding=True)
)

ONE_BY_ONE = "query Shelf { authors { name titles } }"
AT_ONCE = "query Shelf { authors { name titlesAtOnce } }"
LOST = "query Loans { authors { name loan } }"


async def titles_of(ids: list[int]) -> list[list[str]]:
    """The books of several authors, in one query."""
    async with ENGINE.connect() as connection:
        rows = (await connection.execute(ALL, {"ids": ids})).all()
    return [[row.title for row in rows if row.author_id == each] for each in ids]


@strawberry.type
class Author:
    id: int
    name: str

    @strawberry.field
    async def titles(self) -> list[str]:
        """One query for each author: the N+1."""
        query = text("SELECT title FROM book WHERE author_id = :id")
        async with ENGINE.connect() as connection:
            return list((await connection.execute(query, {"id": self.id})).scalars())

    @strawberry.field
    async def titles_at_once(self, info: strawberry.Info) -> list[str]:
        """Its fixed twin: a DataLoader."""
        return await info.context["titles"].load(self.id)

    @strawberry.field
    def loan(self) -> str | None:
        if self.id == 3:
            raise LookupError(f"the loan of {self.name} cannot be found")
        return f"until June {self.id}"


@strawberry.type
class Query:
    @strawberry.field
    async def authors(self) -> list[Author]:
        async with ENGINE.connect() as connection:
            rows = await connection.execute(text("SELECT id, name FROM author ORDER BY id"))
            return [Author(id=row.id, name=row.name) for row in rows]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with ENGINE.begin() as connection:
        await connection.execute(text("CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT)"))
        await connection.execute(text("CREATE TABLE book (author_id INTEGER, title TEXT)"))
        for number, name in enumerate(AUTHORS, 1):
            values = {"id": number, "name": name, "title": f"What {name} knew"}
            await connection.execute(text("INSERT INTO author VALUES (:id, :name)"), values)
            await connection.execute(text("INSERT INTO book VALUES (:id, :title)"), values)
    yield
    await ENGINE.dispose()


async def context() -> dict[str, object]:
    return {"titles": DataLoader(titles_of)}


app = FastAPI(lifespan=lifespan)
app.include_router(
    GraphQLRouter(strawberry.Schema(Query), context_getter=context), prefix="/graphql"
)


@app.get("/", response_class=HTMLResponse)
async def home() -> str:
    links = "".join(
        f'<li><a href="/graphql?query={quote(query)}"><code>{query}</code></a></li>'
        for query in (ONE_BY_ONE, AT_ONCE, LOST)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Library</title></head>'
        f'<body><h1>Library</h1><ul>{links}</ul><p><a href="/graphql">GraphiQL</a></p></body></html>'
    )
