"""FastAPI, whose own telemetry makes a log record of an exception."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/boom")
async def boom() -> None:
    raise RuntimeError("always")
