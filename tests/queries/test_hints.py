"""Labelled cases of every hint, with the real SQLAlchemy on SQLite: what speaks, and what does not.

Each case runs in a request of its own, and its label is all that is said there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    ForeignKey,
    Select,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapped, Session, aliased, joinedload, mapped_column, selectinload
from sqlalchemy.pool import StaticPool

from otel_toolbar import guard, semconv
from otel_toolbar.insights import hints
from otel_toolbar.insights.hint import Hint
from otel_toolbar.signals.queries import results
from tests.telemetry import Telemetry

from .conftest import Request, queries_of
from .models import Base, Customer, Item, Order, fill
from .test_n_plus_one_cases import recorded

Run = Callable[[Session], Any]


class Page(Base):
    """A wide one."""

    __tablename__ = "pages"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    title: Mapped[str]
    body: Mapped[str]


@pytest.fixture(scope="module")
def shop() -> Any:
    made = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(made)
    with Session(made) as session:
        fill(session)
        pages = [
            {"id": n, "customer_id": 1, "title": f"page {n}", "body": "x" * 2000}
            for n in range(1, 61)
        ]
        session.execute(insert(Page), pages)
        session.commit()
    yield made
    made.dispose()


@pytest.fixture
def large(shop: sqlalchemy.Engine) -> Any:
    """With many customers, for this test only."""
    with shop.connect() as connection, connection.begin() as transaction:
        connection.execute(
            insert(Customer), [{"id": n, "name": f"x{n}"} for n in range(1000, 7000)]
        )
        yield connection
        transaction.rollback()


def said(told: Telemetry) -> tuple[Hint, ...]:
    found = hints.find(recorded(told))
    for hint in found:
        assert hint.place is not None
        assert hint.place.file == __file__
        assert hint.spans
        assert hint.evidence.endswith(".")
        assert hint.fix.endswith(".") or hint.fix.endswith(":")
        assert hint.link.startswith("https://")
    return found


def rules(told: Telemetry) -> list[str]:
    return [hint.rule for hint in said(told)]


def each(model: Any, count: int) -> Select[Any]:
    return select(model).limit(count)


# Conditions. (`:memory:` tables are small: nothing here is slow.)

NAME = Customer.name
ALONE = "leading-wildcard"
COMPUTED = "function-on-column"

CONDITIONS: list[tuple[str, Select[Any], list[str]]] = [
    ("a pattern that is bound", select(Customer).where(NAME.like("%7")), [ALONE]),
    ("contains()", select(Customer).where(NAME.contains("er")), [ALONE]),
    ("endswith(), icontains()", select(Customer).where(NAME.icontains("er")), [ALONE]),
    ("ilike()", select(Customer).where(NAME.ilike("%ER%")), [ALONE]),
    ("in the text", select(Customer).where(text("name LIKE '_x%'")), [ALONE]),
    ("one of two patterns", select(Customer).where(or_(NAME.like("a%"), NAME.like("%a"))), [ALONE]),
    (
        "with a join only beside it",
        select(Order).join(Order.customer).where(NAME.like("%a")),
        [ALONE],
    ),
    ("a pattern that begins with text", select(Customer).where(NAME.like("cust%")), []),
    ("startswith()", select(Customer).where(NAME.startswith("cust")), []),
    ("NOT LIKE", select(Customer).where(NAME.not_like("%7")), []),
    ("beside an equality", select(Item).where(Item.order_id == 1, Item.name.like("%1")), []),
    ("beside a list of keys", select(Item).where(Item.id.in_([1, 2]), Item.name.like("%1")), []),
    (
        "beside a range",
        select(Item).where(Item.order_id > 3, Item.order_id < 5, Item.name.like("%1")),
        [],
    ),
    (
        "in a subquery tied to the outer row",
        select(Order).where(
            exists().where(Item.order_id == Order.id, Item.name.like("%1")), Order.id > 2
        ),
        [],
    ),
    ("the wildcard escaped", select(Customer).where(NAME.contains("100%", autoescape=True)), [ALONE]),
    ("a pattern in SELECT", select(NAME.like("%7")), []),
    ("lower() of a column", select(Customer).where(func.lower(NAME) == "ann"), [COMPUTED]),
    ("a list of lower()", select(Customer).where(func.lower(NAME).in_(["a", "b"])), [COMPUTED]),
    ("a part of a date", select(Order).where(func.strftime("%Y", Order.id) == "2020"), [COMPUTED]),
    ("coalesce()", select(Customer).where(func.coalesce(NAME, "") == "x"), [COMPUTED]),
    ("calculation", select(Order).where(Order.customer_id + 1 > 5), [COMPUTED]),
    ("cast()", select(Order).where(cast(Order.customer_id, sqlalchemy.String) == "1"), [COMPUTED]),
    ("abs()", select(Order).where(func.abs(Order.id) == 1), [COMPUTED]),
    ("of the value", select(Customer).where(func.lower("ANN") == NAME), []),
    ("calculation on the value", select(Order).where(Order.customer_id > literal(5) - 1), []),
    ("in SELECT", select(func.lower(NAME)).where(NAME == "a"), []),
    ("in ORDER BY", select(Customer).order_by(func.lower(NAME)).limit(3), []),
    (
        "in HAVING",
        select(Item.order_id).group_by(Item.order_id).having(func.count(Item.id) > 1),
        [],
    ),
    (
        "beside an equality, computed",
        select(Customer).where(Customer.id == 1, func.lower(NAME) == "x"),
        [],
    ),
    ("no condition", select(Customer).where(true()), []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "label"), [case[1:] for case in CONDITIONS], ids=[case[0] for case in CONDITIONS]
)
def test_conditions(
    shop: sqlalchemy.Engine,
    told: Telemetry,
    request_: Request,
    query: Select[Any],
    label: list[str],
) -> None:
    with request_(), shop.connect() as connection:
        connection.execute(query).all()
    assert rules(told) == label


# Statements.

OTHER = aliased(Customer)
PRODUCT = ["cartesian-product"]
RANDOM = ["order-by-random"]
EXISTS = ["count-for-existence"]
COUNT = select(func.count()).select_from(Item)

STATEMENTS: list[tuple[str, Any, list[str]]] = [
    ("two tables", select(Customer.id, Item.id).limit(3), PRODUCT),
    ("a WHERE about one of them", select(Order.id).where(Item.name == "item 1").limit(3), PRODUCT),
    ("counted", select(func.count(Order.id)).where(Item.name == "item 1"), PRODUCT),
    (
        "three, one apart",
        select(Order.id, NAME, Item.id).where(Order.customer_id == Customer.id).limit(3),
        PRODUCT,
    ),
    ("an alias forgotten", select(OTHER.id).where(Customer.name == "a"), PRODUCT),
    ("in a subquery", select(select(Order.id, Item.id.label("i")).subquery()).limit(3), PRODUCT),
    ("joined", select(Order.id, Item.id).join(Order.items), []),
    ("related in WHERE", select(Order.id, Item.id).where(Item.order_id == Order.id), []),
    (
        "related by way of a third",
        select(NAME, Item.id).where(Item.order_id == Order.id, Order.customer_id == Customer.id),
        [],
    ),
    ("related by an inequality", select(OTHER.id, Customer.id).where(OTHER.id < Customer.id), []),
    ("ON true", select(Order.id, Item.id).join(Item, true()).limit(3), []),
    ("CROSS JOIN", text("SELECT c.id FROM customers c CROSS JOIN items i LIMIT 3"), []),
    ("USING", text("SELECT o.id FROM orders o JOIN items i USING (id)"), []),
    ("a function", text("SELECT c.id, j.value FROM customers c, json_each('[1]') j"), []),
    (
        "one row of another",
        select(Customer.id, select(func.max(Item.id)).subquery()).limit(3),
        [],
    ),
    ("a CTE of one row", select(Customer.id, select(func.max(Item.id)).cte()).limit(3), []),
    ("a lookup by key", select(Order.id, Item.id).where(Order.id == 1, Item.id == 1), []),
    ("columns without tables", text("SELECT 1 FROM orders, items WHERE order_id = 1 LIMIT 1"), []),
    (
        "correlated",
        select(
            Order.id, select(func.max(Item.id)).where(Item.order_id == Order.id).scalar_subquery()
        ),
        [],
    ),
    ("an eager join", select(Order).options(joinedload(Order.items)), []),
    ("a self join", select(Customer.id).join(OTHER, OTHER.id == Customer.id), []),
    ("sorted at random", select(Customer).order_by(func.random()).limit(2), RANDOM),
    ("sorted at random, first", select(Customer).order_by(func.random(), NAME).limit(2), RANDOM),
    ("shuffled, all of it", select(Customer).order_by(func.random()), []),
    ("random() in SELECT", select(func.random(), NAME).order_by(NAME).limit(2), []),
    ("a column called random", text("SELECT id AS random FROM items ORDER BY random LIMIT 2"), []),
    ("count > 0", select(COUNT.scalar_subquery() > 0), EXISTS),
    ("count >= 1", select(literal(1) <= COUNT.scalar_subquery()), EXISTS),
    ("count = 0", select(Order.id).where(COUNT.scalar_subquery() == 0), EXISTS),
    (
        "count of what belongs to it",
        select(Order.id).where(COUNT.where(Item.order_id == Order.id).scalar_subquery() > 0),
        EXISTS,
    ),
    ("in one SELECT", text("SELECT count(*) > 0 FROM items"), EXISTS),
    ("a count", COUNT, []),
    ("count > 1", select(COUNT.scalar_subquery() > 1), []),
    ("count <= 1", select(COUNT.scalar_subquery() <= 1), []),
    ("EXISTS", select(exists().where(Item.id == 1)), []),
    (
        "HAVING count > 0",
        select(Item.order_id).group_by(Item.order_id).having(func.count() > 0),
        [],
    ),
    ("no FROM", text("SELECT 1"), []),
    ("not SQL that is known", text("PRAGMA table_info(items)"), []),
]


@pytest.mark.parametrize(
    ("query", "label"), [case[1:] for case in STATEMENTS], ids=[case[0] for case in STATEMENTS]
)
@pytest.mark.filterwarnings("ignore:SELECT statement has a cartesian product")
def test_statements(
    shop: sqlalchemy.Engine, told: Telemetry, request_: Request, query: Any, label: list[str]
) -> None:
    with request_(), Session(shop) as session:
        session.execute(query).unique().all()
    assert rules(told) == label


WRITES: list[tuple[str, Any, list[str]]] = [
    ("UPDATE of all", update(Item).values(name="x"), ["write-without-where"]),
    ("DELETE of all", delete(Item), ["write-without-where"]),
    ("UPDATE of some", update(Item).values(name="x").where(Item.order_id > 1), []),
    ("DELETE of one", delete(Item).where(Item.id == 1), []),
    ("INSERT", insert(Item).values(order_id=1, name="x"), []),
    ("DELETE of none", text("DELETE FROM empty"), []),
]


@pytest.mark.parametrize(
    ("query", "label"), [case[1:] for case in WRITES], ids=[case[0] for case in WRITES]
)
def test_writes(
    shop: sqlalchemy.Engine, told: Telemetry, request_: Request, query: Any, label: list[str]
) -> None:
    with shop.connect() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS empty (id INTEGER)")
        with request_():
            connection.execute(query)
        connection.rollback()
    assert rules(told) == label


# Results.

STAR = ["select-star"]
RESULTS: list[tuple[str, Any, list[str]]] = [
    ("no LIMIT", select(Customer.id).where(Customer.id < 1600), ["missing-limit"]),
    ("no LIMIT, very many", select(Customer), ["missing-limit"]),
    ("few", select(Order), []),
    ("LIMIT", select(Customer).limit(600), []),
    ("LIMIT within", select(select(Customer).limit(600).subquery()), []),
    ("keys that were given", select(Customer).where(Customer.id.in_(range(1000, 1200))), []),
    ("a deep page", select(Customer).limit(5).offset(2000), ["deep-offset"]),
    ("a page", select(Customer).limit(5).offset(20), []),
    (
        "a deep page, written out",
        text("SELECT id FROM items LIMIT 5 OFFSET 20000"),
        ["deep-offset"],
    ),
    ("a word in a string", select(Customer).where(NAME == "x OFFSET 20000"), []),
    ("many given", select(Customer.id).where(Customer.id.in_(range(400))), ["long-in-list"]),
    ("some given", select(Customer.id).where(Customer.id.in_(range(99))), []),
    ("all of wide rows", text("SELECT * FROM pages"), STAR),
    ("all of wide rows by name", text("SELECT pages.* FROM pages"), STAR),
    ("all of some wide rows", text("SELECT * FROM pages LIMIT 5"), []),
    ("all of narrow rows", text("SELECT * FROM customers LIMIT 400"), []),
    ("columns of wide rows", select(Page.id, Page.body), []),
    ("count(*)", text("SELECT count(*) FROM pages"), []),
    ("a product", text("SELECT id * 2 FROM pages"), []),
]


@pytest.mark.parametrize(
    ("query", "label"), [case[1:] for case in RESULTS], ids=[case[0] for case in RESULTS]
)
def test_results(
    large: sqlalchemy.Connection, told: Telemetry, request_: Request, query: Any, label: list[str]
) -> None:
    with request_(), Session(large) as session:
        session.execute(query).all()
    assert rules(told) == label


def test_large_eager_loads_are_none(
    large: sqlalchemy.Connection, told: Telemetry, request_: Request
) -> None:
    large.execute(insert(Order), [{"id": n, "customer_id": n} for n in range(1000, 1450)])
    large.execute(insert(Item), [{"order_id": n % 400 + 1000, "name": "x"} for n in range(800)])
    with request_(), Session(large) as session:
        eager = selectinload(Order.items), selectinload(Order.customer)
        session.scalars(select(Order).options(*eager).limit(450)).all()
    assert rules(told) == []


def test_what_a_hint_says(large: sqlalchemy.Connection, told: Telemetry, request_: Request) -> None:
    with request_(), Session(large) as session:
        session.scalars(select(Customer)).all()
        session.execute(select(Customer).limit(3).offset(1000 + 1000)).all()
    first, second = said(told)
    assert (first.rule, first.severity) == ("missing-limit", "warn")
    assert first.evidence.startswith("6,006 rows of customers were fetched")
    assert {figure.name for figure in first.figures} >= {"rows", "time", "size, from the first row"}
    assert (second.rule, second.severity) == ("deep-offset", "info")
    assert second.evidence.startswith("OFFSET 2,000: ")
    assert second.figures[0].value == 2000


# What runs again and again.


def look_up(session: Session) -> Any:
    return session.execute(select(Customer.name).where(Customer.id == 1)).scalar()


def look_up_as_well(session: Session) -> Any:
    return session.execute(select(Customer.name).where(Customer.id == 1)).scalar()


def look_up_another(session: Session) -> Any:
    return session.execute(select(Customer.name).where(Customer.id == 2)).scalar()


def from_two_places(session: Session) -> None:
    look_up(session)
    look_up_as_well(session)


def from_one_place(session: Session) -> None:
    for _ in range(4):
        look_up(session)


def for_others(session: Session) -> None:
    look_up(session)
    look_up_another(session)


def with_a_write_in_between(session: Session) -> None:
    look_up(session)
    session.execute(update(Customer).values(name="x").where(Customer.id == 1))
    look_up_as_well(session)


def with_masked_parameters(session: Session) -> None:
    session.execute(select(NAME).where(Customer.password == "a"))
    session.execute(select(NAME).where(Customer.password == "b"))


def pings(session: Session) -> None:
    session.execute(text("SELECT 1"))
    session.execute(text("SELECT 1"))


def lazily(session: Session) -> None:
    for order in session.scalars(select(Order)).all():
        _ = order.items


def eagerly(session: Session) -> None:
    for order in session.scalars(select(Order).options(selectinload(Order.items))).all():
        _ = order.items


def a_few(session: Session) -> None:
    for order in session.scalars(select(Order).limit(3)).all():
        _ = order.items


def writing_each(session: Session) -> None:
    for number in range(1, 8):
        session.execute(update(Item).values(name="x").where(Item.id == number))


def flushing_each(session: Session) -> None:
    for number in range(100, 108):
        session.add(Item(id=number, order_id=1, name="x"))
        session.flush()


def in_one_flush(session: Session) -> None:
    session.add_all(Item(id=number, order_id=1, name="x") for number in range(100, 108))
    session.flush()


def as_a_batch(session: Session) -> None:
    session.connection().execute(
        update(Item).where(Item.id == bindparam("number")).values(name=bindparam("new")),
        [{"number": number, "new": "x"} for number in range(1, 8)],
    )


def a_few_writes(session: Session) -> None:
    for number in range(1, 4):
        session.execute(update(Item).values(name="x").where(Item.id == number))


OPEN = Item.name == "item 1"


def counted_and_loaded(session: Session) -> None:
    session.scalar(select(func.count()).select_from(Item).where(OPEN))
    session.scalars(select(Item).where(OPEN).order_by(Item.id)).all()


def counted_and_paged(session: Session) -> None:
    session.scalar(select(func.count()).select_from(Item).where(OPEN))
    session.scalars(select(Item).where(OPEN).order_by(Item.id).limit(3)).all()


def counted_others(session: Session) -> None:
    session.scalar(select(func.count()).select_from(Item).where(Item.name == "item 2"))
    session.scalars(select(Item).where(OPEN)).all()


def counted_groups(session: Session) -> None:
    session.scalar(select(func.count()).select_from(Item))
    session.execute(select(Item.name, func.max(Item.id)).group_by(Item.name)).all()


AGAIN: list[tuple[Run, list[str]]] = [
    (from_two_places, ["same-query-from-several-places"]),
    (from_one_place, []),
    (for_others, []),
    (with_a_write_in_between, []),
    (with_masked_parameters, []),
    (pings, []),
    (lazily, ["query-in-a-loop"]),
    (eagerly, []),
    (a_few, []),
    (writing_each, ["write-in-a-loop"]),
    (flushing_each, ["write-in-a-loop"]),
    (in_one_flush, []),
    (as_a_batch, []),
    (a_few_writes, []),
    (counted_and_loaded, ["count-then-load"]),
    (counted_and_paged, []),
    (counted_others, []),
    (counted_groups, []),
]


@pytest.mark.parametrize(("run", "label"), AGAIN, ids=[case[0].__name__ for case in AGAIN])
def test_repetition(
    shop: sqlalchemy.Engine, told: Telemetry, request_: Request, run: Run, label: list[str]
) -> None:
    with Session(shop) as session:
        with request_():
            run(session)
        session.rollback()
    assert rules(told) == label


def test_a_lazy_load_in_a_loop_names_the_relationship(
    shop: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(shop) as session:
        lazily(session)
    (hint,) = said(told)
    assert hint.severity == "warn"
    assert "selectinload(Order.items)" in hint.fix
    assert len(hint.spans) == 6


def test_a_query_that_failed_says_nothing(
    shop: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(shop) as session, pytest.raises(OperationalError):
        session.execute(text("SELECT nothing FROM customers, items WHERE lower(name) = 'a'"))
    assert rules(told) == []


def test_how_wide_a_result_is(shop: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    with request_(), Session(shop) as session:
        session.execute(select(Page.id, Page.title, Page.body)).all()
        session.execute(select(Page.body)).first()
        session.execute(text("SELECT NULL, x'00FF', 'ab', 1.5")).all()
        session.execute(select(Page.id).where(Page.id < 0)).all()
        session.execute(update(Page).values(title="x").where(Page.id < 0))
    recorded_sizes = [
        (each.get(semconv.QUERY_COLUMNS), each.get(semconv.QUERY_ROW_SIZE))
        for each in queries_of(told)
    ]
    assert recorded_sizes == [(3, 2014), (1, 2000), (4, 20), (1, None), (None, None)]


def test_a_row_of_a_kind_that_is_not_known(
    shop: sqlalchemy.Engine,
    told: Telemetry,
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed: list[str] = []
    monkeypatch.setattr(guard, "failed", failed.append)
    monkeypatch.setattr(results, "_size", lambda _: 1 / 0)
    with request_(), Session(shop) as session:
        assert len(session.execute(select(Page.id)).all()) == 60
    assert failed == ["size of a row"]
    assert queries_of(told)[0][semconv.DB_RESPONSE_RETURNED_ROWS] == 60
