"""The figures of /admin/report: four questions, asked at the same time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, ScalarSelect, extract, func, select
from sqlalchemy.orm import aliased

from database import new_session
from models import Category, Customer, Order, OrderItem, Product

Rows = Sequence[Row[Any]]

revenue = func.sum(OrderItem.quantity * OrderItem.unit_price)


@dataclass(frozen=True)
class Report:
    categories: Rows
    customers: Rows
    pairs: Rows
    growth: Rows


async def make_report() -> Report:
    # A session holds one connection and runs one statement at a time: a session each.
    return Report(
        *await asyncio.gather(
            fetch(revenue_by_category()),
            fetch(best_customers()),
            fetch(bought_together()),
            fetch(growth_by_month()),
        )
    )


async def fetch(statement: Executable) -> Rows:
    async with new_session() as session:
        return (await session.execute(statement)).all()


def revenue_by_category() -> Executable:
    return (
        select(Category.name, func.count(OrderItem.id), revenue)
        .join(Category.products)
        .join(OrderItem, OrderItem.product_id == Product.id)
        .group_by(Category.name)
        .order_by(revenue.desc())
    )


def best_customers(limit: int = 8) -> Executable:
    return (
        select(Customer.name, func.count(Order.id.distinct()), revenue)
        .join(Customer.orders)
        .join(Order.items)
        .group_by(Customer.id, Customer.name)
        .order_by(revenue.desc())
        .limit(limit)
    )


def bought_together(limit: int = 8) -> Executable:
    one, other = aliased(OrderItem), aliased(OrderItem)
    first, second = aliased(Product), aliased(Product)
    times = func.count(one.id)
    return (
        select(first.name, second.name, times)
        .select_from(one)
        .join(other, (other.order_id == one.order_id) & (one.product_id < other.product_id))
        .join(first, first.id == one.product_id)
        .join(second, second.id == other.product_id)
        .group_by(first.name, second.name)
        .order_by(times.desc(), first.name, second.name)
        .limit(limit)
    )


def growth_by_month() -> Executable:
    """Year, month, and how many customers, products and cents until then. Slow on purpose.

    Every line adds up all lines before it; a window function would read them once.
    """
    year, month = extract("year", Order.placed_at), extract("month", Order.placed_at)
    earlier, item = aliased(Order), aliased(OrderItem)
    customers = until_then(earlier, item, func.count(earlier.customer_id.distinct()))
    products = until_then(earlier, item, func.count(item.product_id.distinct()))
    cents = until_then(earlier, item, func.sum(item.quantity * item.unit_price))
    return (
        select(year, month, func.max(customers), func.max(products), func.max(cents))
        .join(Order.items)
        .group_by(year, month)
        .order_by(year, month)
    )


def until_then(
    earlier: type[Order], item: type[OrderItem], figure: ColumnElement[int]
) -> ScalarSelect[int]:
    return (
        select(figure)
        .select_from(earlier)
        .join(item, item.order_id == earlier.id)
        .where(earlier.placed_at <= Order.placed_at)
        .scalar_subquery()
    )
