"""The jobs, and the settings of the worker that runs them.

JOBS_URL names the queue: redis://localhost:6379, or postgresql://... for SAQ's queue on PostgreSQL.
"""

import asyncio
import logging
import os
from typing import Any

from saq import CronJob, Queue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

queue = Queue.from_url(os.environ.get("JOBS_URL", "redis://localhost:6379"))
engine = create_async_engine("sqlite+aiosqlite://")
new_session = async_sessionmaker(engine)
log = logging.getLogger("jobs")


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


async def send_letter(ctx: Any, *, to: str, token: str = "") -> str:
    await asyncio.sleep(0.02)
    return f"sent to {to}"


async def send_newsletter(ctx: Any, *, customer: int) -> str:
    async with new_session() as session:
        found = await session.get(Customer, customer)
    return f"sent to {found.name if found else 'nobody'}"


async def send_newsletters(ctx: Any, *, customers: list[int]) -> int:
    """An N+1 inside of a job: one query for each customer."""
    async with new_session() as session:
        for customer in customers:
            await session.get(Customer, customer)
    log.warning("newsletters sent to %d", len(customers))
    return len(customers)


async def add(ctx: Any, *, a: int, b: int) -> int:
    return a + b


async def nightly(ctx: Any) -> None:
    pass


async def always_fails(ctx: Any) -> None:
    raise RuntimeError("this job always fails")


async def startup(ctx: Any) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        names = [{"name": f"Customer {number}"} for number in range(1, 13)]
        if not (await connection.execute(select(Customer.id))).first():
            await connection.execute(Customer.__table__.insert(), names)


async def shutdown(ctx: Any) -> None:
    await engine.dispose()


settings = {
    "queue": queue,
    "functions": [send_letter, send_newsletter, send_newsletters, add, nightly, always_fails],
    "concurrency": 4,
    "cron_jobs": [CronJob(nightly, cron="0 3 * * *")],
    "startup": startup,
    "shutdown": shutdown,
    "dequeue_timeout": 0.5,
}
