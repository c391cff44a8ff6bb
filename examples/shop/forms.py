"""HTML forms into pydantic models, without a multipart parser: the shop uploads no files."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from cart import MAX_QUANTITY

Model = TypeVar("Model", bound=BaseModel)


class AddToCart(BaseModel):
    product_id: int
    quantity: int = Field(default=1, ge=1, le=MAX_QUANTITY)


class Login(BaseModel):
    email: str = Field(max_length=120)
    password: str = Field(max_length=120)


def form(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency that reads `model` from an urlencoded body; a bad one is answered with 422."""

    async def read(request: Request) -> Model:
        fields = dict(parse_qsl((await request.body()).decode(errors="replace")))
        try:
            return model.model_validate(fields)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error

    return read
