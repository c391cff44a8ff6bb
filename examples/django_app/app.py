"""Django's ASGI handler in a single file, with synchronous SQLAlchemy in a synchronous view.

opentelemetry-instrument uvicorn app:app
"""

import asyncio
from collections.abc import AsyncIterator

import sqlalchemy as sa
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

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


async def home(request: HttpRequest) -> HttpResponse:
    items = "".join(f'<li><a href="{link}">{link}</a></li>' for link in LINKS)
    return HttpResponse(PAGE.format(title="Django", items=items))


async def json(request: HttpRequest, number: int) -> JsonResponse:
    return JsonResponse({"id": number})


def queries(request: HttpRequest) -> HttpResponse:
    """One query for the shelves, and one more for each of the six."""
    items = ""
    with engine.connect() as connection:
        for shelf in connection.scalars(sa.select(books.c.shelf).distinct()).all():
            titles = connection.scalars(sa.select(books.c.title).where(books.c.shelf == shelf))
            items += f"<li>{shelf}: {', '.join(titles)}</li>"
    return HttpResponse(PAGE.format(title="Shelves", items=items))


async def chunks() -> AsyncIterator[str]:
    for number in range(1, 6):
        yield f"chunk {number}\n"
        await asyncio.sleep(0.05)


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(chunks(), content_type="text/plain")


async def boom(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("this page always fails")


urlpatterns = [
    path("", home),
    path("json/<int:number>", json),
    path("queries", queries),
    path("stream", stream),
    path("boom", boom),
]
settings.configure(DEBUG=True, ROOT_URLCONF=__name__, SECRET_KEY="an example has none")
app = get_asgi_application()
