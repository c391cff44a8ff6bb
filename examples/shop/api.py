"""The JSON API under /api."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from cart import MAX_LINES, MAX_QUANTITY
from catalogue import find_product, find_products
from database import Session
from models import Product
from orders import UnknownCustomer, UnknownProduct, place_order

router = APIRouter(prefix="/api", tags=["api"])


class FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class CategoryOut(FromRow):
    slug: str
    name: str


class ProductOut(FromRow):
    id: int
    name: str
    price: int = Field(description="in cents")
    category: CategoryOut


class ReviewOut(FromRow):
    rating: int
    text: str


class ProductDetail(ProductOut):
    description: str
    reviews: list[ReviewOut]


class ProductList(FromRow):
    products: list[ProductOut]
    total: int
    limit: int
    offset: int


class Line(BaseModel):
    product_id: int
    quantity: int = Field(ge=1, le=MAX_QUANTITY)


class OrderIn(BaseModel):
    customer_id: int
    lines: list[Line] = Field(min_length=1, max_length=MAX_LINES)

    def quantities(self) -> dict[int, int]:
        wanted: dict[int, int] = {}
        for line in self.lines:
            wanted[line.product_id] = wanted.get(line.product_id, 0) + line.quantity
        return wanted


class OrderOut(FromRow):
    id: int
    status: str
    total: int = Field(description="in cents")


@router.get("/products", response_model=ProductList)
async def list_products(
    session: Session,
    q: Annotated[str, Query(max_length=80)] = "",
    category: str = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Any:
    return await find_products(session, q, category, limit, offset)


@router.get("/products/{product_id}", response_model=ProductDetail)
async def get_product(session: Session, product_id: int) -> Product:
    product = await find_product(session, product_id)
    if product is None:
        raise HTTPException(404, f"no product {product_id}")
    return product


@router.post("/orders", status_code=201, response_model=OrderOut)
async def create_order(session: Session, wanted: OrderIn) -> Any:
    try:
        return await place_order(session, wanted.customer_id, wanted.quantities())
    except (UnknownCustomer, UnknownProduct) as error:
        raise HTTPException(404, str(error)) from error
