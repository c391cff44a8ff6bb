"""Drivers without SQLAlchemy under `opentelemetry-instrument`: imported when the app does, and then seen."""

from __future__ import annotations

import json
from pathlib import Path

from tests.databases import Database

from .serving import serving

APPS = Path(__file__).parent / "apps"


def test_each_is_seen_from_its_first_query_on(
    postgresql: Database, mariadb: Database, tmp_path: Path
) -> None:
    environment = {
        "OTEL_PYTHON_DISTRO": "otel_toolbar",
        "POSTGRESQL": postgresql.url().replace("+psycopg", ""),
        "MARIADB": json.dumps(
            {
                "host": mariadb.host,
                "port": mariadb.port,
                "user": "toolbar",
                "database": mariadb.name,
            }
        ),
    }
    with serving(APPS, tmp_path, target="drivers:app", environment=environment) as running:
        answer = running.get("/work")
        assert answer.status_code == 200, running.log
        panel = running.api(f"traces/{running.trace_of(answer)}/panels/queries")
        assert running.get("/before").json() == []
        assert "otel-toolbar" not in running.log
    found = [(query["system"], query["statement"]) for query in panel["queries"]]
    assert found == [
        ("sqlite", "SELECT 'aiosqlite'"),
        ("postgresql", "SELECT 'asyncpg'"),
        ("postgresql", "SELECT 'psycopg'"),
        ("mysql", "SELECT 'pymysql'"),
    ]
