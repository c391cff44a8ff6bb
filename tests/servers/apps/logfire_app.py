"""logfire in the app."""

import os

import logfire
from fastapi import FastAPI

import otel_toolbar

logfire.configure(send_to_logfire=False, console=False)
app = FastAPI()
logfire.instrument_fastapi(app)


@app.get("/hello")
async def hello() -> dict[str, str]:
    with logfire.span("work"):
        return {"hello": "world"}


if os.environ.get("WRAP"):
    app = otel_toolbar.wrap(app)
