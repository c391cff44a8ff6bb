"""Requests that send jobs through the real SAQ, and workers that run them, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
from saq import Queue

from otel_toolbar.settings import Settings
from otel_toolbar.signals import jobs
from otel_toolbar.signals.core import record as records
from tests.databases import Database
from tests.redis_server import Redis
from tests.telemetry import Telemetry, in_request, made_global, telemetry

Request = Callable[[], AbstractContextManager[records.Record]]


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    jobs.install(Settings())
    yield
    jobs.uninstall()


@pytest.fixture
def told() -> Iterator[Telemetry]:
    """What is recorded, from here on."""
    recorded = telemetry()
    with made_global(recorded.provider):
        yield recorded


@pytest.fixture
def request_(told: Telemetry) -> Request:
    """A request, as the server's hook makes it."""

    return partial(in_request, told)


def redis_url(request: pytest.FixtureRequest) -> str:
    redis: Redis = request.getfixturevalue("redis")
    return redis.url()


def postgresql_url(request: pytest.FixtureRequest) -> str:
    database: Database = request.getfixturevalue("postgresql")
    return f"postgresql://toolbar@{database.host}:{database.port}/{database.name}"


async def connected(url: str) -> AsyncIterator[Any]:
    queue = Queue.from_url(url)
    await queue.connect()
    yield queue
    await queue.disconnect()


@pytest.fixture
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """SAQ's queue on an empty Redis."""
    async for each in connected(redis_url(request)):
        yield each


@pytest.fixture(params=[redis_url, postgresql_url], ids=["redis", "postgresql"])
async def each_queue(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """SAQ's queue on each of its two."""
    async for each in connected(request.param(request)):
        yield each
