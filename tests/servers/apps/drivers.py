"""Starlette that asks PostgreSQL (`POSTGRESQL`), MariaDB (`MARIADB`, as JSON) and SQLite, each by its driver."""

import json
import os
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

BEFORE = sorted({"asyncpg", "psycopg", "pymysql"} & set(sys.modules))
"""Drivers that were imported before the app asked for them."""

import aiosqlite  # noqa: E402
import asyncpg  # noqa: E402
import pymysql  # noqa: E402
from psycopg import AsyncConnection  # noqa: E402

POSTGRESQL = os.environ["POSTGRESQL"]
MARIADB = json.loads(os.environ["MARIADB"])


async def before(request: Request) -> Response:
    return JSONResponse(BEFORE)


async def work(request: Request) -> Response:
    async with aiosqlite.connect(":memory:") as connection:
        await connection.execute("SELECT 'aiosqlite'")
    connection = await asyncpg.connect(POSTGRESQL)
    await connection.fetchval("SELECT 'asyncpg'")
    await connection.close()
    async with await AsyncConnection.connect(POSTGRESQL) as connection:
        await connection.execute("SELECT 'psycopg'")
    with pymysql.connect(**MARIADB) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 'pymysql'")
    return JSONResponse({})


app = Starlette(routes=[Route("/before", before), Route("/work", work)])
