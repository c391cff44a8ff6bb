"""Requests around queries of the real SQLAlchemy, on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from otel_toolbar.insights import reading
from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from otel_toolbar.signals.core import record as records
from tests import sdk_spans as sdk
from tests.telemetry import Telemetry, in_request, made_global, telemetry

from .models import Base, fill

Request = Callable[[], AbstractContextManager[records.Record]]


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    queries.install(Settings(n_plus_one_duration=10_000))
    yield
    queries.uninstall()


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


@pytest.fixture
def engine() -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(made)
    with Session(made) as session:
        fill(session)
    yield made
    made.dispose()


@pytest.fixture
async def async_engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.sqlite'}")
    async with made.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(
            lambda sync: fill(Session(sync, join_transaction_mode="create_savepoint"))
        )
    yield made
    await made.dispose()


def queries_of(told: Telemetry) -> list[dict[str, Any]]:
    """Attributes of the recorded queries, in the order in which they began."""
    return [dict(span.attributes or {}) for span in spans_of(told)]


def spans_of(told: Telemetry) -> list[ReadableSpan]:
    """The recorded queries, without connects and what ends transactions."""
    spans = [span for span in told.exported() if reading.is_query(sdk.to_model(span))]
    return sorted(spans, key=lambda span: span.start_time or 0)


def summary_of(told: Telemetry) -> dict[str, Any]:
    """The SERVER span's attributes."""
    return next(dict(s.attributes or {}) for s in told.exported() if s.kind is SpanKind.SERVER)
