"""The cart lives in a cookie: `7:1-12:2` is one of product 7 and two of product 12."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Cookie, Depends
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload
from starlette.responses import Response

from models import Product

COOKIE = "cart"
MAX_LINES = 50
MAX_QUANTITY = 99
LINE = re.compile(r"([0-9]{1,9}):([0-9]{1,2})")


@dataclass(frozen=True)
class CartLine:
    product: Product
    quantity: int

    @property
    def total(self) -> int:
        return self.quantity * self.product.price


@dataclass(frozen=True)
class Cart:
    quantities: dict[int, int]

    @classmethod
    def parse(cls, cookie: str) -> "Cart":
        # A cookie is the visitor's to change: what is not a line is left out.
        matches = [LINE.fullmatch(part) for part in cookie.split("-")[:MAX_LINES]]
        pairs = [(int(match[1]), int(match[2])) for match in matches if match]
        return cls({product_id: quantity for product_id, quantity in pairs if quantity})

    def serialize(self) -> str:
        return "-".join(f"{key}:{quantity}" for key, quantity in self.quantities.items())

    def add(self, product_id: int, quantity: int) -> "Cart":
        wanted = self.quantities.get(product_id, 0) + quantity
        return Cart({**self.quantities, product_id: min(wanted, MAX_QUANTITY)})

    @property
    def count(self) -> int:
        return sum(self.quantities.values())

    def save(self, response: Response) -> None:
        response.set_cookie(COOKIE, self.serialize(), httponly=True, samesite="lax")


def get_cart(cookie: Annotated[str, Cookie(alias=COOKIE)] = "") -> Cart:
    return Cart.parse(cookie)


CurrentCart = Annotated[Cart, Depends(get_cart)]


async def cart_lines(session: AsyncSession, cart: Cart) -> Sequence[CartLine]:
    if not cart.quantities:
        return []
    statement = (
        select(Product)
        .where(Product.id.in_(cart.quantities))
        .options(joinedload(Product.category))
        .order_by(Product.name)
    )
    products = await session.scalars(statement)
    return [CartLine(product, cart.quantities[product.id]) for product in products]
