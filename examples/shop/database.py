"""The engine, the session and the shop's first start."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from sqlalchemy import select
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from models import Base, Product
from seed import seed

INSTANCE = Path(__file__).parent / "instance"


def database_url() -> str:
    url = os.environ.get("SHOP_DATABASE_URL")
    if url:
        return url
    INSTANCE.mkdir(exist_ok=True)
    return f"sqlite+aiosqlite:///{INSTANCE / 'shop.sqlite'}"


engine = create_async_engine(database_url())
new_session = async_sessionmaker(engine, expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def prepare_database() -> None:
    """Create the tables, and fill them when they are empty."""
    async with engine.begin() as connection:
        await lock(connection)
        await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(bind=connection) as session:
            if await session.scalar(select(Product.id).limit(1)) is None:
                seed(session)
                await session.flush()


async def lock(connection: AsyncConnection) -> None:
    # Several workers start at the same moment, and only one of them may fill the shop.
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
