"""Every labelled case on real SQLite, PostgreSQL and MariaDB, and with each of their async drivers.

Live and later the outcome is the same, and `docs/n-plus-one.md` tells it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

from otel_toolbar import semconv
from otel_toolbar.insights.n_plus_one import find
from tests import databases
from tests.databases import Database, System
from tests.telemetry import Telemetry

from .cases import ASYNC, SYNC, Case
from .conftest import Request, queries_of, summary_of
from .models import Base, fill, fill_more
from .test_n_plus_one_cases import MS, recorded

TABLE = Path(__file__).parents[2] / "docs" / "n-plus-one.md"
SYSTEMS: tuple[System, ...] = ("sqlite", "postgresql", "mariadb")
DRIVERS = [(system, driver) for system in SYSTEMS for driver in databases.ASYNC[system]]


@pytest.fixture(scope="module", params=SYSTEMS)
def filled(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A shop on each of the databases in turn; the cases leave it as they found it."""
    yield from _filled(request.param, request)


def _filled(system: System, request: pytest.FixtureRequest) -> Iterator[Database]:
    if system == "sqlite":
        made = databases.sqlite()
    else:
        server = cast(databases.Server, request.getfixturevalue(f"{system}_server"))
        made = server.database()
    with made as database:
        engine = sa.create_engine(database.url())
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            fill(session)
            fill_more(session)
        engine.dispose()
        yield database


@pytest.fixture
def engine(filled: Database) -> Iterator[sa.Engine]:
    made = sa.create_engine(filled.url())
    yield made
    made.dispose()


def check(told: Telemetry, case: Case[object], system: str) -> None:
    live = {
        each[semconv.N_PLUS_ONE_GROUP]: each[semconv.N_PLUS_ONE_RULE]
        for each in sorted(
            queries_of(told), key=lambda each: each.get(semconv.N_PLUS_ONE_POSITION, 0)
        )
        if each.get(semconv.N_PLUS_ONE)
    }
    found = find(recorded(told), 5, 10_000 * MS).n_plus_one
    assert {each.group: each.rule for each in found} == live
    assert summary_of(told)[semconv.QUERIES_COUNT] == len(queries_of(told))
    assert summary_of(told)[semconv.N_PLUS_ONE_COUNT] == case.warnings
    assert sum(each.warning for each in found) == case.warnings
    if case.code:
        assert case.code in {each.fix.code for each in found}


@pytest.mark.parametrize("case", SYNC, ids=[case.title for case in SYNC])
def test_a_case(
    case: Case[object], filled: Database, engine: sa.Engine, told: Telemetry, request_: Request
) -> None:
    if filled.system not in case.only:
        return  # the database has no such thing
    with request_():
        case.run(engine)  # type: ignore[operator]
    check(told, case, filled.system)


@pytest.fixture(scope="module", params=DRIVERS, ids=[f"{s}-{d}" for s, d in DRIVERS])
def driven(request: pytest.FixtureRequest) -> Iterator[tuple[Database, str]]:
    system, driver = request.param
    for database in _filled(system, request):
        yield database, driver


@pytest.fixture
async def async_engine(driven: tuple[Database, str]) -> AsyncIterator[AsyncEngine]:
    database, driver = driven
    made = create_async_engine(database.async_url(driver), pool_size=6)
    yield made
    await made.dispose()


@pytest.mark.parametrize("case", ASYNC, ids=[case.title for case in ASYNC])
async def test_an_async_case(
    case: Case[object],
    driven: tuple[Database, str],
    async_engine: AsyncEngine,
    told: Telemetry,
    request_: Request,
) -> None:
    with request_():
        await case.run(async_engine)  # type: ignore[operator]
    check(told, case, driven[0].system)


def test_the_documentation_has_every_case() -> None:
    told = TABLE.read_text(encoding="utf-8")
    for case in (*SYNC, *ASYNC):
        assert row(case) in told, f"docs/n-plus-one.md misses:\n{row(case)}"


def row(case: Case[object]) -> str:
    """A line of the table: every outcome in it is what the tests above have asserted."""
    outcome = "N+1" if case.warnings else "none"
    columns = [outcome if system in case.only else "not there" for system in SYSTEMS]
    return f"| {case.title} | {case.label} | {' | '.join(columns)} |"
