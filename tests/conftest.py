"""Shared by all tests: a skip is a failure where the machine is meant to have every part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import hypothesis
import pytest

from otel_toolbar import guard
from tests import databases
from tests import redis_server as redis_servers

# A benchmark is a benchmark: no test here fails for being slow.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

NO_SKIPS = os.environ.get("TOOLBAR_TEST_NO_SKIPS") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and every part must be here: {report.longrepr[-1]}"
    return report


# Browsers, servers and databases as processes of their own: a busy machine may starve one of them.
PROCESSES = tuple(
    Path(__file__).parent / each for each in ("browser", "external", "jobs", "servers")
)


# What has to block for a while to be seen: a machine that takes as long for all else hides it.
TIMED = Path(__file__).parent / "tasks" / "test_blocking.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that waits for other processes may fail once; the run's summary names it (`RERUN`)."""
    for item in items:
        if any(map(item.path.is_relative_to, (*PROCESSES, TIMED))):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def fresh_guard() -> Iterator[None]:
    """What is reported once a process is reported once a test."""
    guard.forget()
    yield
    guard.forget()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[databases.Server]:
    yield from _server("postgresql")


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[databases.Server]:
    yield from _server("mariadb")


def _server(system: databases.System) -> Iterator[databases.Server]:
    why = databases.missing(system, *databases.SYNC[system], *databases.ASYNC[system])
    if why is not None:
        pytest.skip(why)
    with databases.server(system) as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: databases.Server) -> Iterator[databases.Database]:
    """An empty database on a real PostgreSQL."""
    with postgresql_server.database() as database:
        yield database


@pytest.fixture
def mariadb(mariadb_server: databases.Server) -> Iterator[databases.Database]:
    """An empty database on a real MariaDB."""
    with mariadb_server.database() as database:
        yield database


@pytest.fixture
def sqlite() -> Iterator[databases.Database]:
    """An empty SQLite file."""
    with databases.sqlite() as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> databases.Database:
    """An empty database, of each of the three in turn."""
    return cast("databases.Database", request.getfixturevalue(request.param))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis_servers.Redis]:
    """A real Redis for the whole run."""
    why = redis_servers.missing()
    if why is not None:
        pytest.skip(why)
    with redis_servers.server() as server:
        yield server


@pytest.fixture
def redis(redis_server: redis_servers.Redis) -> redis_servers.Redis:
    """The real Redis, empty."""
    redis_server.flush()
    return redis_server
