"""Starlette with a lifespan, and a query on request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

engine = sa.create_engine(
    "sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    yield


async def hello(request: Request) -> Response:
    return JSONResponse({"hello": "world"})


async def query(request: Request) -> Response:
    with engine.connect() as connection:
        return JSONResponse({"one": connection.scalar(sa.text("SELECT 1 AS one"))})


app = Starlette(routes=[Route("/hello", hello), Route("/query", query)], lifespan=lifespan)
