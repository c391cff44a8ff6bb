"""A small shop, as an app has it."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(AsyncAttrs, DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    password: Mapped[str | None]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship()
    items: Mapped[list[Item]] = relationship()


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    name: Mapped[str]


def fill(session: Session, orders: int = 6) -> None:
    """`orders` orders of two items each; the first three are of one customer."""
    for number in range(1, orders + 1):
        session.add(Customer(id=number, name=f"customer {number}", password="hunter2"))
        session.add(Order(id=number, customer_id=1 if number <= 3 else number))
        for part in (1, 2):
            session.add(Item(order_id=number, name=f"item {part}"))
    session.commit()
