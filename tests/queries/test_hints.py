"""Labelled cases of every hint, with the real SQLAlchemy on SQLite: what speaks, and what does not."""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from otel_toolbar.insights import hints
from tests.telemetry import Telemetry

from .conftest import Request
from .models import Customer, Order
from .test_n_plus_one_cases import recorded


def test_a_result_without_a_bound(
    engine: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(Customer), [{"id": number, "name": "x"} for number in range(100, 700)]
        )
    with request_(), Session(engine) as session:
        session.scalars(select(Customer)).all()
        session.scalars(select(Customer).limit(550)).all()
        session.scalars(select(Order)).all()
    (hint,) = hints.find(recorded(told))
    assert (hint.rule, hint.severity) == ("missing-limit", "info")
    assert hint.evidence.startswith("606 rows of customers were fetched")
    assert hint.place is not None
    assert hint.place.file == __file__
