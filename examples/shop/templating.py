"""Jinja2 with the shop's filters, and what every page shows in its header."""

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.templating import Jinja2Templates

from account import get_account
from cart import COOKIE, Cart


def header(request: Request) -> dict[str, Any]:
    return {
        "account": get_account(request),
        "cart_count": Cart.parse(request.cookies.get(COOKIE, "")).count,
    }


def money(cents: int) -> str:
    return f"€{cents / 100:,.2f}"


templates = Jinja2Templates(
    directory=Path(__file__).parent / "templates", context_processors=[header]
)
templates.env.filters["money"] = money
