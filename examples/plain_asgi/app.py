"""ASGI without a framework, and synchronous SQLAlchemy in a thread.

opentelemetry-instrument uvicorn app:app
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><ul>{items}</ul></body>
</html>"""
LINKS = ["/queries", "/json/7", "/stream", "/boom"]
SHELVES = ["Bread", "Maps", "Plants", "Poems", "Ships", "Stars"]

# One connection for all threads: a second one would open an empty database of its own.
engine = sa.create_engine(
    "sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
)
metadata = sa.MetaData()
books = sa.Table(
    "books",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("shelf", sa.String),
    sa.Column("title", sa.String),
)
with engine.begin() as first:
    metadata.create_all(first)
    rows = [{"shelf": shelf, "title": f"{shelf} {n}"} for shelf in SHELVES for n in (1, 2, 3)]
    first.execute(sa.insert(books), rows)


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    path = scope["path"]
    if path == "/":
        items = "".join(f'<li><a href="{link}">{link}</a></li>' for link in LINKS)
        await respond(send, PAGE.format(title="Plain ASGI", items=items))
    elif path.startswith("/json/"):
        await respond(send, json.dumps({"id": path.removeprefix("/json/")}), "application/json")
    elif path == "/queries":
        await respond(send, await asyncio.to_thread(shelves_page))
    elif path == "/stream":
        await stream(send)
    elif path == "/boom":
        raise RuntimeError("this page always fails")
    else:
        await respond(send, "Not found", "text/plain", status=404)


async def start(send: Send, content_type: str, status: int = 200) -> None:
    headers = [(b"content-type", f"{content_type}; charset=utf-8".encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def respond(
    send: Send, text: str, content_type: str = "text/html", status: int = 200
) -> None:
    await start(send, content_type, status)
    await send({"type": "http.response.body", "body": text.encode()})


async def stream(send: Send) -> None:
    await start(send, "text/plain")
    for number in range(1, 6):
        chunk = f"chunk {number}\n".encode()
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body"})


def shelves_page() -> str:
    """One query for the shelves, and one more for each of the six."""
    items = ""
    with engine.connect() as connection:
        for shelf in connection.scalars(sa.select(books.c.shelf).distinct()).all():
            titles = connection.scalars(sa.select(books.c.title).where(books.c.shelf == shelf))
            items += f"<li>{shelf}: {', '.join(titles)}</li>"
    return PAGE.format(title="Shelves", items=items)
