"""The toolbar by hand, as a wrapper and as a middleware."""

import os

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

import otel_toolbar

app = FastAPI()


@app.get("/hello", response_class=HTMLResponse)
async def hello() -> str:
    return "<html><head></head><body>hello</body></html>"


if os.environ.get("BY_HAND") == "middleware":
    app.add_middleware(otel_toolbar.ToolbarMiddleware, token="secret")
else:
    app = otel_toolbar.wrap(otel_toolbar.wrap(app, path="/debug"))
