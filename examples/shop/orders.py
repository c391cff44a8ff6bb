"""Listing and placing orders.

`recent_orders_one_by_one` and `recent_orders` give the same orders. The first asks the
database once for every order and once for every product in it, the second three times in all.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload

from database import new_session
from models import Customer, Order, OrderItem, Product

logger = logging.getLogger("shop.orders")


class UnknownCustomer(LookupError):
    pass


class UnknownProduct(LookupError):
    pass


def newest(limit: int) -> Select[Order]:
    return select(Order).options(joinedload(Order.customer)).order_by(Order.id.desc()).limit(limit)


async def recent_orders_one_by_one(session: AsyncSession, limit: int = 20) -> Sequence[Order]:
    orders = (await session.scalars(newest(limit))).all()
    for order in orders:
        for item in await order.awaitable_attrs.items:
            await item.awaitable_attrs.product
    return orders


async def recent_orders(session: AsyncSession, limit: int = 20) -> Sequence[Order]:
    with_items = selectinload(Order.items).selectinload(OrderItem.product)
    return (await session.scalars(newest(limit).options(with_items))).all()


async def find_order(session: AsyncSession, order_id: int) -> Order | None:
    options = [
        joinedload(Order.customer),
        selectinload(Order.items).joinedload(OrderItem.product),
    ]
    return await session.get(Order, order_id, options=options)


async def place_order(
    session: AsyncSession, customer_id: int, quantities: Mapping[int, int]
) -> Order:
    """`quantities` is how many of which product id."""
    if await session.get(Customer, customer_id) is None:
        raise UnknownCustomer(f"no customer {customer_id}")
    prices = await product_prices(session, quantities)
    order = Order(
        customer_id=customer_id,
        items=[
            OrderItem(product_id=key, quantity=quantity, unit_price=prices[key])
            for key, quantity in quantities.items()
        ],
    )
    session.add(order)
    await session.commit()
    logger.info("order %d placed by customer %d", order.id, customer_id)
    return order


async def product_prices(session: AsyncSession, quantities: Mapping[int, int]) -> dict[int, int]:
    rows = await session.execute(
        select(Product.id, Product.price).where(Product.id.in_(quantities))
    )
    prices = {row.id: row.price for row in rows}
    missing = sorted(quantities.keys() - prices.keys())
    if missing:
        raise UnknownProduct(f"no product {', '.join(map(str, missing))}")
    return prices


async def send_receipt(order_id: int) -> None:
    """Runs after the response, so it opens a session of its own."""
    async with new_session() as session:
        order = await find_order(session, order_id)
        if order is None:
            logger.warning("order %d is gone, no receipt sent", order_id)
            return
        await asyncio.sleep(0.05)  # A mail server would take about as long.
        logger.info("receipt for order %d sent to %s", order_id, order.customer.email)
