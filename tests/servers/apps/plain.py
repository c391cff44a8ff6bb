"""ASGI without a framework and without a lifespan."""


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    known = scope["path"] == "/hello"
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200 if known else 404, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello" if known else b"not found"})
