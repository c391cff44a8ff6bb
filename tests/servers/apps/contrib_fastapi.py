"""FastAPI with contrib's instrumentation put on by hand."""

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"hello": "world"}


FastAPIInstrumentor.instrument_app(app)
