"""Finding products."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload

from models import Category, Product, Review


@dataclass(frozen=True)
class ProductPage:
    products: Sequence[Product]
    total: int
    limit: int
    offset: int

    @property
    def has_more(self) -> bool:
        return self.offset + self.limit < self.total


async def all_categories(session: AsyncSession) -> Sequence[Category]:
    return (await session.scalars(select(Category).order_by(Category.name))).all()


async def featured_products(session: AsyncSession) -> Sequence[Product]:
    statement = select(Product).where(Product.featured).order_by(Product.id)
    return (await session.scalars(statement.options(joinedload(Product.category)))).all()


async def find_products(
    session: AsyncSession, text: str = "", category: str = "", limit: int = 12, offset: int = 0
) -> ProductPage:
    conditions = filters(text, category)
    total = await session.scalar(select(func.count(Product.id)).where(*conditions))
    statement = (
        select(Product)
        .where(*conditions)
        .options(joinedload(Product.category))
        .order_by(Product.name)
        .limit(limit)
        .offset(offset)
    )
    products = (await session.scalars(statement)).all()
    return ProductPage(products, total or 0, limit, offset)


def filters(text: str, category: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if text:
        conditions.append(Product.name.icontains(text, autoescape=True))
    if category:
        conditions.append(Product.category.has(Category.slug == category))
    return conditions


async def find_product(session: AsyncSession, product_id: int) -> Product | None:
    """One product with its category, its reviews and who wrote them."""
    options = [
        joinedload(Product.category),
        selectinload(Product.reviews).joinedload(Review.customer),
    ]
    return await session.get(Product, product_id, options=options)
