"""Starlette that asks a Redis (`REDIS_URL`), a cache in memory, and itself over HTTP."""

import os
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

BEFORE = sorted({"redis", "httpx", "aiohttp", "requests"} & set(sys.modules))
"""Libraries that were imported before the app asked for them."""

import httpx  # noqa: E402
import redis.asyncio  # noqa: E402
from aiocache import SimpleMemoryCache  # noqa: E402

cache = SimpleMemoryCache()


async def hello(request: Request) -> Response:
    return JSONResponse({"traceparent": request.headers.get("traceparent")})


async def before(request: Request) -> Response:
    return JSONResponse(BEFORE)


async def work(request: Request) -> Response:
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]) as client:
        await client.set("greeting", "hello")
        for _ in range(3):
            await client.get("greeting")
        async with client.pipeline() as pipe:
            await pipe.get("greeting").get("nothing").execute()
    await cache.get("user:1")
    here = f"http://127.0.0.1:{request.url.port}/hello"
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = [await client.get(here, params={"token": "hunter2hunter2"}) for _ in range(2)]
    return JSONResponse(answers[0].json())


app = Starlette(routes=[Route("/hello", hello), Route("/before", before), Route("/work", work)])
