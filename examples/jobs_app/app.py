"""Starlette with SAQ: pages that send jobs, and a worker that runs them.

opentelemetry-instrument uvicorn app:app               # with the worker in the same process
JOBS_WORKER=none opentelemetry-instrument uvicorn app:app
opentelemetry-instrument saq worker.settings           # beside it, as a process of its own
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from saq import Worker
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from worker import queue, settings

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><ul>{items}</ul></body>
</html>"""
LINKS = ["/send", "/loop", "/batched", "/sum", "/later", "/again", "/fails"]


async def home(request: Request) -> Response:
    items = "".join(f'<li><a href="{link}">{link}</a></li>' for link in LINKS)
    return HTMLResponse(PAGE.format(title="Jobs", items=items))


async def send(request: Request) -> Response:
    """One job."""
    job = await queue.enqueue("send_letter", to="ada.akers@example.com", token="s3cr3t")
    return HTMLResponse(PAGE.format(title="Sent", items=f"<li>{job.id if job else 'refused'}</li>"))


async def loop(request: Request) -> Response:
    """A job for each of twelve: the N+1."""
    for customer in range(1, 13):
        await queue.enqueue("send_newsletter", customer=customer)
    return HTMLResponse(PAGE.format(title="Sent one by one", items="<li>12 jobs</li>"))


async def batched(request: Request) -> Response:
    """The same as one job."""
    await queue.enqueue("send_newsletters", customers=list(range(1, 13)))
    return HTMLResponse(PAGE.format(title="Sent together", items="<li>1 job</li>"))


async def total(request: Request) -> Response:
    """Results that are waited for: `map` sends all of them at once."""
    pairs = [{"a": number, "b": number + 1} for number in range(4)]
    return JSONResponse(await queue.map("add", pairs, timeout=10))


async def later(request: Request) -> Response:
    await queue.enqueue("send_letter", to="bo.berg@example.com", scheduled=int(time.time()) + 3600)
    return JSONResponse({"sent": "for in an hour"})


async def again(request: Request) -> Response:
    """Two with one key: the queue refuses the second."""
    due = int(time.time()) + 3600
    taken = [await queue.enqueue("nightly", key="nightly", scheduled=due) for _ in range(2)]
    return JSONResponse([job is not None for job in taken])


async def fails(request: Request) -> Response:
    """It fails, is tried again, and fails for good."""
    await queue.enqueue("always_fails", retries=2)
    return JSONResponse({"sent": 1})


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    await queue.connect()
    if os.environ.get("JOBS_WORKER") == "none":
        yield
        await queue.disconnect()
        return
    worker = Worker(**settings)
    worker.SIGNALS = []  # they are the server's
    running = asyncio.create_task(worker.start())
    yield
    await worker.stop()
    await running
    await queue.disconnect()


app = Starlette(
    routes=[
        Route("/", home),
        Route("/send", send),
        Route("/loop", loop),
        Route("/batched", batched),
        Route("/sum", total),
        Route("/later", later),
        Route("/again", again),
        Route("/fails", fails),
    ],
    lifespan=lifespan,
)
