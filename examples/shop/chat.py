"""A chat that answers with products: one websocket for each visitor."""

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

from catalogue import find_products
from database import new_session
from templating import templates

MAX_QUESTION = 80
ANSWERS = 5

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/help")
async def help_page(request: Request) -> Response:
    return templates.TemplateResponse(request, "help.html", {})


@router.websocket("/help/chat")
async def chat(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json({"text": "What are you looking for?", "products": []})
    with suppress(WebSocketDisconnect):
        while True:
            await socket.send_json(await answer(await socket.receive_text()))


async def answer(question: str) -> dict[str, Any]:
    # A session for each question: the connection may stay open for hours.
    async with new_session() as session:
        found = await find_products(session, question.strip()[:MAX_QUESTION], limit=ANSWERS)
        products = [{"id": each.id, "name": each.name} for each in found.products]
    return {"text": f"{found.total} of our products are called that.", "products": products}
