"""The signal `loads`, with the real SQLAlchemy: what was loaded and not read, and that nothing changes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import ForeignKey, inspect, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    composite,
    defer,
    joinedload,
    load_only,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
    synonym,
)
from sqlalchemy.orm.attributes import InstrumentedAttribute
from sqlalchemy.pool import StaticPool

from otel_toolbar import guard, semconv
from otel_toolbar.insights import hints
from otel_toolbar.signals.queries import loads
from tests.telemetry import Telemetry

from .conftest import Request, queries_of
from .models import Order
from .test_n_plus_one_cases import recorded


class Base(DeclarativeBase):
    pass


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __composite_values__(self) -> tuple[int, int]:
        return self.x, self.y


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    biography: Mapped[str]
    x: Mapped[int]
    y: Mapped[int]
    version = mapped_column(sqlalchemy.Integer, nullable=False)
    called: Mapped[str] = synonym("name")
    at: Mapped[Point] = composite("x", "y")
    letters: Mapped[list[Letter]] = relationship(back_populates="person")
    subjects: AssociationProxy[list[str]] = association_proxy("letters", "subject")
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_identity": "person",
        "version_id_col": version,
    }

    @hybrid_property
    def shouted(self) -> str:
        return self.name + "!"


class Writer(Person):
    __mapper_args__ = {"polymorphic_identity": "writer"}  # noqa: RUF012
    pen: Mapped[str | None]


class Letter(Base):
    __tablename__ = "letters"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    subject: Mapped[str]
    text: Mapped[str]
    person: Mapped[Person] = relationship(back_populates="letters")


class Row(MappedAsDataclass, Base):
    __tablename__ = "rows"
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[str]
    b: Mapped[str]


@pytest.fixture(autouse=True)
def watched(installed: None) -> Iterator[None]:
    loads.install()
    yield
    loads.uninstall()


@pytest.fixture(scope="module")
def people() -> Any:
    made = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(made)
    with Session(made) as session:
        for n in range(1, 61):
            person = (Writer if n % 2 else Person)(
                id=n, name=f"n{n}", biography="b" * 500, at=Point(n, n)
            )
            person.letters = [Letter(subject=f"s{n}", text="t" * 100)]
            session.add(person)
            session.add(Row(id=n, a="a", b="b"))
        session.commit()
    yield made
    made.dispose()


def unread(told: Telemetry) -> list[list[str] | None]:
    return [
        None if value is None else sorted(value)
        for value in (each.get(semconv.QUERY_UNREAD) for each in queries_of(told))
    ]


def rules(told: Telemetry) -> list[str]:
    return [hint.rule for hint in hints.find(recorded(told))]


PEOPLE = select(Person).order_by(Person.id)


def nothing(session: Session) -> None:
    session.scalars(PEOPLE).all()


def names(session: Session) -> None:
    _ = [person.name for person in session.scalars(PEOPLE)]


def by_synonym(session: Session) -> None:
    _ = [person.called for person in session.scalars(PEOPLE)]


def by_hybrid(session: Session) -> None:
    _ = [person.shouted for person in session.scalars(PEOPLE)]


def by_composite(session: Session) -> None:
    _ = [(person.at.x, person.name) for person in session.scalars(PEOPLE)]


def by_a_subclass(session: Session) -> None:
    _ = [writer.name for writer in session.scalars(select(Writer))]


def through_a_subclass(session: Session) -> None:
    _ = [person.name for person in session.scalars(PEOPLE) if isinstance(person, Writer)]


def all_of_them(session: Session) -> None:
    _ = [(person.name, person.biography) for person in session.scalars(PEOPLE)]


def deferred(session: Session) -> None:
    _ = [p.name for p in session.scalars(PEOPLE.options(defer(Person.biography)))]


def only(session: Session) -> None:
    _ = [p.name for p in session.scalars(PEOPLE.options(load_only(Person.name)))]


def columns(session: Session) -> None:
    _ = [row.name for row in session.execute(select(Person.name, Person.biography))]


def as_dicts(session: Session) -> None:
    _ = [dict(vars(person)) for person in session.scalars(PEOPLE)]


BIO = ["Person.biography"]

COLUMNS: list[tuple[Callable[[Session], None], list[str], list[str]]] = [
    (nothing, [], []),  # nothing was read the way that is watched: nothing is known
    (names, BIO, []),
    (by_synonym, BIO, []),
    (by_hybrid, BIO, []),
    (by_composite, BIO, []),
    (by_a_subclass, ["Person.biography", "Writer.pen"], ["unused-columns"]),
    (through_a_subclass, BIO, []),
    (all_of_them, [], []),
    (deferred, [], []),
    (only, [], []),
    (as_dicts, [], []),
]


@pytest.mark.parametrize(
    ("run", "expected", "label"), COLUMNS, ids=[case[0].__name__ for case in COLUMNS]
)
def test_columns(
    people: sqlalchemy.Engine,
    told: Telemetry,
    request_: Request,
    run: Callable[[Session], None],
    expected: list[str],
    label: list[str],
) -> None:
    with request_(), Session(people) as session:
        run(session)
    assert unread(told) == [expected]


def test_columns_selected_by_themselves_are_not_watched(
    people: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(people) as session:
        columns(session)
    assert unread(told) == [None]


def test_wide_rows_of_which_most_was_not_read(
    people: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(people) as session:
        _ = [letter.id for letter in session.scalars(select(Letter))]
        _ = [row.a for row in session.scalars(select(Row))]
    # Letters are too small to be worth a word, and so are rows.
    assert unread(told) == [["Letter.subject", "Letter.text"], ["Row.b"]]
    assert rules(told) == []
    told.clear()
    with request_(), Session(people) as session:
        _ = [person.id for person in session.scalars(PEOPLE)]
    (hint,) = hints.find(recorded(told))
    assert hint.rule == "unused-columns"
    assert "2 of 2 columns" in hint.evidence
    assert "Person.biography, Person.name" in hint.evidence or "Person.name" in hint.evidence


@pytest.mark.parametrize("eager", [selectinload, subqueryload, joinedload])
@pytest.mark.parametrize("reads", [True, False])
def test_eager_loads(
    people: sqlalchemy.Engine,
    told: Telemetry,
    request_: Request,
    eager: Callable[..., Any],
    reads: bool,
) -> None:
    with request_(), Session(people) as session:
        for person in session.scalars(PEOPLE.options(eager(Person.letters))).unique():
            _ = person.name, person.biography
            if reads:
                _ = [(letter.subject, letter.text) for letter in person.letters]
    assert rules(told) == ([] if reads else ["unused-eager-load"])


def test_an_eager_load_read_through_a_proxy(
    people: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(people) as session:
        for person in session.scalars(PEOPLE.options(selectinload(Person.letters))):
            _ = person.name, person.biography, list(person.subjects)
    assert "unused-eager-load" not in rules(told)


def test_an_eager_load_for_a_delete(
    people: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with Session(people) as session:
        with request_():
            first = PEOPLE.options(selectinload(Person.letters)).where(Person.id == 1)
            person = session.scalars(first).one()
            assert person.name == "n1"
            for letter in list(person.letters):
                session.delete(letter)
            session.flush()
        session.rollback()
    assert "unused-eager-load" not in rules(told)


def test_an_eager_load_that_found_nothing(
    people: sqlalchemy.Engine, told: Telemetry, request_: Request
) -> None:
    with request_(), Session(people) as session:
        session.scalars(
            PEOPLE.options(joinedload(Person.letters)).where(Person.id < 0)
        ).unique().all()
        _ = [letter.subject for letter in session.scalars(select(Letter).limit(2))]
    assert "unused-eager-load" not in rules(told)


@pytest.mark.parametrize("wide", [True, False])
def test_a_request_that_failed(
    people: sqlalchemy.Engine, told: Telemetry, request_: Request, wide: bool
) -> None:
    statement = PEOPLE if wide else PEOPLE.options(selectinload(Person.letters))
    with pytest.raises(ZeroDivisionError), request_(), Session(people) as session:
        assert session.scalars(statement).all()[0].id / 0
    assert unread(told)[0]
    assert rules(told) == []


def test_models_of_pydantic_are_not_watched(
    people: sqlalchemy.Engine,
    told: Telemetry,
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Row, "__pydantic_validator__", object(), raising=False)
    loads._known.clear()
    with request_(), Session(people) as session:
        _ = [row.a for row in session.scalars(select(Row))]
    loads._known.clear()
    assert unread(told) == [None]


async def test_async(async_engine: AsyncEngine, told: Telemetry, request_: Request) -> None:
    with request_():
        async with AsyncSession(async_engine) as session:
            statement = select(Order).options(selectinload(Order.items))
            for order in await session.scalars(statement):
                _ = order.customer_id
                await order.awaitable_attrs.customer
    (hint,) = (h for h in hints.find(recorded(told)) if h.rule == "unused-eager-load")
    assert "Order.items was loaded ahead" in hint.evidence
    assert "its query took" in hint.evidence


def test_requests_do_not_mix(people: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    with Session(people) as session:
        with request_():
            found = session.scalars(PEOPLE).all()
            assert found[0].name
        with request_():
            assert found[0].biography
    assert unread(told) == [BIO]


def test_off_it_is_as_it_was(people: sqlalchemy.Engine, told: Telemetry, request_: Request) -> None:
    loads.uninstall()
    assert InstrumentedAttribute.__get__.__module__ == "sqlalchemy.orm.attributes"
    assert not hasattr(InstrumentedAttribute.__get__, "__wrapped__")
    with request_(), Session(people) as session:
        names(session)
    assert unread(told) == [None]
    loads.install()
    assert hasattr(InstrumentedAttribute.__get__, "__wrapped__")


# The app is as it is without it.


def behaviour(engine: sqlalchemy.Engine) -> list[Any]:
    """What an app can see of its objects."""
    with Session(engine, expire_on_commit=False) as session:
        person = session.scalars(PEOPLE.options(selectinload(Person.letters))).first()
        assert person is not None
        row = session.get_one(Row, 1)
        seen: list[Any] = [
            type(person).__name__,
            person.name,
            person.called,
            person.shouted,
            person.at.x,
            list(person.subjects),
            sorted(key for key in vars(person) if not key.startswith("_")),
            sorted(inspect(person).unloaded),
            inspect(person).attrs.name.history,
            repr(row),
            row == Row(id=1, a="a", b="b"),
            str(Person.name == "x"),
            str(Person.name.property),
            str(select(Person.shouted)),
            hasattr(person, "nothing"),
            copy.copy(row).a,
        ]
        session.expunge_all()
        revived = pickle.loads(pickle.dumps(person))
        seen += [revived.name, revived.letters[0].text, sorted(vars(inspect(revived)))]
        try:
            _ = Letter.__dict__["person"].__get__(object(), object)
        except Exception as error:
            seen.append((type(error), str(error).partition(" at 0x")[0]))
        try:
            _ = Letter(id=1).text.upper()
        except AttributeError as error:
            seen.append(str(error))
        return seen


def test_the_app_sees_no_difference(people: sqlalchemy.Engine, request_: Request) -> None:
    with request_():
        watched = behaviour(people)
    loads.uninstall()
    assert watched == behaviour(people)


def test_a_fault_costs_the_fact_only(
    people: sqlalchemy.Engine,
    told: Telemetry,
    request_: Request,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed: list[str] = []
    monkeypatch.setattr(guard, "failed", failed.append)

    class Broken(dict[int, Any]):
        def __setitem__(self, *_: Any) -> None:
            raise RuntimeError

    def broken(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(
        loads.Loads, "__init__", lambda self: vars(self).update(read=Broken(), queries=[])
    )
    with request_(), Session(people) as session:
        names(session)
    monkeypatch.setattr(loads, "_of", broken)
    loads._known.clear()
    with request_(), Session(people) as session:
        names(session)
    assert set(failed) == {"watching a mapped attribute", "loads of a query"}
    assert len(queries_of(told)) == 2


def test_a_version_of_sqlalchemy_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[str] = []
    monkeypatch.setattr(guard, "failed", failed.append)
    loads.uninstall()
    loads.install()
    loads.uninstall()
    loads._wanted = True
    loads._hook(object())
    assert failed == ["watching what the ORM loads"]
    assert not hasattr(InstrumentedAttribute.__get__, "__wrapped__")


@pytest.mark.parametrize(
    ("signals", "on"), [("", False), ("+loads", True), ("queries,loads", True), ("loads", False)]
)
def test_only_who_asks_gets_it(signals: str, on: bool) -> None:
    program = (
        "from otel_toolbar.distro import runtime\n"
        f"runtime.install(enabled='true', signals={signals!r})\n"
        "from sqlalchemy.orm.attributes import InstrumentedAttribute\n"
        "print(hasattr(InstrumentedAttribute.__get__, '__wrapped__'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == f"{on}\n"
