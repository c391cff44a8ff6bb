"""The labelled cases of the N+1 rule, as an app would write them: six orders of two items each.

`docs/n-plus-one.md` has the table of them, with what came out on each database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import jinja2
import sqlalchemy as sa
from opentelemetry import trace
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, joinedload, selectinload, subqueryload

from .models import Article, Customer, Employee, Item, Node, Order

NUMBERS = range(1, 7)
Run = TypeVar("Run", Callable[[sa.Engine], None], Callable[[AsyncEngine], Awaitable[None]])


@dataclass(frozen=True)
class Case(Generic[Run]):
    title: str
    warnings: int
    """Groups that reach the warning; 0 for what is no N+1."""
    run: Run
    code: str = ""
    """What the finding tells to write."""
    only: frozenset[str] = field(
        default_factory=lambda: frozenset({"sqlite", "postgresql", "mariadb"})
    )

    @property
    def label(self) -> str:
        return "+" if self.warnings else "-"


SYNC: list[Case[Callable[[sa.Engine], None]]] = []
ASYNC: list[Case[Callable[[AsyncEngine], Awaitable[None]]]] = []


def case(title: str, warnings: int, code: str = "", **more: Any) -> Callable[[Any], Any]:
    def register(run: Any) -> Any:
        (ASYNC if asyncio.iscoroutinefunction(run) else SYNC).append(
            Case(title, warnings, run, code, **more)
        )
        return run

    return register


# Those of the rule itself.


@case("lazy collection read in a loop", 1, "select(Order).options(selectinload(Order.items))")
def lazy_collection(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for order in session.scalars(select(Order)).all():
            _ = order.items


@case("`session.get` in a loop", 1, "select(Customer).where(Customer.id.in_(ids))")
def get_in_a_loop(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            session.get(Customer, number)


@case("`awaitable_attrs` in an async loop", 1, "select(Order).options(selectinload(Order.items))")
async def awaitable_attributes(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        for order in (await session.scalars(select(Order))).all():
            await order.awaitable_attrs.items


@case(
    "the same in `asyncio.gather`, overlapping",
    2,
    "select(Order).options(selectinload(Order.items))",
)
async def gathered(engine: AsyncEngine) -> None:
    async def load(number: int) -> None:
        async with AsyncSession(engine) as session:
            order = await session.get_one(Order, number)
            await order.awaitable_attrs.items

    await asyncio.gather(*map(load, NUMBERS))


@case("literals in the SQL text", 1, "... WHERE order_id IN (...)")
def literals(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        for number in NUMBERS:
            connection.exec_driver_sql(f"SELECT name FROM items WHERE order_id = {number}").all()


@case(
    "refresh of expired attributes after a commit",
    1,
    "async_sessionmaker(engine, expire_on_commit=False)",
)
def expired(engine: sa.Engine) -> None:
    with Session(engine) as session:
        customers = session.scalars(select(Customer)).all()
        session.commit()
        for customer in customers:
            _ = customer.name


@case("connects and BEGINs in between", 1)
def begins_in_between(engine: sa.Engine) -> None:
    for number in NUMBERS:
        with trace.get_tracer("app").start_as_current_span(f"step {number}"):
            engine.dispose()
            with engine.begin() as connection:
                connection.execute(select(Item.id).where(Item.order_id == number)).all()


@case("eager loading with selectinload", 0)
def selectin(engine: sa.Engine) -> None:
    _eager(engine, selectinload)


@case("eager loading with subqueryload", 0)
def subquery(engine: sa.Engine) -> None:
    _eager(engine, subqueryload)


@case("eager loading with joinedload", 0)
def joined(engine: sa.Engine) -> None:
    _eager(engine, joinedload)


def _eager(engine: sa.Engine, load: Callable[..., Any]) -> None:
    with Session(engine) as session:
        for order in session.scalars(select(Order).options(load(Order.items))).unique().all():
            _ = order.items


@case("one record, then its relation", 0)
def one_record(engine: sa.Engine) -> None:
    with Session(engine) as session:
        order = session.get_one(Order, 1)
        _ = order.items, order.customer


@case("the same SQL once at each of two lines", 0)
def two_lines(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.get(Customer, 1)
        session.get(Customer, 2)


@case("`executemany`, bulk insert, autoflush", 0)
def batches(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in range(50, 60):
            session.add(Customer(id=number, name="x"))
            session.scalar(select(func.count(Order.id)))
        session.execute(insert(Item), [{"order_id": 1, "name": "x"}] * 10)
        session.rollback()


@case("tables with names alike, interleaved", 0)
def names_alike(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        for table in ("tags", "items"):
            connection.execute(text(f"SELECT id FROM {table} WHERE id = :id"), {"id": len(table)})


@case("a page that happens to hold one row", 0)
def one_row(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for order in session.scalars(select(Order).limit(1)).all():
            _ = order.items, order.customer


# More that are.


@case(
    "lazy many-to-one of objects looked up in a loop",
    2,
    "select(Order).options(joinedload(Order.customer))",
)
def many_to_one(engine: sa.Engine) -> None:
    for number in NUMBERS:
        with Session(engine) as session:
            for order in session.scalars(select(Order).where(Order.id.in_([number, -1]))).all():
                _ = order.customer


@case("lazy many-to-many in a loop", 1, "select(Article).options(selectinload(Article.tags))")
def many_to_many(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for article in session.scalars(select(Article)).all():
            _ = article.tags


@case("a deferred column in a loop", 1, "select(Article).options(undefer(Article.body))")
def deferred_column(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for article in session.scalars(select(Article)).all():
            _ = article.body


@case(
    "columns of a subclass in a loop",
    1,
    "select(Base).options(selectin_polymorphic(Base, [Engineer]))",
)
def subclass_columns(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for engineer in session.scalars(select(Employee)).all():
            _ = engineer.language  # type: ignore[attr-defined]


@case(
    "`session.refresh` in a loop",
    1,
    "select(Customer).where(Customer.id.in_(ids)).execution_options(populate_existing=True)",
)
def refresh(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for customer in session.scalars(select(Customer)).all():
            session.refresh(customer)


@case("a count in a loop", 1, "SELECT items.order_id, ... GROUP BY items.order_id")
def count_in_a_loop(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            session.scalar(select(func.count(Item.id)).where(Item.order_id == number))


@case(
    "look, then insert or update, in a loop", 1, "select(Customer).where(Customer.name.in_(names))"
)
def look_then_write(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            found = session.scalar(select(Customer).where(Customer.name == f"new {number}"))
            if found is None:
                session.add(Customer(id=100 + number, name=f"new {number}"))
        session.rollback()


@case("rows locked one by one", 1, only=frozenset({"postgresql", "mariadb"}))
def row_locks(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            session.get(Customer, number, with_for_update=True)


@case("a comprehension", 1)
def comprehension(engine: sa.Engine) -> None:
    with Session(engine) as session:
        _ = [[item.name for item in order.items] for order in session.scalars(select(Order)).all()]


@case("a generator", 1)
def generator(engine: sa.Engine) -> None:
    def names(session: Session) -> Iterator[str]:
        for order in session.scalars(select(Order)).all():
            yield from (item.name for item in order.items)

    with Session(engine) as session:
        assert len(list(names(session))) == 12


@case("a template's loop", 1)
def template(engine: sa.Engine) -> None:
    page = jinja2.Template("{% for order in orders %}{{ order.items | length }}{% endfor %}")
    with Session(engine) as session:
        page.render(orders=session.scalars(select(Order)).all())


@case("a helper called in a loop", 1)
def helper_in_a_loop(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            _customer(session, number)


def _customer(session: Session, number: int) -> Customer | None:
    return session.get(Customer, number)


@case("a walk down a tree", 1, "select(Node).options(selectinload(Node.children))")
def tree(engine: sa.Engine) -> None:
    def walk(node: Node) -> int:
        return 1 + sum(walk(child) for child in node.children)

    with Session(engine) as session:
        assert walk(session.get_one(Node, 1)) == 9


@case("a savepoint around each", 1)
def savepoints(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            with session.begin_nested():
                session.scalar(select(Customer.name).where(Customer.id == number))


@case("short lists in a loop", 1)
def short_lists(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            session.scalars(select(Item).where(Item.order_id.in_([number, number + 1]))).all()


@case("the newest of each: a limit and an order in a loop", 1)
def newest_of_each(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            newest = select(Item).where(Item.order_id == number).order_by(Item.id.desc())
            session.scalars(newest.limit(1).offset(0)).all()


@case("resolvers that gather", 1)
async def resolvers(engine: AsyncEngine) -> None:
    async def resolve(number: int) -> Any:
        async with AsyncSession(engine) as session:
            return await session.scalar(select(Customer).where(Customer.id == number))

    await asyncio.gather(*(asyncio.create_task(resolve(number)) for number in NUMBERS))


# More that are not.


@case("pages by OFFSET, one after the other", 0)
def pages_by_offset(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for page in range(6):
            session.scalars(select(Item).order_by(Item.id).limit(2).offset(page * 2)).all()


@case("pages by the last key", 0)
def pages_by_key(engine: sa.Engine) -> None:
    with Session(engine) as session:
        last = 0
        while items := session.scalars(
            select(Item).where(Item.id > last).order_by(Item.id).limit(2)
        ).all():
            last = items[-1].id


@case("pages, with literals in the text", 0)
def pages_of_literals(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        for page in range(6):
            connection.exec_driver_sql(f"SELECT name FROM items ORDER BY id LIMIT 2 OFFSET {page}")


@case("chunks of keys", 0)
def chunks(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for start in range(0, 300, 50):
            session.scalars(select(Item).where(Item.id.in_(range(start, start + 50)))).all()


@case("chunks of keys as one array", 0, only=frozenset({"postgresql"}))
def arrays(engine: sa.Engine) -> None:
    statement = text("SELECT name FROM items WHERE id = ANY(:ids)")
    with engine.connect() as connection:
        for start in range(0, 300, 50):
            connection.execute(statement, {"ids": list(range(start, start + 50))}).all()


@case("one helper, called from several lines", 0)
def helper_from_several_lines(engine: sa.Engine) -> None:
    with Session(engine) as session:
        _customer(session, 1)
        _customer(session, 2)
        _customer(session, 3)
        _customer(session, 4)
        _customer(session, 5)


@case("the same question again and again (duplicates)", 0)
def duplicates(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        for _ in NUMBERS:
            connection.execute(select(Customer.name).where(Customer.id == 1)).all()


@case("a retry after an error", 0)
def retry(engine: sa.Engine) -> None:
    for _ in NUMBERS:
        with engine.connect() as connection:
            try:
                connection.execute(text("SELECT name FROM missing WHERE id = :id"), {"id": 1})
            except sa.exc.DBAPIError:
                continue


@case("polling until something is there", 0)
async def polling(engine: AsyncEngine) -> None:
    for _ in NUMBERS:
        async with AsyncSession(engine) as session:
            if await session.scalar(select(Order.id).where(Order.id == 99)):
                break
        await asyncio.sleep(0.001)


@case("`SELECT 1` to see that it lives", 0)
def health(engine: sa.Engine) -> None:
    for _ in NUMBERS:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1")).all()


@case("`pool_pre_ping` and a new connection each time", 0)
def pre_ping(engine: sa.Engine) -> None:
    pinging = sa.create_engine(engine.url, pool_pre_ping=True)
    for _ in NUMBERS:
        with pinging.connect() as connection:
            connection.execute(text("SELECT 1")).all()
    pinging.dispose()


@case("values of a sequence", 0, only=frozenset({"postgresql", "mariadb"}))
def sequence(engine: sa.Engine) -> None:
    numbers = sa.Sequence("numbers")
    with engine.begin() as connection:
        numbers.create(connection)
        for _ in NUMBERS:
            connection.scalar(numbers.next_value())
    with engine.begin() as connection:
        numbers.drop(connection)


@case("inserts one by one, with the key that each got", 0)
def single_inserts(engine: sa.Engine) -> None:
    with Session(engine) as session:
        for number in NUMBERS:
            with session.begin_nested():
                session.add(Item(order_id=1, name=f"single {number}"))
        session.rollback()


@case("upserts one by one", 0, only=frozenset({"sqlite", "postgresql"}))
def upserts(engine: sa.Engine) -> None:
    statement = text(
        "INSERT INTO tags (id, name) VALUES (:id, :name)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING id"
    )
    with engine.begin() as connection:
        for number in NUMBERS:
            connection.execute(statement, {"id": number, "name": f"tag {number}"}).all()


@case("level by level down a tree", 0)
def levels(engine: sa.Engine) -> None:
    with Session(engine) as session:
        level = [1]
        while level:
            level = list(session.scalars(select(Node.id).where(Node.parent_id.in_(level))).all())


@case("lazy loads that the session already has", 0)
def identity_map(engine: sa.Engine) -> None:
    with Session(engine) as session:
        customers = session.scalars(select(Customer)).all()
        assert len(customers) >= 6
        for order in session.scalars(select(Order)).all():
            _ = order.customer.name


@case("queue workers that lock the next job", 0, only=frozenset({"postgresql", "mariadb"}))
def skip_locked(engine: sa.Engine) -> None:
    for number in NUMBERS:
        with Session(engine) as session:
            following = select(Order).where(Order.id >= number).limit(1)
            session.scalars(following.with_for_update(skip_locked=True)).all()
