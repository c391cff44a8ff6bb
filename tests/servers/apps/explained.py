"""Queries that are explained: a SELECT with a secret, and one that writes."""

import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

engine = create_async_engine(os.environ["SHOP_DATABASE_URL"])


async def ask(request):
    async with engine.begin() as connection:
        await connection.execute(
            text("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, password TEXT)")
        )
        for _ in range(int(request.query_params.get("times", 0))):
            await connection.execute(text("SELECT 1"))
        found = await connection.execute(
            text("SELECT id FROM users WHERE password = :password"),
            {"password": os.environ["CANARY"]},
        )
        await connection.execute(text("DELETE FROM users"))
    return HTMLResponse(f"<body>{len(found.all())}</body>")


app = Starlette(routes=[Route("/", ask)])
