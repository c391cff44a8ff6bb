"""The facts of a process, gathered from real apps: routes, settings, versions, hooks, OpenAPI."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from litestar import Litestar, Router, get, post, websocket_listener
from litestar.events import listener
from litestar.openapi import OpenAPIConfig
from litestar.params import FromPath, FromQuery, JSONBody
from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings
from quart import Quart
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.routing import Router as StarletteRouter
from starlette.staticfiles import StaticFiles

from otel_toolbar.signals.core import functions
from otel_toolbar.signals.core.framework import layers
from otel_toolbar.signals.process import configuration, hooks, openapi, routes, versions

HERE = __name__


def short(app: Any) -> list[tuple[Any, ...]]:
    return [
        (each["framework"], " ".join(each["methods"]), each["path"], each["kind"],
         each["name"], each.get("function", "").removeprefix(HERE + "."))
        for each in routes.of(app)
    ]  # fmt: skip


async def page(request: Any) -> PlainTextResponse:
    return PlainTextResponse("page")


class Orders(HTTPEndpoint):
    async def get(self, request: Any) -> PlainTextResponse:
        return PlainTextResponse("orders")


async def plain(scope: Any, receive: Any, send: Any) -> None: ...


def starlette_app() -> Starlette:
    inner = Starlette(routes=[Route("/a/{b:int}", page, name="deep", methods=["POST"])])
    return Starlette(
        routes=[
            Route("/orders/{id}", Orders),
            Route("/partial", functools.partial(page), name="partial"),
            WebSocketRoute("/live", page, name="live"),
            Mount("/static", StaticFiles(directory=Path(__file__).parent), name="static"),
            Mount("/old", inner),
            Mount("/router", StarletteRouter([Route("/x", page)])),
            Mount("/plain", plain),
            Host("api.example", inner),
        ],
        middleware=[Middleware(GZipMiddleware)],
    )


def test_routes_of_starlette() -> None:
    assert short(GZipMiddleware(starlette_app())) == [
        ("starlette", "", "/orders/{id}", "http", "Orders", "Orders"),
        ("starlette", "GET HEAD", "/partial", "http", "partial", "page"),
        ("starlette", "", "/live", "websocket", "live", "page"),
        ("starlette", "", "/static", "mount", "static", "starlette.staticfiles.StaticFiles"),
        ("starlette", "POST", "/old/a/{b}", "http", "deep", "page"),
        ("starlette", "GET HEAD", "/router/x", "http", "page", "page"),
        ("starlette", "", "/plain", "mount", "", "plain"),
        ("starlette", "POST", "/a/{b}", "http", "deep", "page"),
    ]


def test_routes_of_fastapi_with_included_routers_and_a_mounted_litestar() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    inner, router = APIRouter(prefix="/inner"), APIRouter(prefix="/api")

    @inner.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    @router.websocket("/live")
    async def live(socket: Any) -> None: ...

    router.include_router(inner)
    app.include_router(router, prefix="/v1")

    @get("/mounted/{number:int}", name="counted")
    async def mounted(number: FromPath[int]) -> int:
        return number

    app.mount("/litestar", Litestar([mounted], openapi_config=None))
    prefix = "test_routes_of_fastapi_with_included_routers_and_a_mounted_litestar.<locals>."
    assert short(app) == [
        ("fastapi", "", "/v1/api/live", "websocket", "live", prefix + "live"),
        ("fastapi", "GET", "/v1/api/inner/items/{number}", "http", "item", prefix + "item"),
        ("litestar", "GET", "/litestar/mounted/{number}", "http", "counted", prefix + "mounted"),
    ]


@get("/items/{number:int}", name="one")
async def one(number: FromPath[int], token: FromQuery[str] = "a") -> int:
    """One item."""
    return number


@post("/items")
async def add(data: JSONBody[dict[str, int]]) -> None: ...


@websocket_listener("/live")
async def live(data: str) -> str:
    return data


def test_routes_of_litestar() -> None:
    app = Litestar([Router("/v1", route_handlers=[one, add]), live], openapi_config=None)
    assert sorted(short(app)) == [
        ("litestar", "", "/live", "websocket", "",
         "litestar.handlers.websocket_handlers._utils.ListenerHandler"),
        ("litestar", "GET", "/v1/items/{number}", "http", "one", "one"),
        ("litestar", "POST", "/v1/items", "http", "", "add"),
    ]  # fmt: skip


def quart_app() -> Quart:
    app = Quart(HERE, static_folder=None)

    @app.get("/items/<int:number>")
    async def item(number: int) -> str:
        return str(number)

    @app.websocket("/live")
    async def live() -> None: ...

    return app


def test_routes_of_quart() -> None:
    assert short(quart_app()) == [
        ("quart", "GET HEAD OPTIONS", "/items/<int:number>", "http", "item",
         "quart_app.<locals>.item"),
        ("quart", "", "/live", "websocket", "live", "quart_app.<locals>.live"),
    ]  # fmt: skip


DJANGO = """
import json, sys, types
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import include, path, re_path
from otel_toolbar.signals.process import configuration, routes

settings.configure(ROOT_URLCONF="urls", SECRET_KEY="hunter2-django", DEBUG=True, DATABASES={
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "PASSWORD": "hunter2-db"}})
app = get_asgi_application()
assert list(routes.of(app)) == [], "the URLconf is not imported for us"
async def view(request, number=0): ...
urls = types.ModuleType("urls")
inner = ([path("<int:number>/", view, name="one")], "shop")
urls.urlpatterns = [path("items/", include(inner)), re_path("^old/(?P<n>[0-9]+)$", view)]
sys.modules["urls"] = urls
print(json.dumps([list(routes.of(app)), configuration.facts([app], {})["settings"]]))
"""


def test_routes_and_settings_of_django() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DJANGO], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, (settings, *_) = json.loads(done.stdout)
    assert [(each["path"], each["name"], each["function"]) for each in found] == [
        ("/items/<int:number>/", "shop:one", "__main__.view"),
        ("/^old/(?P<n>[0-9]+)$", "", "__main__.view"),
    ]
    assert settings["title"] == "django.conf.settings"
    values = dict(settings["values"])
    assert values["SECRET_KEY"] == "***"
    assert values["DEBUG"] == "True"
    assert "'PASSWORD': ***" in values["DATABASES"]
    assert "hunter2" not in done.stdout


def test_too_many_routes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_ROUTES", 3)
    found = routes.facts([starlette_app()])
    assert len(found["routes"]) == 3
    assert found["routes_dropped"] == 5


def test_apps_of_no_framework_have_no_routes() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    nested = Starlette()
    nested.mount("/self", nested)
    assert routes.facts([app]) == {"routes": []}
    assert len(routes.facts([nested])["routes"]) == 1  # cut, not endless


def test_where_a_function_stands() -> None:
    class Called:
        def __call__(self) -> None: ...

        def method(self) -> None: ...

    @functools.wraps(page)
    def decorated() -> None: ...

    expected = page.__code__
    for target in (page, functools.partial(page), decorated, functools.partial(decorated)):
        assert functions.of(target) == {
            "function": f"{HERE}.page",
            "file": expected.co_filename,
            "line": expected.co_firstlineno,
        }
    name = f"{HERE}.test_where_a_function_stands.<locals>.Called"
    assert functions.of(Called()) == {"function": name, "file": __file__}
    assert functions.of(Called().method)["function"] == f"{name}.method"
    assert functions.of(print) == {"function": "builtins.builtin_function_or_method"}
    endless = types.SimpleNamespace()
    endless.__wrapped__ = endless
    assert functions.of(endless)["function"] == "types.SimpleNamespace"


# Settings.

SECRET = "hunter2-Zk3"


class Own:
    def __repr__(self) -> str:
        raise AssertionError("nothing of the app's is called")


class Refusing(FastAPI):
    @property
    def config(self) -> Any:
        raise AssertionError("nothing of the app's is called")


class Configured(BaseSettings):
    api_key: str = SECRET
    dsn: str = f"postgresql://user:{SECRET}@host/shop"
    wrapped: SecretStr = SecretStr(SECRET)
    workers: int = 3


CONFIGURED = Configured()


def groups(*apps: Any, toolbar: dict[str, Any] | None = None) -> dict[str, dict[str, str]]:
    found = configuration.facts(apps, toolbar or {})["settings"]
    return {group["title"]: dict(group["values"]) for group in found}


def test_settings_of_each_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        monkeypatch.setenv(name, f"x-honeycomb-team={SECRET},other={SECRET}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:{SECRET}@collector:4318")
    monkeypatch.setenv("OTEL_TOOLBAR_TOKEN", SECRET)
    monkeypatch.setenv("SECRET_OF_THE_APP", SECRET)
    fastapi = Refusing(title="Shop", debug=True)
    fastapi.state.secret_key, fastapi.state.own, fastapi.state.size = SECRET, Own(), 3
    quart = quart_app()
    quart.config.update(
        SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=[SECRET], REDIS=f"redis://:{SECRET}@h/0", OWN=Own()
    )
    litestar = Litestar([one], debug=True, openapi_config=None)
    litestar.state["api_token"] = SECRET
    found = groups(fastapi, quart, litestar, toolbar={"OTEL_TOOLBAR_TOKEN": SECRET, "N": 1})

    assert SECRET not in json.dumps(found)
    assert found["FastAPI app"]["title"] == "Shop"
    assert found["FastAPI app"]["debug"] == "True"
    assert found["app.config (Quart)"]["SECRET_KEY"] == "***"
    assert found["app.config (Quart)"]["REDIS"] == "redis://:***@h/0"
    assert found["app.config (Quart)"]["OWN"] == f"<{HERE}.Own>"
    assert found["app.config (Quart)"]["SESSION_COOKIE_SECURE"] == "False"
    assert found["Litestar app"]["debug"] == "True"
    assert found["app.state"] == {"api_token": "***"}
    assert found["otel-toolbar"] == {"OTEL_TOOLBAR_TOKEN": "***", "N": "1"}
    environment = found["OpenTelemetry (environment)"]
    assert environment["OTEL_EXPORTER_OTLP_HEADERS"] == "x-honeycomb-team=***,other=***"
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://me:***@collector:4318"
    assert "OTEL_TOOLBAR_TOKEN" not in environment
    assert not any("SECRET_OF_THE_APP" in group for group in found.values())


def test_pydantic_settings_of_a_module() -> None:
    assert groups()[f"{HERE}.CONFIGURED"] == {
        "api_key": "***",
        "dsn": "postgresql://user:***@host/shop",
        "wrapped": "<pydantic.types.SecretStr>",
        "workers": "3",
    }


# Versions.


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions.facts()
    assert found["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    packages = dict(found["packages"])
    assert {"otel-toolbar", "fastapi", "litestar", "pytest"} <= packages.keys()
    assert list(packages) == sorted(packages)
    for module in ("uvicorn.server", "gunicorn.arbiter"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    running = versions.facts()["server"]
    assert running.startswith(f"uvicorn {packages['uvicorn']}")
    assert f"under gunicorn {packages['gunicorn']}" in running


# Litestar's hooks.


@listener("sold", "returned")
async def on_sold(item: str) -> None: ...


@listener("sold")
def on_sold_sync(item: str) -> None: ...


async def before(request: Any) -> None: ...


def on_value_error(request: Any, error: Exception) -> Any: ...


def test_hooks_of_litestar() -> None:
    app = Litestar(
        [one],
        listeners=[on_sold, on_sold_sync],
        before_request=before,
        on_startup=[plain],
        exception_handlers={ValueError: on_value_error, 404: on_value_error},
        openapi_config=None,
    )
    found = [
        (each["kind"], each["name"], each["function"].removeprefix(HERE + "."))
        for each in hooks.facts([app])["hooks"]
        if each["function"].startswith(HERE)
    ]
    assert sorted(found) == [
        ("before_request", "", "before"),
        ("exception_handler", "404", "on_value_error"),
        ("exception_handler", "ValueError", "on_value_error"),
        ("listener", "returned", "on_sold"),
        ("listener", "sold", "on_sold"),
        ("listener", "sold", "on_sold_sync"),
        ("on_startup", "", "plain"),
    ]
    assert hooks.facts([Starlette()]) == {}


# OpenAPI.


class Login(BaseModel):
    name: str = "nobody"
    password: str = SECRET


def documented() -> FastAPI:
    app = FastAPI(description=f"key: AKIA{'A' * 16}")

    @app.post("/login")
    async def login(data: Login, token: str = SECRET) -> Login:
        return data

    return app


def document(fact: dict[str, Any]) -> Any:
    (only,) = fact["openapi"]
    return json.loads(only["document"])


def test_the_document_of_fastapi_leaves_the_app_as_it_is() -> None:
    app = documented()
    assert openapi.facts([app], make=False) == {}
    before = dict(app.__dict__)
    fact = openapi.facts([app], make=True)
    assert app.__dict__ == before
    assert app.openapi_schema is None

    @app.get("/later")
    async def later() -> None: ...

    assert "/later" in app.openapi()["paths"], "a route added later is in the app's own document"
    assert "/later" not in document(fact)["paths"]
    assert "/later" in document(openapi.facts([app], make=False))["paths"]
    (only,) = fact["openapi"]
    assert (only["docs"], only["docs_kind"]) == ("/docs", "swagger")


def test_secrets_in_a_document_are_masked() -> None:
    found = document(openapi.facts([documented()], make=True))
    assert SECRET not in json.dumps(found)
    assert found["info"]["description"] == "key: ***"
    login = found["components"]["schemas"]["Login"]["properties"]
    assert login["password"]["default"] == "***"
    assert login["password"]["type"] == "string"
    assert login["name"]["default"] == "nobody"


def test_documents_that_the_apps_own_code_makes_are_not_made_for_us() -> None:
    class Custom(FastAPI):
        def openapi(self) -> Any:
            raise AssertionError("the app's own code")

    by_hand = FastAPI()
    by_hand.openapi = Custom().openapi  # type: ignore[method-assign]
    without = FastAPI(openapi_url=None)
    assert openapi.facts([Custom(), by_hand, without, Starlette()], make=True) == {}


def test_documents_that_are_too_large_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi, "MAX_DOCUMENT", 100)
    (fact,) = openapi.facts([documented()], make=True)["openapi"]
    assert "document" not in fact
    assert fact["too_large"] > 100


def test_the_document_of_litestar_leaves_the_app_as_it_is() -> None:
    app = Litestar([one, add])
    plugin = next(each for each in app.plugins if type(each).__name__ == "OpenAPIPlugin")
    assert openapi.facts([app], make=False) == {}
    (fact,) = openapi.facts([app], make=True)["openapi"]
    assert plugin._openapi is None
    assert plugin._openapi_schema is None
    assert set(json.loads(fact["document"])["paths"]) == {"/items/{number}", "/items"}
    assert (fact["docs"], fact["docs_kind"]) == ("/schema", "redoc")
    assert app.openapi_schema.paths is not None
    plugin.provide_openapi_schema()
    assert openapi.facts([app], make=False) == openapi.facts([app], make=True)


def test_no_document_where_making_one_would_reseed_random_numbers() -> None:
    config = OpenAPIConfig(title="x", version="1", create_examples=True)
    assert openapi.facts([Litestar([one], openapi_config=config)], make=True) == {}
    assert openapi.facts([Litestar([one], openapi_config=None)], make=True) == {}


def test_layers_of_an_app_are_bounded() -> None:
    app = types.SimpleNamespace()
    app.app = app
    assert list(layers(app)) == [app]
