"""Websockets without a framework: the path says what the handler does."""

import asyncio


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["type"] == "http":
        await _http(scope, receive, send)
    else:
        await _websocket(scope, receive, send)


async def _http(scope, receive, send):
    if scope["path"] == "/events":
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.ensure_future(_gone(receive))
        for number in range(1000):
            if gone.done():
                return
            body = b": ping\n\n" if number % 2 else b"data: %d\n\n" % number
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"sockets"})


async def _gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def _websocket(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    path = scope["path"]
    if path == "/denied":
        await send({"type": "websocket.close", "reason": "not you"})
    elif path == "/response":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"who are you"})
    elif path == "/early":
        raise RuntimeError("before the answer")
    elif path != "/silent":
        offered = scope.get("subprotocols")
        await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
        await _talk(path, receive, send)


async def _talk(path, receive, send):
    if path.startswith("/close/"):
        await send(
            {"type": "websocket.close", "code": int(path.rpartition("/")[2]), "reason": "enough"}
        )
        return
    while (message := await receive())["type"] == "websocket.receive":
        if path == "/boom":
            raise RuntimeError("while open")
        if path == "/return":
            return
        await send(message | {"type": "websocket.send"})
