"""A Strawberry schema under FastAPI: lists that load one by one and at once, errors, a subscription."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import strawberry
from fastapi import FastAPI
from graphql import GraphQLError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool
from strawberry.dataloader import DataLoader
from strawberry.fastapi import GraphQLRouter
from strawberry.schema.config import StrawberryConfig

ENGINE = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)


async def names(ids: Sequence[int]) -> dict[int, str]:
    listed = ", ".join(map(str, ids))
    async with ENGINE.connect() as connection:
        rows = await connection.execute(text(f"SELECT {listed}, 'name' WHERE 1 IN ({listed}, 1)"))
        rows.all()
    return {each: f"customer {each}" for each in ids}


async def load(ids: list[int]) -> list[str]:
    found = await names(ids)
    return [found[each] for each in ids]


@strawberry.type
class Customer:
    id: int

    @strawberry.field
    async def name(self) -> str:
        async with ENGINE.connect() as connection:
            row = await connection.execute(text("SELECT 'customer ' || :id"), {"id": self.id})
            return row.scalar_one()


@strawberry.type
class Order:
    id: int

    @strawberry.field
    def customer(self) -> Customer:
        return Customer(id=self.id * 10)

    @strawberry.field
    async def loaded(self, info: strawberry.Info) -> str:
        return await info.context["loader"].load(self.id)

    @strawberry.field
    async def invoice(self) -> str | None:
        if self.id == 2:
            raise RuntimeError("no invoice; password=hunter2-Zk3")
        return f"invoice {self.id}"


@strawberry.type
class Query:
    @strawberry.field
    async def orders(self, first: int = 6) -> list[Order]:
        return [Order(id=number) for number in range(1, first + 1)]

    @strawberry.field
    def refused(self) -> int:
        raise GraphQLError("not for you")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def login(self, name: str, password: str) -> bool:
        return name == "ann" and password == "hunter2-Zk3"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, to: int = 3) -> AsyncGenerator[Order, None]:
        for number in range(1, to + 1):
            await asyncio.sleep(0.01)
            yield Order(id=number)


async def context() -> dict[str, object]:
    return {"loader": DataLoader(load)}


schema = strawberry.Schema(
    Query, Mutation, Subscription, config=StrawberryConfig(batching_config={"max_operations": 5})
)
app = FastAPI()
app.include_router(GraphQLRouter(schema, context_getter=context), prefix="/graphql")
