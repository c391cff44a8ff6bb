"""GraphQL operations of Strawberry: what becomes a span, and that nothing of the app's changes."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Annotated, Any, cast

import pytest
import strawberry
from fastapi import FastAPI
from graphql import GraphQLError
from inline_snapshot import snapshot
from litestar import Litestar
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import create_engine, text
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry import relay
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import MaskErrors, SchemaExtension
from strawberry.extensions.tracing import OpenTelemetryExtension
from strawberry.fastapi import GraphQLRouter
from strawberry.litestar import make_graphql_controller
from strawberry.schema.config import StrawberryConfig

from otel_toolbar import guard
from otel_toolbar.insights import errors as error_insights
from otel_toolbar.settings import Settings
from otel_toolbar.signals import graphql, queries
from otel_toolbar.signals.core import light
from otel_toolbar.signals.graphql import document, errors, field, operation, resolver, schema, spans
from otel_toolbar.store.base import Query as Wanted
from tests.telemetry import (
    Telemetry,
    converse,
    exchange,
    http_scope,
    in_request,
    made_global,
    said,
    telemetry,
    watched,
    websocket_scope,
)


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    graphql.install()
    queries.install(Settings())
    made = telemetry()
    with made_global(made.provider):
        yield made
    graphql.uninstall()
    queries.uninstall()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("strawberry.execution")
    logger.disabled = True
    yield
    logger.disabled = False


ENGINE = create_engine("sqlite://")


@strawberry.type
class Customer:
    id: int
    plain: str = "as it is"

    @strawberry.field
    def name(self) -> str:
        with ENGINE.connect() as connection:
            found = connection.execute(text("SELECT 'customer ' || :id"), {"id": self.id})
            return found.scalar_one()


@strawberry.type
class Order:
    id: int

    @strawberry.field
    async def customer(self) -> Customer:
        await asyncio.sleep(0)
        return Customer(id=self.id * 10)

    @strawberry.field
    def loaded(self, info: strawberry.Info) -> int:
        return info.context["loader"].load(self.id)  # a future

    @strawberry.field
    def later(self) -> int:
        async def made() -> int:
            await asyncio.sleep(0)
            return self.id

        return made()  # type: ignore[return-value]

    @strawberry.field
    async def broken(self) -> int | None:
        if self.id == 1:
            raise RuntimeError("broken; password=hunter2-Zk3")
        return self.id

    @strawberry.field
    def attribute(self) -> int | None:
        return None


class Unreadable:
    @property
    def value(self) -> int:
        raise LookupError("no value")


@strawberry.type
class Thing:
    value: int | None


@strawberry.type
class Query:
    @strawberry.field
    def orders(self, first: int = 2) -> list[Order]:
        return [Order(id=number) for number in range(first)]

    @strawberry.field
    def refused(self) -> int | None:
        raise GraphQLError("not for you")

    @strawberry.field
    def thing(self) -> Thing:
        return Unreadable()  # type: ignore[return-value]

    @strawberry.field
    def login(self, name: str, password: str, tokens: list[str] | None = None) -> bool:
        return name == "ann"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, to: int = 2) -> AsyncGenerator[Order, None]:
        for number in range(to):
            await asyncio.sleep(0)
            yield Order(id=number)


def made_schema(*extensions: Any, **config: Any) -> strawberry.Schema:
    return strawberry.Schema(
        Query,
        subscription=Subscription,
        extensions=extensions,
        config=StrawberryConfig(**config),
    )


SCHEMA = made_schema()


loaded_within: list[str] = []
"""The spans in which the loaders were called."""


def context() -> dict[str, Any]:
    async def load(keys: list[int]) -> list[int]:
        await asyncio.sleep(0)
        loaded_within.append(getattr(trace.get_current_span(), "name", ""))
        return [key * 2 for key in keys]

    return {"loader": DataLoader(load)}


async def execute(
    asked: str, variables: dict[str, Any] | None = None, *, of: Any = SCHEMA, **more: Any
) -> Any:
    return await of.execute(asked, variable_values=variables, context_value=context(), **more)


def shown(signals: Telemetry) -> list[dict[str, Any]]:
    """What there is beside the request, without the times."""
    found = [span for span in signals.snapshot() if span["name"] not in ("GET /", "POST /graphql")]
    for span in found:
        for key in ("graphql.parsing.duration", "graphql.validation.duration"):
            if key in span["attributes"]:
                span["attributes"][key] = "..."
    return found


def operations(signals: Telemetry) -> list[dict[str, Any]]:
    return [span for span in shown(signals) if "graphql.document" in span["attributes"]]


def facts(signals: Telemetry) -> dict[str, Any]:
    """The attributes of the only operation."""
    (found,) = operations(signals)
    return found["attributes"]


def tree(signals: Telemetry) -> list[tuple[str, str | None, Any]]:
    return [
        (span["name"], span["parent"], span["attributes"].get("graphql.field.path"))
        for span in shown(signals)
    ]


async def test_an_operation(signals: Telemetry) -> None:
    with in_request(signals):
        result = await execute(
            "query Page($first: Int!) { orders(first: $first) { id customer { plain } } }",
            {"first": 1},
        )
    assert result.errors is None
    assert shown(signals) == snapshot(
        [
            {
                "name": "query",
                "kind": "INTERNAL",
                "parent": "GET /",
                "attributes": {
                    "graphql.complexity.aliases": 0,
                    "graphql.complexity.depth": 3,
                    "graphql.complexity.fields": 4,
                    "graphql.document": "query Page($first: Int!) { orders(first: $first) { id customer { plain } } }",
                    "graphql.operation.name": "Page",
                    "graphql.operation.type": "query",
                    "graphql.parsing.duration": "...",
                    "graphql.resolvers.count": 2,
                    "graphql.validation.duration": "...",
                    "graphql.variables.first": "1",
                },
            },
            {
                "name": "resolve Query.orders",
                "kind": "INTERNAL",
                "parent": "query",
                "attributes": {
                    "code.file.path": "/tests/unit/test_graphql.py",
                    "code.function.name": "tests.unit.test_graphql.Query.orders",
                    "code.line.number": "...",
                    "graphql.field.name": "orders",
                    "graphql.field.path": "orders",
                    "graphql.field.type": "[Order!]!",
                    "graphql.parent.name": "Query",
                },
            },
            {
                "name": "resolve Order.customer",
                "kind": "INTERNAL",
                "parent": "query",
                "attributes": {
                    "code.file.path": "/tests/unit/test_graphql.py",
                    "code.function.name": "tests.unit.test_graphql.Order.customer",
                    "code.line.number": "...",
                    "graphql.field.name": "customer",
                    "graphql.field.path": "orders.0.customer",
                    "graphql.field.type": "Customer!",
                    "graphql.parent.name": "Order",
                },
            },
        ]
    )


async def test_every_kind_of_resolver(signals: Telemetry) -> None:
    loaded_within.clear()
    with in_request(signals):
        result = await execute("{ orders { id loaded later customer { id } } }")
    assert result.data == {
        "orders": [
            {"id": number, "loaded": number * 2, "later": number, "customer": {"id": number * 10}}
            for number in (0, 1)
        ]
    }
    found = tree(signals)
    assert {(name, path) for name, _, path in found if path} == {
        ("resolve Query.orders", "orders"),
        *(
            (f"resolve Order.{name}", f"orders.{place}.{name}")
            for name in ("loaded", "later", "customer")
            for place in (0, 1)
        ),
    }
    assert {parent for name, parent, path in found if path} == {"query"}
    # The loader asks once, on behalf of the first that wanted something.
    assert loaded_within == ["resolve Order.loaded"]
    assert all(span.end_time for span in signals.exported())


async def test_queries_are_children_of_their_resolver(signals: Telemetry) -> None:
    with in_request(signals):
        await execute("{ orders(first: 5) { customer { name } } }")
    parents = [span["parent"] for span in shown(signals) if span["name"] == "SELECT"]
    assert parents == ["resolve Customer.name"] * 5
    (server,) = [span for span in signals.snapshot() if span["kind"] == "SERVER"]
    assert server["attributes"]["toolbar.n_plus_one.count"] == 1


# Errors.


def told(signals: Telemetry) -> list[tuple[Any, ...]]:
    """Span, type, message, path and whether it is an answer, of every error written down."""
    return [
        (
            span["name"],
            event["exception.type"],
            event["exception.message"],
            event.get("graphql.error.path"),
            event.get("toolbar.exception.handled", False),
        )
        for span in shown(signals)
        for name, event in span.get("events", ())
        if name == "exception"
    ]


GRAPHQL = "graphql.error.graphql_error.GraphQLError"


@pytest.mark.parametrize("extensions", [(), (MaskErrors,)])
async def test_errors(signals: Telemetry, extensions: Any) -> None:
    with in_request(signals):
        await execute("{ orders { broken } refused thing { value } }", of=made_schema(*extensions))
    assert sorted(told(signals)) == [
        ("query", "LookupError", "no value", "thing.value", False),
        ("resolve Order.broken", "RuntimeError", "broken; password=***", "orders.1.broken", False),
        ("resolve Query.refused", GRAPHQL, "not for you", "refused", True),
    ]
    failed = {span["name"] for span in shown(signals) if span.get("status") == "ERROR"}
    assert failed == {"query", "resolve Order.broken", "resolve Query.refused"}
    assert facts(signals)["graphql.errors.count"] == 3


async def test_an_error_is_told_once(signals: Telemetry) -> None:
    with in_request(signals):
        await execute("{ orders { broken } }")
    signals.exported()
    (found,) = signals.store.list(Wanted()).traces
    read = signals.store.get(found.trace_id)
    assert read is not None
    assert [(error.type, error.count) for error in error_insights.find(read)] == [
        ("RuntimeError", 1)
    ]


@pytest.mark.parametrize(
    ("asked", "variables", "message"),
    [
        ("{ orders {", None, "Syntax Error: Expected Name, found <EOF>."),
        ("{ nope }", None, "Cannot query field 'nope' on type 'Query'."),
        (
            '{ login(name: "a", password: 12345) }',
            None,
            "String cannot represent a non string value: ***",
        ),
        (
            'query Q($password: String!) { login(name: "a", password: $password) }',
            {"password": 12345},
            "Variable '$password' has invalid value ***",
        ),
        (
            "query Q($to: Int!) { orders(first: $to) { id } }",
            {"to": "x"},
            "Variable '$to' has invalid value: Int cannot represent non-integer value: 'x'",
        ),
    ],
)
async def test_errors_of_the_client(
    signals: Telemetry, asked: str, variables: Any, message: str
) -> None:
    with in_request(signals):
        result = await execute(asked, variables)
    assert result.data is None
    ((span, _, text, path, handled),) = told(signals)
    assert (text, path, handled) == (message, None, True)
    assert "12345" not in str(signals.snapshot())
    assert span == "query" or asked.endswith("{")


async def test_an_operation_that_there_is_none_of(signals: Telemetry) -> None:
    with in_request(signals), pytest.raises(Exception, match="Z"):
        await execute("query A { orders { id } }", operation_name="Z")
    ((name, kind, *_),) = told(signals)
    assert (name, kind) == (
        "GraphQL operation",
        "strawberry.schema.exceptions.CannotGetOperationTypeError",
    )
    assert facts(signals)["graphql.operation.name"] == "Z"


async def test_a_failing_extension_of_the_app(signals: Telemetry) -> None:
    class Broken(SchemaExtension):
        def on_operation(self) -> Iterator[None]:
            yield
            raise ZeroDivisionError("mine")

    with in_request(signals):
        result = await execute("{ orders { id } }", of=made_schema(Broken))
    assert [error.message for error in result.errors] == ["mine"]
    assert told(signals) == [("query", "ZeroDivisionError", "mine", None, False)]


async def test_an_extension_of_the_app_that_cannot_begin(signals: Telemetry) -> None:
    """Strawberry ends nothing then, and answers all the same."""

    class Broken(SchemaExtension):
        def on_operation(self) -> Iterator[None]:
            raise ZeroDivisionError("mine")
            yield

    with in_request(signals):
        before = otel_context.get_current()
        result = await execute("{ orders { id } }", of=made_schema(Broken))
        assert [error.message for error in result.errors] == ["mine"]
        assert otel_context.get_current() is before
    assert told(signals) == [("GraphQL operation", "ZeroDivisionError", "mine", None, False)]


@strawberry.type
class Item:
    @strawberry.field
    def bad(self) -> int | None:
        raise ValueError("bad")


@strawberry.type
class Items:
    @strawberry.field
    def items(self) -> list[Item]:
        return [Item()] * 150


async def test_many_errors(signals: Telemetry) -> None:
    with in_request(signals):
        await execute("{ items { bad } }", of=strawberry.Schema(Items))
    assert len(told(signals)) == errors.MOST
    assert facts(signals)["graphql.errors.count"] == 150


async def test_what_has_to_be_awaited_fails(signals: Telemetry) -> None:
    async def load(keys: list[int]) -> list[Any]:
        return [LookupError(f"no {key}") for key in keys]

    with in_request(signals):
        result: Any = await Late.schema().execute(
            "{ future coroutine }", context_value={"loader": DataLoader(load)}
        )
    assert sorted(error.message for error in result.errors) == ["late", "no 1"]
    assert sorted(told(signals)) == [
        ("resolve Late.coroutine", "RuntimeError", "late", "coroutine", False),
        ("resolve Late.future", "LookupError", "no 1", "future", False),
    ]


@strawberry.type
class Late:
    @classmethod
    def schema(cls) -> strawberry.Schema:
        return strawberry.Schema(cls)

    @strawberry.field
    def future(self, info: strawberry.Info) -> int | None:
        return info.context["loader"].load(1)

    @strawberry.field
    def coroutine(self) -> int | None:
        async def made() -> int:
            raise RuntimeError("late")

        return made()  # type: ignore[return-value]

    @strawberry.field
    async def forever(self) -> int:
        await asyncio.Event().wait()
        return 1


async def test_a_client_that_goes_away(signals: Telemetry) -> None:
    with in_request(signals):
        task = asyncio.create_task(Late.schema().execute("{ forever }"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
    found = shown(signals)
    assert [span["name"] for span in found] == ["query", "resolve Late.forever"]
    assert not any("status" in span for span in found)


# Bounds.


async def test_a_long_list(signals: Telemetry) -> None:
    with in_request(signals):
        await execute("{ orders(first: 150) { attribute customer { id } } }")
    found = shown(signals)
    assert facts(signals)["graphql.resolvers.count"] == 301
    for name in ("attribute", "customer"):
        spans_ = [span["attributes"] for span in found if span["name"] == f"resolve Order.{name}"]
        assert len(spans_) == resolver.ALIKE + 1
        (rest,) = [each for each in spans_ if "graphql.resolver.count" in each]
        assert rest["graphql.resolver.count"] == 50
        assert rest["graphql.field.path"] == f"orders.*.{name}"
        assert rest["graphql.resolver.duration"] > 0
    assert all(span.end_time for span in signals.exported())


async def test_the_rest_of_a_list_fails_and_queries(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "ALIKE", 1)
    with in_request(signals):
        await execute("{ orders(first: 3) { customer { name } broken } }")
    found = shown(signals)
    assert {span["parent"] for span in found if span["kind"] == "CLIENT"} == {
        "resolve Customer.name"
    }
    assert [each[:4:3] for each in told(signals)] == [("resolve Order.broken", "orders.1.broken")]


async def test_many_places(signals: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "PLACES", 3)
    monkeypatch.setattr(resolver, "MOST", 2)
    aliases = " ".join(f"a{number}: refused" for number in range(9))
    with in_request(signals):
        await execute("{" + aliases.replace("refused", 'login(name: "x", password: "y")') + "}")
    assert [span["attributes"].get("graphql.resolver.count") for span in shown(signals)] == [
        None,
        None,
        None,
        1,
    ]
    assert facts(signals)["graphql.resolvers.count"] == 9
    assert facts(signals)["graphql.complexity.aliases"] == 9


# What was asked.


async def test_secrets(signals: Telemetry) -> None:
    with in_request(signals):
        await execute(
            'query Q($password: String!, $in: [String!] = ["geheim"]) { a: login(name: "ann",'
            ' password: $password) token: login(name: "bob", password: "hunter2", tokens: ["t1"]) }'
            " # api_key=abcdefgh12345678",
            {"password": "hunter2", "more": {"secret": "hunter2", "name": "ann"}},
        )
    found = facts(signals)
    assert found["graphql.document"] == (
        'query Q($password: String!, $in: [String!] = ["geheim"]) { a: login(name: "ann",'
        ' password: $password) token: login(name: "bob", password: "***", tokens: ["***"]) }'
        " # api_key=***"
    )
    assert found["graphql.variables.password"] == "***"
    assert found["graphql.variables.more"] == "{'secret': ***, 'name': 'ann'}"


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        ('{ a(in: {password: "x", name: "y"}, n: 1) }', '{ a(in: {password: "***", name: "y"}, n: 1) }'),
        ('{ a(password: {value: "x", list: [1, {b: 2}]}, c: 3) }',
         '{ a(password: {value: "***", list: [***, {b: ***}]}, c: 3) }'),
        ('{ a(token: """block "quoted" \\""" text""", b: "z") }', '{ a(token: "***", b: "z") }'),
        ('{ token: a(b: "x") { c(d: 1) } }', '{ token: a(b: "x") { c(d: 1) } }'),
        ('{ a(b: "Bearer abcdefghijklmnop") }', '{ a(b: "Bearer ***") }'),
        ('query($token: String = "x", $n: Int = 2) { a }', 'query($token: String = "***", $n: Int = 2) { a }'),
        ('{ a(password: "open', '{ a(password: "***"'),
        (")]}{", ")]}{"),
        ("", ""),
    ],
)  # fmt: skip
def test_masked_documents(given: str, masked: str) -> None:
    assert document.masked(given) == masked


def test_a_long_document_is_cut() -> None:
    long = '{ a(b: "' + "x" * 40_000 + '") }'
    assert len(document.masked(long)) == document.LONGEST
    assert document.masked(long).endswith("…")


async def test_a_document_that_only_its_tree_is_known_of(signals: Telemetry) -> None:
    from graphql import parse

    class Persisted(SchemaExtension):
        def on_parse(self) -> Iterator[None]:
            self.execution_context.graphql_document = parse("query Kept { orders { id } }")
            yield

    class Known(strawberry.Schema):
        def _create_execution_context(self, *args: Any, **kwargs: Any) -> Any:
            given = super()._create_execution_context(*args, **kwargs)
            given.graphql_document = parse("query Kept { orders { id } }")
            return given

    with in_request(signals):
        result = await execute(None, of=Known(Query))  # type: ignore[arg-type]
        assert result.errors is None
    found = facts(signals)
    assert found["graphql.document"] == "query Kept { orders { id } }"
    assert found["graphql.operation.name"] == "Kept"
    assert found["graphql.complexity.depth"] == 2


async def test_variables_that_are_none(signals: Telemetry) -> None:
    with in_request(signals):
        assert operation.begin(None) is None  # a version that tells nothing
        guard.forget()
        await execute("{ orders { id } }", {str(number): number for number in range(40)})
    named = [key for key in facts(signals) if key.startswith("graphql.variables.")]
    assert len(named) == 32


async def test_introspection_has_no_resolvers(signals: Telemetry) -> None:
    with in_request(signals):
        result = await execute("{ __schema { types { name fields { name } } } __typename }")
    assert result.errors is None
    assert [span["name"] for span in shown(signals)] == ["query"]
    assert facts(signals)["graphql.resolvers.count"] == 0


@strawberry.type
class Fruit(relay.Node):
    id: relay.NodeID[int]

    @classmethod
    def resolve_nodes(cls, *, info: Any, node_ids: Any, required: bool = False) -> Any:
        return [cls(id=int(each)) for each in node_ids]


@strawberry.federation.type(keys=["id"])
class Product:
    id: strawberry.ID

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> Product:  # noqa: A002 - a key of the type
        return cls(id=id)


@strawberry.type
class Shop:
    node: relay.Node = relay.node()

    @relay.connection(relay.ListConnection[Fruit])
    def fruits(self) -> list[Fruit]:
        return [Fruit(id=number) for number in range(3)]

    @strawberry.field
    def product(self) -> Product | None:
        return None


async def test_relay_and_federation(signals: Telemetry) -> None:
    """Strawberry's own functions stand for the app's at the root; the ids of nodes are attributes."""
    of = strawberry.federation.Schema(Shop, types=[Fruit])
    asked = """{
        _entities(representations: [{__typename: "Product", id: "7"}]) { ... on Product { id } }
        fruits(first: 2) { edges { node { id } } pageInfo { hasNextPage } }
        node(id: "RnJ1aXQ6MQ==") { id }
    }"""
    with in_request(signals):
        result = await execute(asked, of=of)
    assert result.errors is None
    assert [path for _, _, path in tree(signals) if path] == ["_entities", "fruits", "node"]


# Several at once.


async def test_operations_at_the_same_time_are_kept_apart(signals: Telemetry) -> None:
    async def one(number: int) -> None:
        with in_request(signals):
            await execute(f"query Q{number} {{ orders(first: {number}) {{ customer {{ id }} }} }}")

    await asyncio.gather(*(one(number) for number in range(1, 40)))
    spans_: list[Any] = list(signals.exported())
    trace_of = {
        dict(span.attributes or {})["graphql.operation.name"]: span.context.trace_id
        for span in spans_
        if span.name == "query"
    }
    for number in range(1, 40):
        mine = [s for s in spans_ if s.context.trace_id == trace_of[f"Q{number}"]]
        assert sum(span.name == "resolve Order.customer" for span in mine) == number


async def test_a_batch(signals: Telemetry) -> None:
    app = FastAPI()
    router = GraphQLRouter(
        made_schema(batching_config={"max_operations": 3}), context_getter=context
    )
    app.include_router(router, prefix="/graphql")
    asked = [{"query": "query One { orders { id } }"}, {"query": "query Two { refused }"}]
    done = await post(app, asked)
    assert [each["data"] for each in json.loads(done.body)] == [
        {"orders": [{"id": 0}, {"id": 1}]},
        {"refused": None},
    ]
    named = {each["attributes"]["graphql.operation.name"]: each for each in operations(signals)}
    assert list(named) == ["One", "Two"]
    assert named["Two"]["attributes"]["graphql.errors.count"] == 1
    assert "graphql.errors.count" not in named["One"]["attributes"]


async def test_one_of_several_operations_of_a_document(signals: Telemetry) -> None:
    asked = "query One { refused } query Two { orders { customer { id } } }"
    with in_request(signals):
        await execute(asked, operation_name="Two")
    found = facts(signals)
    assert found["graphql.operation.name"] == "Two"
    assert (found["graphql.complexity.depth"], found["graphql.complexity.fields"]) == (3, 3)


def test_without_a_loop(signals: Telemetry) -> None:
    with in_request(signals):
        result = SCHEMA.execute_sync("{ orders { attribute } refused }")
    assert result.errors is not None
    assert [span["name"] for span in shown(signals)] == [
        "query",
        "resolve Query.orders",
        "resolve Order.attribute",
        "resolve Order.attribute",
        "resolve Query.refused",
    ]


def test_a_coroutine_without_a_loop(signals: Telemetry) -> None:
    asked = "{ orders { broken } }"

    def run() -> list[str]:
        import warnings

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = SCHEMA.execute_sync(asked)
            assert result.errors is not None
            messages = [error.message for error in result.errors]
            del result
            gc.collect()
        return messages + sorted(str(each.message) for each in caught)

    graphql.uninstall()
    without = run()
    graphql.install()
    with in_request(signals):
        assert len(run()) == len(without)
    assert facts(signals)["graphql.errors.count"] == 1


# Subscriptions.


async def test_a_subscription(signals: Telemetry) -> None:
    with in_request(signals):
        before = trace.get_current_span()
        results = await SCHEMA.subscribe("subscription S { ticks { id broken attribute } }")
        ticks: list[Any] = []
        async for result in cast(Any, results):
            assert trace.get_current_span() is before, "who takes a result is not within it"
            ticks.append(result.data["ticks"])
        assert trace.get_current_span() is before
    assert ticks == [
        {"id": 0, "broken": 0, "attribute": None},
        {"id": 1, "broken": None, "attribute": None},
    ]
    assert tree(signals) == [
        ("subscription", "GET /", None),
        ("resolve Order.attribute", "subscription", "ticks.attribute"),
        ("resolve Order.broken", "subscription", "ticks.broken"),
        ("resolve Order.attribute", "subscription", "ticks.attribute"),
        ("resolve Order.broken", "subscription", "ticks.broken"),
    ]
    found = facts(signals)
    assert (found["graphql.results.count"], found["graphql.errors.count"]) == (2, 1)
    assert found["graphql.resolvers.count"] == 4


async def test_a_subscription_that_nobody_reads_to_its_end(signals: Telemetry) -> None:
    with in_request(signals):
        before = otel_context.get_current()
        results = await SCHEMA.subscribe("subscription { ticks(to: 9) { id } }")
        await results.__anext__()
        assert otel_context.get_current() is before
        await asyncio.create_task(results.aclose())  # elsewhere
        assert otel_context.get_current() is before
    assert facts(signals)["graphql.results.count"] == 1


async def test_a_subscription_that_cannot_begin(signals: Telemetry) -> None:
    with in_request(signals):
        results = await SCHEMA.subscribe("subscription { nope }")
        assert [result.errors is not None async for result in results] == [True]
    assert facts(signals)["graphql.errors.count"] == 1
    assert len(told(signals)) == 1


async def test_results_have_spans_of_their_own(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is bounded for each result: of a long subscription the last ones are worth most."""
    monkeypatch.setattr(resolver, "MOST", 1)
    with in_request(signals):
        results = await SCHEMA.subscribe("subscription { ticks { attribute } }")
        async for _ in results:
            pass
    assert [name for name, *_ in tree(signals)].count("resolve Order.attribute") == 2


async def test_a_subscription_over_a_websocket(signals: Telemetry) -> None:
    app = Starlette(routes=[])
    app.router.routes.append(websocket_route("/graphql", GraphQL(SCHEMA)))
    done = await converse(
        watched(app),
        websocket_scope("/graphql", subprotocols=["graphql-transport-ws"]),
        [
            *said(
                json.dumps({"type": "connection_init"}),
                json.dumps(
                    {
                        "id": "1",
                        "type": "subscribe",
                        "payload": {"query": "subscription { ticks { attribute } }"},
                    }
                ),
            )[:-1],
            *[{"type": "websocket.receive", "text": json.dumps({"type": "pong"})}] * 30,
            {"type": "websocket.disconnect", "code": 1000, "reason": ""},
        ],
    )
    assert done.error is None
    sent = [json.loads(each["text"])["type"] for each in done.messages[1:] if "text" in each]
    assert sent == ["connection_ack", "next", "next", "complete"]
    assert facts(signals)["graphql.results.count"] == 2


def websocket_route(path: str, app: Any) -> Any:
    from starlette.routing import WebSocketRoute

    return WebSocketRoute(path, app)


# Frameworks.


async def post(app: Any, asked: Any) -> Any:
    headers = [(b"host", b"localhost:8000"), (b"content-type", b"application/json")]
    scope = http_scope("/graphql", method="POST", headers=headers)
    return await exchange(watched(app), scope, (json.dumps(asked).encode(),))


def fastapi_app() -> Any:
    app = FastAPI()
    app.include_router(GraphQLRouter(SCHEMA), prefix="/graphql")
    return app


def starlette_app() -> Any:
    return Starlette(routes=[Route("/graphql", GraphQL(SCHEMA), methods=["POST"])])


def litestar_app() -> Any:
    return Litestar([make_graphql_controller(SCHEMA, path="/graphql")])


@pytest.mark.filterwarnings("ignore:.*Inferred dependency:DeprecationWarning")
@pytest.mark.parametrize("make", [fastapi_app, starlette_app, litestar_app])
async def test_frameworks(signals: Telemetry, make: Any) -> None:
    graphql.uninstall()
    asked = {"query": "query Q { orders { id broken } thing { value } }"}
    bare = await exchange(
        make(),
        http_scope(
            "/graphql",
            method="POST",
            headers=[(b"host", b"localhost:8000"), (b"content-type", b"application/json")],
        ),
        (json.dumps(asked).encode(),),
    )
    graphql.install()
    signals.clear()
    done = await post(make(), asked)
    assert (done.status, done.body) == (200, bare.body)
    names = [span["name"] for span in shown(signals) if "graphql" in str(span["attributes"])]
    assert [name for name in names if name.startswith(("query", "resolve"))] == [
        "query",
        "resolve Query.orders",
        "resolve Query.thing",
        "resolve Order.broken",
        "resolve Order.broken",
    ]


# Nothing of the app's changes.


async def test_the_apps_extensions_are_as_they_were(signals: Telemetry) -> None:
    seen: list[str] = []

    class Outer(SchemaExtension):
        def on_operation(self) -> Iterator[None]:
            seen.append("outer")
            yield
            seen.append("outer ends")

        def get_results(self) -> dict[str, Any]:
            return {"outer": 1}

    class Inner(SchemaExtension):
        async def on_execute(self) -> AsyncIterator[None]:
            seen.append("inner")
            yield

        async def resolve(self, _next: Any, root: Any, info: Any, *args: Any, **kwargs: Any) -> Any:
            result = _next(root, info, *args, **kwargs)
            seen.append(f"{info.field_name} {asyncio.iscoroutine(result)}")
            return await result if hasattr(result, "__await__") else result

    asked = "{ orders(first: 1) { id later loaded broken } }"
    of = made_schema(Outer, Inner)
    graphql.uninstall()
    without = await execute(asked, of=of)
    expected, seen[:] = list(seen), []
    graphql.install()
    with in_request(signals):
        result = await execute(asked, of=of)
    assert (result.data, result.extensions) == (without.data, without.extensions)
    assert seen == expected
    assert of.extensions == (Outer, Inner)


@strawberry.type
class Named:
    @strawberry.field
    async def apart(
        self,
        a: Annotated[int, strawberry.argument(name="root")],
        b: Annotated[int, strawberry.argument(name="real")],
        c: Annotated[int, strawberry.argument(name="made")],
        d: Annotated[int, strawberry.argument(name="_next")],
        e: Annotated[int, strawberry.argument(name="args")],
    ) -> list[int]:
        return [a, b, c, d, e]

    @strawberry.field
    def together(
        self,
        a: Annotated[int, strawberry.argument(name="root")],
        b: Annotated[int, strawberry.argument(name="self")],
        c: Annotated[int, strawberry.argument(name="made")],
    ) -> list[int]:
        return [a, b, c]


async def test_arguments_that_are_named_as_ours(signals: Telemetry) -> None:
    asked = "{ apart(root: 1, real: 2, made: 3, _next: 4, args: 5) together(root: 1, self: 2, made: 3) }"
    with in_request(signals):
        result = await execute(asked, of=strawberry.Schema(Named))
    assert (result.errors, result.data) == (None, {"apart": [1, 2, 3, 4, 5], "together": [1, 2, 3]})
    assert facts(signals)["graphql.resolvers.count"] == 2


async def test_strawberrys_own_tracing(signals: Telemetry) -> None:
    with in_request(signals):
        await execute(
            "query Q { orders(first: 1) { later } }", of=made_schema(OpenTelemetryExtension)
        )
    assert [(name, parent) for name, parent, _ in tree(signals)] == [
        ("query", "GET /"),
        ("GraphQL Query: Q", "query"),
        ("GraphQL Parsing", "GraphQL Query: Q"),
        ("GraphQL Validation", "GraphQL Query: Q"),
        ("GraphQL Resolving: orders", "GraphQL Query: Q"),
        ("resolve Query.orders", "GraphQL Resolving: orders"),
        ("GraphQL Resolving: later", "GraphQL Query: Q"),
        ("resolve Order.later", "GraphQL Resolving: later"),
    ]


async def test_outside_of_requests(signals: Telemetry) -> None:
    await execute("{ orders { id } }")
    assert signals.snapshot() == []
    with trace.get_tracer("jobs").start_as_current_span("process mail", kind=SpanKind.CONSUMER):
        await execute("query Q($n: Int) { orders(first: $n) { later } }", {"n": 101})
    found = shown(signals)
    assert [span["name"] for span in found[:3]] == ["process mail", "query", "resolve Query.orders"]
    assert len(found) == 3 + resolver.ALIKE + 1
    assert facts(signals)["graphql.variables.n"] == "101"
    assert facts(signals)["graphql.complexity.fields"] == 2


async def test_before_there_is_a_server_span(signals: Telemetry) -> None:
    from otel_toolbar.signals.core import record as records

    token = records.enter(records.Record(10))
    await execute("{ orders { id } }")
    records.leave(token)
    assert signals.snapshot() == []


async def test_a_running_operation_is_shown(signals: Telemetry) -> None:
    with in_request(signals) as record:
        results = await SCHEMA.subscribe("subscription { ticks { id } }")
        await results.__anext__()
        (span,) = record.spans
        assert span.name == "subscription"
        assert span.attributes["graphql.document"] == "subscription { ticks { id } }"
        await results.aclose()
        assert span.attributes["graphql.results.count"] == 1


async def test_off_means_untouched(signals: Telemetry) -> None:
    graphql.uninstall()
    real = vars(strawberry.Schema)["get_extensions"]
    assert not hasattr(real, "__wrapped__")
    with in_request(signals):
        await execute("{ orders { id } }")
    assert shown(signals) == []
    graphql.install()
    graphql.install()
    graphql.uninstall()
    graphql.uninstall()
    assert vars(strawberry.Schema)["get_extensions"] is real


async def test_switched_off_in_the_middle(signals: Telemetry) -> None:
    made: Any = SCHEMA.get_extensions()[0]
    graphql.uninstall()
    made.execution_context = None
    with in_request(signals):
        hook = made.on_operation()
        next(hook)
        assert list(hook) == []
        for each in (made.on_parse(), made.on_validate(), made.on_execute(), made.on_stream_result(None)):  # fmt: skip
            assert list(each) == [None]
    assert shown(signals) == []


def test_a_version_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    guard.forget()
    from strawberry.schema import schema as module

    monkeypatch.delattr(module.Schema, "get_extensions")
    graphql.install()
    assert "strawberry.schema.schema is not of a version that the toolbar knows" in caplog.text
    graphql.uninstall()
    guard.forget()


async def test_versions_that_share_extensions(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They make them once for a schema; the operation is told by an attribute, before each."""
    graphql.uninstall()
    monkeypatch.setattr(strawberry.Schema, "_sync_extensions", [], raising=False)
    graphql.install()

    class Kept(strawberry.Schema):
        kept: Any = None

        def get_extensions(self, sync: bool = False) -> Any:
            self.kept = self.kept or super().get_extensions(sync)
            return self.kept

    of = Kept(Query)
    with in_request(signals):
        await asyncio.gather(
            *(execute(f"query Q{n} {{ orders(first: {n}) {{ later }} }}", of=of) for n in (1, 2, 3))
        )
    assert {
        (
            each["attributes"]["graphql.operation.name"],
            each["attributes"]["graphql.resolvers.count"],
        )
        for each in operations(signals)
    } == {("Q1", 2), ("Q2", 3), ("Q3", 4)}


async def test_versions_that_do_not_tell_of_results(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_toolbar.signals.graphql import extension

    monkeypatch.setattr(extension, "_TELLS_RESULTS", False)
    monkeypatch.delattr(extension.ToolbarExtension, "on_stream_result")
    with in_request(signals):
        before = trace.get_current_span()
        async for _ in await SCHEMA.subscribe("subscription { ticks { attribute } }"):
            assert trace.get_current_span() is before
    assert tree(signals) == [("subscription", "GET /", None)]


def raising(*_args: Any, **_kwargs: Any) -> Any:
    raise AssertionError("ours")


@pytest.mark.replaces
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (schema, "_extension_for"),
        (operation, "_wanted"),
        (operation, "otel_context"),
        (operation, "trace"),
        (operation.masking, "value"),
        (operation.masking, "clean"),
        (operation.Operation, "_put_variables"),
        (operation.Operation, "_take"),
        (operation.Operation, "_identify"),
        (operation.Operation, "_put_duration"),
        (operation.Operation, "_sum_up"),
        (operation.Operation, "_leave"),
        (operation.Operation, "put_error"),
        (spans, "start_operation"),
        (spans, "start_resolver"),
        (spans, "start_rest"),
        (spans, "_place"),
        (light.LightSpan, "end"),
        (light.LightSpan, "set_attribute"),
        (document, "described"),
        (document, "masked"),
        (field, "_facts"),
        (field.Field, "end_rest"),
        (resolver, "is_resolved_by_app"),
        (resolver, "place"),
        (resolver, "otel_context"),
        (resolver, "trace"),
        (resolver, "time"),
        (resolver.Call, "_finish"),
        (resolver.Call, "_put"),
        (errors, "put"),
        (errors, "record"),
        (errors, "record_raised"),
    ],
)
async def test_a_fault_costs_a_fact_only(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    guard.forget()
    monkeypatch.setattr(resolver, "ALIKE", 1)
    asked = "query Q($n: Int) { orders(first: $n) { id customer { name } loaded later broken } thing { value } refused }"

    async def results() -> list[Any]:
        executed = [
            await execute(asked, {"n": 2}),
            await execute("{ nope }"),
            SCHEMA.execute_sync("{ orders { attribute } refused }"),
        ]
        found: list[Any] = [
            (each.data, [error.formatted for error in each.errors], each.extensions)
            for each in executed
        ]
        try:
            await execute("query A { refused }", operation_name="Z")
        except Exception as error:
            found.append(repr(error))
        subscription = await SCHEMA.subscribe("subscription { ticks { id broken } }")
        found += [result.data async for result in subscription]
        return found

    graphql.uninstall()
    without = await results()
    if owner is schema:
        monkeypatch.setattr(owner, name, lambda _schema: raising)
        graphql.install()
    else:
        graphql.install()
    with in_request(signals), monkeypatch.context() as patch:
        if owner is not schema:
            patch.setattr(owner, name, raising)
        assert await results() == without
    guard.forget()
