"""Litestar with its own plugin for OpenTelemetry."""

from litestar import Litestar, get
from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin


@get("/hello")
async def hello() -> dict[str, str]:
    return {"hello": "world"}


app = Litestar([hello], plugins=[OpenTelemetryPlugin(OpenTelemetryConfig())])
