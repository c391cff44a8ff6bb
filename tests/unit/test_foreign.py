"""What other instrumentations and the app put on their spans is masked before it is seen or sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.trace import SpanKind
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from otel_toolbar.store.base import Query
from tests.telemetry import (
    Telemetry,
    exchange,
    hook_frameworks,
    http_scope,
    made_global,
    telemetry,
    watched,
)

SECRET = "hunter2hunter2"
hook_frameworks()


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    found = telemetry()
    queries.install(Settings())
    with made_global(found.provider):
        yield found


def everything(signals: Telemetry) -> str:
    """All that was exported and all that is stored."""
    stored = [signals.store.get(found.trace_id) for found in signals.store.list(Query()).traces]
    return repr(stored) + "".join(span.to_json() for span in signals.exported())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url.full", f"https://joe:{SECRET}@shop.test/x?token={SECRET}"),
        ("http.url", f"https://shop.test/x?api_key={SECRET}"),
        ("http.target", f"/x?password={SECRET}"),
        ("url.query", f"access_token={SECRET}"),
        ("url.path", "/reset/hunter2hunter2-0123456789abc"),
        ("db.statement", f"UPDATE users SET password = '{SECRET}'"),
        ("db.query.text", f"SELECT 1 FROM users WHERE token = '{SECRET}'"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_urls_and_statements(signals: Telemetry, key: str, value: str, late: bool) -> None:
    tracer = signals.provider.get_tracer("client")
    span = tracer.start_span(
        "call", kind=SpanKind.CLIENT, attributes={} if late else {key: value, "count": 1}
    )
    if late:
        span.set_attribute(key, value)
    else:
        assert SECRET not in repr(signals.processor.live()[0][0].attributes)
    span.end()
    assert SECRET not in everything(signals)
    assert "***" in everything(signals)


def test_exceptions(signals: Telemetry) -> None:
    def fail() -> None:
        with signals.provider.get_tracer("app").start_as_current_span("work"):
            raise RuntimeError(f"cannot connect to postgres://joe:{SECRET}@db/shop")

    with pytest.raises(RuntimeError):
        fail()
    shown = everything(signals)
    assert SECRET not in shown
    assert "exception.stacktrace" in shown
    assert "RuntimeError" in shown


def test_what_holds_no_secret_stays_as_it_is(signals: Telemetry) -> None:
    def fail() -> None:
        with signals.provider.get_tracer("app").start_as_current_span("work"):
            raise ValueError("no such item")

    with pytest.raises(ValueError, match="no such item"):
        fail()
    (span,) = signals.exported()
    assert span.events[0].attributes["exception.message"] == "no such item"
    assert span.status.description == "ValueError: no such item"


async def test_a_database_error_of_a_request(signals: Telemetry) -> None:
    app = FastAPI()
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )

    @app.get("/register/{token}")
    async def register(token: str) -> Any:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE u (name TEXT UNIQUE, password TEXT)"))
            insert = text("INSERT INTO u (name, password) VALUES (:n, :p)")
            connection.execute(insert, {"n": "joe", "p": SECRET})
            connection.execute(insert, {"n": "joe", "p": SECRET})

    done = await exchange(
        watched(app),
        http_scope(
            "/register/" + SECRET + "0123456789",
            query_string=f"api_key={SECRET}".encode(),
            headers=[
                (b"host", b"localhost"),
                (b"authorization", f"Bearer {SECRET}".encode()),
                (b"cookie", f"session={SECRET}; theme=dark".encode()),
                (b"referer", f"https://shop.test/reset/{SECRET}0123456789?token={SECRET}".encode()),
            ],
        ),
    )
    engine.dispose()
    assert SECRET in str(done.error), "the app's own error is untouched"
    shown = everything(signals)
    assert "IntegrityError" in shown
    where = shown.find(SECRET)
    assert where < 0, shown[max(0, where - 200) : where + 50]
    engine.dispose()
