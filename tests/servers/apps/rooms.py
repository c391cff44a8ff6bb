"""The same room in four frameworks, and in FastAPI and Litestar with telemetry of others."""

import os

KIND = os.environ["ROOMS"]

if KIND == "starlette":
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    async def room(socket):
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    app = Starlette(routes=[WebSocketRoute("/rooms/{name}", room)])

elif KIND == "fastapi":
    from fastapi import FastAPI, WebSocket

    app = FastAPI()

    @app.websocket("/rooms/{name}")
    async def room(socket: WebSocket, name: str) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

elif KIND in ("litestar", "litestar-plugin"):
    from litestar import Litestar, websocket_listener
    from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin

    @websocket_listener("/rooms/{name:str}")
    async def room(data: str, name: str) -> str:
        return data

    plugins = [OpenTelemetryPlugin(OpenTelemetryConfig())] if KIND == "litestar-plugin" else []
    app = Litestar([room], plugins=plugins)

elif KIND == "quart":
    from quart import Quart, websocket

    app = Quart(__name__)

    @app.websocket("/rooms/<name>")
    async def room(name):
        while True:
            await websocket.send(await websocket.receive())

else:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    from sockets import app as inner

    app = OpenTelemetryMiddleware(inner)
