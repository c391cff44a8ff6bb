"""What watching a query costs, against an SDK span of five attributes in the same run.

    python bench/queries.py

Every figure is the median of rounds in which the two sides take turns, on in-process SQLite, with the
call site found from a stack as deep as a handler's.
"""

from __future__ import annotations

import statistics
import sysconfig
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.core.processor import ToolbarProcessor

ROUNDS, QUERIES, DEPTH = 60, 50, 30


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


# A handler is called by a router that stands below middleware: as many frames of an installed package.
_namespace: dict[str, Any] = {"DEPTH": DEPTH}
for _file, _code in {
    "routing": "def route(call):\n    return call()",
    "middleware/base": "def deep(call, depth=DEPTH):\n"
    "    return deep(call, depth - 1) if depth else route(call)",
}.items():
    _path = f"{sysconfig.get_paths()['purelib']}/starlette/{_file}.py"
    exec(compile(_code, _path, "exec"), _namespace)
deep: Callable[[Callable[[], float]], float] = _namespace["deep"]


def page(session: Session) -> float:
    """A page of queries; us for each."""
    started = time.thread_time()
    for number in range(QUERIES):
        session.execute(select(Item.id).where(Item.order_id == number)).all()
    return (time.thread_time() - started) / QUERIES * 1e6


def sdk_spans(tracer: trace.Tracer) -> float:
    started = time.thread_time()
    for number in range(QUERIES):
        attributes = {"a": "1", "b": "2", "c": "3", "d": number, "e": True}
        with tracer.start_as_current_span("x", attributes=attributes):
            pass
    return (time.thread_time() - started) / QUERIES * 1e6


def watched(session: Session, tracer: trace.Tracer) -> float:
    """The same page within a request; draining it is not on the query's path and not counted."""
    record = records.Record(5000)
    token = records.enter(record)
    try:
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER):
            return deep(lambda: page(session))
    finally:
        records.leave(token)


def measure() -> tuple[float, float, float]:
    """us of a query alone, of a watched one, and of an SDK span of five attributes."""
    provider = TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(ToolbarProcessor(lambda _spans, _logs: None))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("bench")
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    plain: list[float] = []
    with_us: list[float] = []
    spans: list[float] = []
    with Session(engine) as session:
        for _ in range(ROUNDS):
            queries.uninstall()
            plain.append(deep(lambda: page(session)))
            queries.install(Settings())
            page(session)  # statements are read once, not once a round
            with_us.append(watched(session, tracer))
            spans.append(sdk_spans(tracer))
    base, ours, span = (statistics.median(each[5:]) for each in (plain, with_us, spans))
    return base, ours, span


def main() -> None:
    base, ours, span = measure()
    print(f"query alone {base:.1f} us, watched {ours:.1f} us: {ours - base:.1f} us more")
    print(f"SDK span as current, 5 attributes: {span:.1f} us; ratio {(ours - base) / span:.2f}")


if __name__ == "__main__":
    main()
