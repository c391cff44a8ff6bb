"""The databases that the other tests stand on: each driver reaches each of them."""

from __future__ import annotations

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from tests.databases import ASYNC, SYNC, Database

VERSION = {
    "sqlite": "SELECT sqlite_version()",
    "postgresql": "SELECT version()",
    "mariadb": "SELECT version()",
}
NAMES = {"sqlite": "3.", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}


def test_each_synchronous_driver_is_answered(database: Database) -> None:
    for driver in SYNC[database.system]:
        engine = sqlalchemy.create_engine(database.url(driver))
        with engine.connect() as connection:
            answer = connection.scalar(sqlalchemy.text(VERSION[database.system]))
        engine.dispose()
        assert NAMES[database.system] in str(answer)


async def test_each_asynchronous_driver_is_answered(database: Database) -> None:
    for driver in ASYNC[database.system]:
        engine = create_async_engine(database.async_url(driver))
        async with engine.connect() as connection:
            answer = await connection.scalar(sqlalchemy.text(VERSION[database.system]))
        await engine.dispose()
        assert NAMES[database.system] in str(answer)


@pytest.mark.parametrize("system", ["postgresql", "mariadb"])
def test_a_database_is_empty_whatever_another_test_did(
    system: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(f"{system}_server")
    for _ in range(2):
        with server.database() as database:
            engine = sqlalchemy.create_engine(database.url())
            with engine.begin() as connection:
                assert sqlalchemy.inspect(connection).get_table_names() == []
                connection.exec_driver_sql("CREATE TABLE left_behind (id INTEGER)")
            engine.dispose()
