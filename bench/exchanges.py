"""One exchange with an ASGI app by hand: no server and no socket."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

HEADERS = [
    (b"host", b"localhost:8000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    (b"accept", b"text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.9"),
    (b"cookie", b"theme=dark; lang=en"),
    (b"connection", b"keep-alive"),
]


def scope(kind: str, path: str, query: bytes) -> dict[str, Any]:
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": list(HEADERS),
        "client": ("127.0.0.1", 5000),
        "server": ("localhost", 8000),
        "state": {},
    }


async def get(app: Any, path: str, rid: str) -> bytes:
    """The body of a GET; raises AssertionError unless it is complete, 200, and of this very request."""
    asked = False
    status = 0
    body: list[bytes] = []
    done = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            body.append(message.get("body", b""))
            if not message.get("more_body"):
                done.set()

    await app(scope("http", path, b"id=" + rid.encode()) | {"method": "GET"}, receive, send)
    whole = b"".join(body)
    if status != 200 or not done.is_set() or rid.encode() not in whole:
        raise AssertionError(f"{path}: {status} {whole[:200]!r}")
    return whole


async def converse(app: Any, path: str, count: int) -> None:
    """A websocket connection that sends `count` messages and must have each of them back."""
    texts = [f"hello {number}" for number in range(count)]
    incoming = deque[dict[str, Any]]([{"type": "websocket.connect"}])
    incoming += [{"type": "websocket.receive", "text": text} for text in texts]
    echoed: list[str] = []

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.popleft()
        return {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            echoed.append(message["text"])

    await app(scope("websocket", path, b"") | {"subprotocols": []}, receive, send)
    if echoed != texts:
        raise AssertionError(f"{path}: {len(echoed)} of {count} messages came back")
