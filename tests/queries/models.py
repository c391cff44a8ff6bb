"""A small shop, as an app has it."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import Column, ForeignKey, String, Table
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    deferred,
    mapped_column,
    relationship,
)


class Base(AsyncAttrs, DeclarativeBase):
    type_annotation_map: ClassVar = {str: String(100)}  # MariaDB wants a length


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


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


tagged = Table(
    "tagged",
    Base.metadata,
    Column("article_id", ForeignKey("articles.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Article(Base):
    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = deferred(mapped_column(String(1000)))
    tags: Mapped[list[Tag]] = relationship(secondary=tagged)


class Node(Base):
    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    children: Mapped[list[Node]] = relationship()


class Employee(Base):
    __tablename__ = "employees"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}


class Engineer(Employee):
    __tablename__ = "engineers"
    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    language: Mapped[str]
    __mapper_args__: ClassVar = {"polymorphic_identity": "engineer"}


def fill_more(session: Session) -> None:
    """Six articles with a tag each, a tree of a root, two branches and six leaves, six engineers."""
    for number in range(1, 7):
        tag = Tag(id=number, name=f"tag {number}")
        session.add(Article(id=number, body="long", tags=[tag]))
        session.add(Engineer(id=number, language="Python"))
    session.add(Node(id=1))
    session.flush()
    session.add_all(Node(id=number, parent_id=1) for number in (2, 3))
    session.flush()
    session.add_all(Node(id=number, parent_id=2 + number % 2) for number in range(4, 10))
    session.commit()


def fill(session: Session, orders: int = 6) -> None:
    """`orders` orders of two items each; the first three are of one customer."""
    for number in range(1, orders + 1):
        session.add(Customer(id=number, name=f"customer {number}", password="hunter2"))
        session.flush()
        session.add(Order(id=number, customer_id=1 if number <= 3 else number))
        session.flush()
        for part in (1, 2):
            session.add(Item(order_id=number, name=f"item {part}"))
    session.commit()
