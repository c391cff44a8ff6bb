"""A small online shop: FastAPI, Jinja2 and SQLAlchemy.

    opentelemetry-instrument uvicorn app:app

Without OpenTelemetry, `uvicorn app:app` runs the very same shop.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.sessions import SessionMiddleware

import api
import chat
import delivery
import extras
import pages
from database import engine, prepare_database
from templating import templates

HERE = Path(__file__).parent

logging.basicConfig(format="%(levelname)s: %(name)s: %(message)s")
logging.getLogger("shop").setLevel(logging.INFO)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await prepare_database()
    yield
    await delivery.client.aclose()
    await engine.dispose()


async def not_found(request: Request, error: Exception) -> Response:
    """A page for people, JSON for programs."""
    assert isinstance(error, StarletteHTTPException)
    if "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    context = {"detail": error.detail}
    return templates.TemplateResponse(request, "not_found.html", context, status_code=404)


app = FastAPI(title="Harbour Goods", lifespan=lifespan)
app.add_middleware(
    SessionMiddleware, secret_key=os.environ.get("SHOP_SECRET", "an example has none")
)
app.add_exception_handler(404, not_found)
app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
app.include_router(pages.router)
app.include_router(extras.router)
app.include_router(delivery.pages)
app.include_router(delivery.partners)
app.include_router(chat.router)
app.include_router(api.router)
