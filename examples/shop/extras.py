"""What a shop has besides pages and an API: suggestions, an export, and a bug."""

import csv
import io
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from catalogue import featured_products, find_products
from database import Session, new_session
from models import Category, Product

SUGGESTIONS = 8
ROWS_PER_CHUNK = 20

logger = logging.getLogger("shop")
router = APIRouter()


class PriceUnavailable(Exception):
    pass


@router.get("/search")
async def search(
    session: Session, q: Annotated[str, Query(max_length=80)] = ""
) -> list[dict[str, Any]]:
    """What `static/search.js` asks for while somebody types."""
    if not q.strip():
        return []
    found = await find_products(session, q.strip(), limit=SUGGESTIONS)
    return [{"id": each.id, "name": each.name, "price": each.price} for each in found.products]


@router.get("/export.csv")
async def export() -> StreamingResponse:
    headers = {"Content-Disposition": 'attachment; filename="products.csv"'}
    return StreamingResponse(product_lines(), media_type="text/csv", headers=headers)


async def product_lines() -> AsyncIterator[str]:
    yield csv_lines([("id", "category", "name", "price")])
    # A session of its own: the stream is still read when the endpoint has long returned.
    async with new_session() as session:
        statement = (
            select(Product.id, Category.name, Product.name, Product.price)
            .join(Product.category)
            .order_by(Product.id)
            .execution_options(yield_per=ROWS_PER_CHUNK)
        )
        rows = await session.stream(statement)
        async for chunk in rows.partitions():
            yield csv_lines(chunk)


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


@router.get("/boom")
async def boom(session: Session) -> dict[str, int]:
    """Fails after a query and a log record, so that there is something to see before the error."""
    products = await featured_products(session)
    logger.warning("sharing the price of %d products among nobody", len(products))
    return {"share": share_of_price(products, people=0)}


def share_of_price(products: Iterable[Product], people: int) -> int:
    total = sum(product.price for product in products)
    try:
        return total // people
    except ZeroDivisionError as error:
        raise PriceUnavailable(f"cannot share {total} cents") from error
