"""The OpenAPI panel: the matched operation of real apps' documents, and how an exchange fits it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import pytest
from fastapi import Cookie, FastAPI, Form, Header
from litestar import Litestar, get
from litestar.params import FromPath, FromQuery
from pydantic import BaseModel

from otel_toolbar.insights.openapi import Body, Finding, Operation, Parameter, matched
from otel_toolbar.insights.openapi_values import misfit
from otel_toolbar.model import Kind, Log, Span, Trace
from otel_toolbar.panels import openapi
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings
from otel_toolbar.signals.process import openapi as told


class Tag(BaseModel):
    name: str


class Item(BaseModel):
    name: str
    size: int = 1
    tags: list[Tag] = []
    note: str | None = None


def fastapi_app() -> FastAPI:
    app = FastAPI()

    @app.put("/items/{number}", tags=["items"], responses={"4XX": {"description": "refused"}})
    async def change(
        number: int,
        data: Item,
        q: str,
        limit: int = 3,
        x_key: Annotated[str | None, Header()] = None,
        visit: Annotated[str | None, Cookie()] = None,
    ) -> Item:
        """Change one item."""
        return data

    return app


@get("/things/{number:int}")
async def thing(number: FromPath[int], q: FromQuery[str]) -> dict[str, int]:
    return {"n": number}


def trace(facts: Any, method: str, route: str, **attributes: Any) -> Trace:
    known = {"http.request.method": method, "http.route": route} | attributes
    span = Span("a" * 32, "1" * 16, None, "x", Kind.SERVER, 1, 2, known)
    made = Trace.of("a" * 32, [span], 3)
    body: Any = {"openapi": tuple(facts["openapi"])} if isinstance(facts, dict) else facts
    log = Log("", None, 1, 9, "", body, event="toolbar.process")
    return dataclasses.replace(made, process=log)


def put(**attributes: Any) -> Trace:
    facts = told.facts([fastapi_app()], make=True)
    return trace(facts, "PUT", "/items/{number}", **attributes)


GOOD: dict[str, Any] = {
    "url.query": "q=a&limit=4",
    "http.request.header.content-type": ("application/json; charset=utf-8",),
    "http.request.header.x-key": ("k",),
    "http.request.header.cookie": ("a=1; visit=2",),
    "http.response.status_code": 200,
    "http.response.header.content-type": ("application/json",),
}


def found(trace: Trace) -> Operation:
    operation = openapi.PANEL.view(trace, Settings()).operation
    assert operation is not None
    return operation


def said(trace: Trace) -> list[tuple[str, str]]:
    return [(each.verdict, each.text) for each in found(trace).findings]


def test_the_matched_operation_of_fastapi() -> None:
    operation = found(put(**GOOD))
    assert (operation.id, operation.method, operation.path) == (
        "change_items__number__put",
        "PUT",
        "/items/{number}",
    )
    assert (operation.summary, operation.description) == ("Change", "Change one item.")
    assert operation.docs == "/docs#/items/change_items__number__put"
    assert operation.parameters == (
        Parameter("number", "path", "integer", True, "", True),
        Parameter("q", "query", "string", True, "", True, ""),
        Parameter("limit", "query", "integer", False, "", True, ""),
        Parameter("x-key", "header", "string | null", False, "", True),
        Parameter("visit", "cookie", "string | null", False, "", True),
    )
    schema = "name: string\nsize?: integer\ntags?: Tag[]\nnote?: string | null"
    assert operation.bodies == (Body("application/json", schema),)
    assert operation.body_required
    responses = {each.status: each for each in operation.responses}
    assert set(responses) == {"200", "4XX"}
    assert responses["200"].answered
    assert responses["200"].bodies[0].schema == schema


def test_an_exchange_that_fits() -> None:
    assert said(put(**GOOD)) == [
        ("ok", "All required parameters were sent, and no unknown query parameter."),
        ("ok", "What was sent in path and query fits its schema."),
        ("ok", "The body's content type `application/json` is documented."),
        ("ok", "The status 200 is documented as `200`."),
        ("ok", "The response's content type `application/json` is documented."),
    ]
    assert openapi.PANEL.badge(openapi.PANEL.view(put(**GOOD), Settings())) == Badge(None)


def test_an_exchange_that_does_not() -> None:
    bad = put(
        **GOOD
        | {
            "url.query": "limit=4&page=2",
            "http.request.header.content-type": ("text/plain",),
            "http.response.status_code": 500,
        }
    )
    assert said(bad) == [
        ("warn", "The required query parameter `q` was not sent."),
        ("warn", "The query parameter `page` is not documented."),
        ("ok", "What was sent in path and query fits its schema."),
        ("warn", "The body's content type `text/plain` is not documented."),
        ("warn", "The status 500 is not documented."),
    ]
    assert openapi.PANEL.badge(openapi.PANEL.view(bad, Settings())) == Badge("4", "warn")
    html = GOOD | {"http.response.header.content-type": ("text/html; charset=utf-8",)}
    assert ("warn", "The response's content type `text/html` is not documented.") in said(
        put(**html)
    )


def test_statuses_by_class_and_what_is_not_known() -> None:
    assert said(put(**GOOD | {"http.response.status_code": 404}))[-1] == (
        "ok",
        "The status 404 is documented as `4XX`.",
    )
    bare = put(**{"http.target": "/items/7?q=1"})
    assert [each.sent for each in found(bare).parameters] == [True, True, False, None, None]
    assert said(bare)[1:] == [
        ("ok", "What was sent in path and query fits its schema."),
        ("unknown", "The request names no content type for its body."),
        ("unknown", "There is no response yet."),
    ]


def test_the_matched_operation_of_litestar() -> None:
    facts = told.facts([Litestar([thing])], make=True)
    exact = found(trace(facts, "GET", "/things/{number}"))
    assert exact.docs == "/schema#operation/ThingsNumberThing"
    assert found(trace(facts, "GET", "/things/{number:int}")).id == exact.id
    assert found(trace(facts, "GET", "/mounted/things/{number}")).id == exact.id


def document(**operation: Any) -> dict[str, Any]:
    text = json.dumps(
        {
            "paths": {
                "/": {"parameters": [{"$ref": "#/c/p"}, {"$ref": "#/c/h"}], "get": operation}
            },
            "c": {
                "p": {"name": "key", "in": "header", "required": True},
                "h": {"name": "Accept", "in": "header", "required": True},
                "loop": {"$ref": "#/c/loop"},
            },
        }
    )
    return {"openapi": [{"document": text, "docs": "/docs", "docs_kind": "scalar"}]}


def test_references_overrides_and_short_schemas() -> None:
    operation = document(
        deprecated=True,
        parameters=[
            {
                "name": "a",
                "in": "query",
                "schema": {"allOf": [{"$ref": "#/c/A"}, {"type": "object"}]},
            },
            {"name": "a", "in": "query", "schema": {"type": "string"}},
            {"name": "b", "in": "query", "schema": {"type": ["string", "null"]}},
            {"name": "c", "in": "other", "schema": {"type": "string", "format": "date"}},
            {"name": ""},
            "nothing",
        ],
        requestBody={"content": {"text/*": {"schema": {"$ref": "#/c/loop"}}}},
        responses={"default": {"$ref": "http://elsewhere"}},
    )
    sent = {"http.request.header.content_type": ("text/csv",), "http.response.status_code": 200}
    view = found(trace(operation, "GET", "/", **sent))
    assert [(each.name, each.type, each.sent) for each in view.parameters] == [
        ("a", "A & object", False),
        ("b", "string | null", False),
        ("c", "string date", None),
        ("key", "any", False),
    ]
    assert view.docs == "/docs#tag/default/GET/"
    assert view.findings[0] == Finding("warn", "The operation is deprecated.")
    assert Finding("ok", "The body's content type `text/csv` is documented.") in view.findings
    assert view.bodies[0].schema == "loop"
    assert view.responses[0].answered
    unseen = found(trace(operation, "GET", "/"))
    assert Finding("unknown", "Headers were not recorded, so they are not compared.") in (
        unseen.findings
    )


def test_a_schema_without_an_end() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(10):
        schema = {"type": "array", "items": schema}
    operation = document(parameters=[{"name": "a", "in": "query", "schema": schema}])
    assert found(trace(operation, "GET", "/")).parameters[0].type == "…[][][][][][]"


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "//evil.example", "https://evil.example", ""]
)
def test_links_stay_within_the_app(link: str) -> None:
    facts = document(operationId="x")
    facts["openapi"][0]["docs"] = link
    assert found(trace(facts, "GET", "/")).docs == ""


def test_where_no_operation_is_known() -> None:
    facts = told.facts([fastapi_app()], make=True)
    for method, route in (("GET", "/items/{number}"), ("PUT", "/nope"), ("PUT", "")):
        view = openapi.PANEL.view(trace(facts, method, route), Settings())
        assert (view.operation, view.documents, view.too_large) == (None, 1, False)
    large = {"openapi": [{"too_large": 2_000_000}]}
    assert openapi.PANEL.view(trace(large, "GET", "/"), Settings()).too_large
    broken = {"openapi": [{"document": "{"}]}
    assert openapi.PANEL.view(trace(broken, "GET", "/"), Settings()).too_large
    assert matched(Trace.of("a" * 32, [], 1)) is None


def test_values_that_do_not_fit() -> None:
    sent = {"url.query": "q=a&limit=many", "toolbar.request.path.number": "x7"}
    known = {each.name: each.misfit for each in found(put(**GOOD | sent)).parameters}
    assert {name: wrong for name, wrong in known.items() if wrong} == {
        "number": "an integer",
        "limit": "an integer",
    }
    assert said(put(**GOOD | sent))[:2] == [
        ("warn", "The path parameter `number` is not an integer."),
        ("warn", "The query parameter `limit` is not an integer."),
    ]


@pytest.mark.parametrize(
    ("schema", "sent", "wanted"),
    [
        ({"type": "integer"}, "7", ""),
        ({"type": "integer"}, " -7.0 ", ""),
        ({"type": "integer"}, "7.5", "an integer"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, "0", "at least 1"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, "10", "at most 9"),
        ({"type": "number", "exclusiveMinimum": 0}, "0", "more than 0"),
        ({"type": "number", "exclusiveMaximum": 1}, "1e0", "less than 1"),
        ({"type": "number"}, "a lot", "a number"),
        ({"type": "boolean"}, "On", ""),
        ({"type": "boolean"}, "maybe", "a boolean"),
        ({"type": "string", "minLength": 2}, "a", "at least 2 characters long"),
        ({"type": "string", "maxLength": 2}, "abc", "at most 2 characters long"),
        ({"enum": ["asc", "desc"]}, "up", "one of `asc`, `desc`"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "", ""),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", "an integer or null"),
        ({"oneOf": [{"$ref": "#/x"}, {"type": "boolean"}]}, "x", ""),
        ({"type": "integer"}, "***", ""),
        ({"type": "integer"}, "cut…", ""),
        ({"type": "object"}, "x", ""),
        ({"type": ["integer", "null"]}, "x", ""),
        ({}, "x", ""),
        ({"type": "integer", "minimum": "1"}, "9" * 400, ""),
    ],
)
def test_what_fits_a_schema(schema: dict[str, Any], sent: str, wanted: str) -> None:
    assert misfit(schema, sent, lambda given: {} if "$ref" in given else given) == wanted


def test_the_fields_of_a_form() -> None:
    app = FastAPI()

    @app.post("/send")
    async def send(to: Annotated[str, Form(max_length=5)], copies: Annotated[int, Form()]) -> None:
        raise NotImplementedError

    facts = told.facts([app], make=True)
    form = {"http.request.header.content-type": ("application/x-www-form-urlencoded",)}

    def of(**fields: str) -> list[tuple[str, str]]:
        sent = {f"toolbar.request.form.{name}": value for name, value in fields.items()}
        return [
            each
            for each in said(trace(facts, "POST", "/send", **form, **sent))
            if "form" in each[1]
        ]

    kind = ("ok", "The body's content type `application/x-www-form-urlencoded` is documented.")
    assert of(to="ada", copies="2") == [kind, ("ok", "The form fields fit their schema.")]
    assert of(to="ada lovelace", other="x") == [
        kind,
        ("warn", "The required form field `copies` was not sent."),
        ("warn", "The form field `to` is not at most 5 characters long."),
    ]
