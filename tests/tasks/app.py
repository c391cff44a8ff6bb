"""An app whose requests do with the event loop what apps do: the recorded traces are of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

kept: set[asyncio.Task[Any]] = set()


async def fetch_price(number: int) -> int:
    await asyncio.sleep(0.004 * number)
    return number


async def reserve_stock(number: int) -> None:
    await asyncio.sleep(0.03)
    if number == 2:
        raise LookupError("no stock of item 2")


async def send_mail() -> None:
    await asyncio.sleep(1.5)


async def price_all() -> list[int]:
    if not hasattr(asyncio, "TaskGroup"):
        return await asyncio.gather(*(fetch_price(number) for number in range(1, 6)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetch_price(n), name=f"price {n}") for n in range(1, 6)]
    return [task.result() for task in tasks]


def render_invoice(number: int) -> str:
    time.sleep(0.15)
    return f"invoice {number}"


def read_file() -> int:
    time.sleep(0.02)
    return 7


async def nested(request: Request) -> Response:
    loop = asyncio.get_running_loop()
    pricing = asyncio.create_task(price_all(), name="pricing")
    stock = asyncio.gather(*(reserve_stock(n) for n in range(3)), return_exceptions=True)
    slow = asyncio.create_task(asyncio.sleep(60, "never"), name="slow")
    await asyncio.to_thread(read_file)
    await loop.run_in_executor(None, read_file)
    await pricing
    await stock
    slow.cancel()
    kept.add(asyncio.create_task(send_mail(), name="mail"))
    await asyncio.sleep(0.012)
    return JSONResponse({"invoice": render_invoice(1)})


async def block(request: Request) -> Response:
    time.sleep(float(request.query_params.get("seconds", 0.15)))
    return PlainTextResponse("blocked")


async def wait(request: Request) -> Response:
    for _ in range(30):
        await asyncio.sleep(0.01)
    return PlainTextResponse("waited")


async def many(request: Request) -> Response:
    async def one(number: int) -> None:
        for _ in range(number % 5 + 1):
            await asyncio.sleep(0.002)

    await asyncio.gather(*(one(number) for number in range(request.path_params["count"])))
    return PlainTextResponse("many")


async def stream(request: Request) -> Response:
    async def chunks() -> Any:
        for number in range(3):
            await asyncio.sleep(0.011)
            yield str(number)

    return StreamingResponse(chunks())


async def pass_on(request: Request, call_next: Any) -> Response:
    return await call_next(request)


ROUTES = [
    Route("/nested", nested),
    Route("/block", block),
    Route("/wait", wait),
    Route("/many/{count:int}", many),
    Route("/stream", stream),
]
app = Starlette(routes=ROUTES)
layered = Starlette(routes=ROUTES, middleware=[Middleware(BaseHTTPMiddleware, dispatch=pass_on)])
