"""Each framework's templates, without a line of the app; and the queries that templates make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import quart
from fastapi import FastAPI
from fastapi.templating import Jinja2Templates as FastAPITemplates
from litestar import Litestar, get
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.plugins.mako import MakoTemplateEngine
from litestar.plugins.minijinja import MiniJinjaTemplateEngine
from litestar.response import Template
from litestar.template.config import TemplateConfig
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from otel_toolbar import guard
from otel_toolbar.settings import Settings
from otel_toolbar.signals import queries, templates
from otel_toolbar.signals.templates import litestar as engines
from tests.telemetry import (
    Telemetry,
    exchange,
    hook_frameworks,
    http_scope,
    made_global,
    telemetry,
    watched,
)

PAGE = "{% extends 'base.html' %}{% block body %}{{ n }} {% include 'part.html' %}{% endblock %}"
RENDERED = b"<p>1 part</p>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "page.html").write_text(PAGE)
    (tmp_path / "base.html").write_text("<p>{% block body %}{% endblock %}</p>")
    (tmp_path / "part.html").write_text("part")
    (tmp_path / "page.mako").write_text("<p>${n} part</p>")
    return tmp_path


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    made = telemetry()
    hook_frameworks()
    templates.install(Settings())
    with made_global(made.provider):
        yield made
    templates.uninstall()


def starlette_app(folder: Path, **options: Any) -> Any:
    pages = (
        Jinja2Templates(env=environment(folder, **options)) if options else Jinja2Templates(folder)
    )

    async def page(request: Request) -> Any:
        return pages.TemplateResponse(request, "page.html", {"n": 1})

    def page_in_thread(request: Request) -> Any:
        return pages.TemplateResponse(request, "page.html", {"n": 1})

    async def stream(request: Request) -> Any:
        return StreamingResponse(pages.get_template("page.html").generate(n=1))

    return Starlette(
        routes=[Route("/", page), Route("/thread", page_in_thread), Route("/stream", stream)]
    )


def environment(folder: Path, **options: Any) -> jinja2.Environment:
    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), **options)


def fastapi_app(folder: Path) -> Any:
    pages, app = FastAPITemplates(folder), FastAPI()

    @app.get("/")
    def page(request: Request) -> Any:
        return pages.TemplateResponse(request, "page.html", {"n": 1})

    return app


def litestar_app(folder: Path, engine: Any = JinjaTemplateEngine, name: str = "page.html") -> Any:
    @get("/", sync_to_thread=False)
    def page() -> Template:
        return Template(name, context={"n": 1})

    @get("/string", sync_to_thread=False)
    def string() -> Template:
        return Template(template_str="<p>1 part</p>", context={"n": 1})

    config = TemplateConfig(directory=folder, engine=engine)
    return Litestar([page, string], template_config=config, openapi_config=None)


def quart_app(folder: Path) -> Any:
    app = quart.Quart(__name__, template_folder=str(folder))

    @app.get("/")
    async def page() -> str:
        return await quart.render_template("page.html", n=1)

    @app.get("/stream")
    async def stream() -> Any:
        return await quart.stream_template("page.html", n=1)

    return app


async def seen(signals: Telemetry, app: Any, path: str = "/") -> list[str]:
    """`parent > name` of the templates of one request."""
    done = await exchange(watched(app), http_scope(path))
    assert (done.status, done.error, done.body) == (200, None, RENDERED)
    return [
        f"{span['parent'].split(' ')[0]} > {span['name']}"
        for span in signals.snapshot()
        if "template.name" in span["attributes"] and not span["name"].startswith("compile")
    ]


@pytest.mark.parametrize(
    ("make", "path", "placed"),
    [
        (starlette_app, "/", True),
        (starlette_app, "/thread", True),
        (lambda folder: starlette_app(folder, enable_async=True), "/thread", False),
        (starlette_app, "/stream", False),
        (fastapi_app, "/", True),
        (litestar_app, "/", False),
        (quart_app, "/", True),
        (quart_app, "/stream", None),
    ],
    ids=[
        "starlette",
        "starlette in a thread",
        "starlette, an async environment in a thread",
        "starlette, a stream in threads",
        "fastapi",
        "litestar",
        "quart",
        "quart, a stream",
    ],
)
async def test_a_page(
    signals: Telemetry, folder: Path, make: Callable[[Path], Any], path: str, placed: bool | None
) -> None:
    found = await seen(signals, make(folder), path)
    assert found[0].endswith(" > render page.html")
    assert found[1:] == [
        "render > render base.html",
        "render > block body",
        "block > render part.html",
    ]
    page = next(s for s in signals.snapshot() if s["name"] == "render page.html")["attributes"]
    assert page["template.path"] == str(folder / "page.html")
    assert "n" in page["template.context.keys"]
    assert "url_for" not in page["template.context.keys"]
    if placed is None:  # whoever of the tests' own awaits the server's task at that time
        return
    # Litestar renders when the handler is done, and a stream is read by nobody of the app's.
    assert ("code.file.path" in page) is placed
    assert page.get("code.file.path", "").endswith("test_templates_frameworks.py") is placed


@pytest.mark.parametrize("path", ["/", "/string"])
@pytest.mark.parametrize(
    ("engine", "name"), [(MakoTemplateEngine, "page.mako"), (MiniJinjaTemplateEngine, "page.html")]
)
async def test_other_engines_of_litestar(
    signals: Telemetry, folder: Path, engine: Any, name: str, path: str
) -> None:
    found = await seen(signals, litestar_app(folder, engine, name), path)
    shown = name if path == "/" else "<template>"
    assert found == [f"GET > render {shown}"]
    span = next(s for s in signals.snapshot() if s["name"].startswith("render"))
    attributes = {k: v for k, v in span["attributes"].items() if not k.startswith("code.")}
    kind = "mako" if engine is MakoTemplateEngine else "minijinja"
    file = {"template.path": str(folder / name)} if (kind, path) == ("mako", "/") else {}
    keys = attributes.pop("template.context.keys")
    assert {"n", "request", "csrf_input"} <= set(keys)
    assert attributes == {
        "template.engine": kind,
        "template.name": shown,
        "template.role": "page",
        **file,
    }


async def test_an_error_of_another_engine(signals: Telemetry, folder: Path) -> None:
    (folder / "bad.mako").write_text("${1 / 0}")
    app = litestar_app(folder, MakoTemplateEngine, "bad.mako")
    done = await exchange(watched(app), http_scope())
    assert done.status == 500
    span = next(s for s in signals.snapshot() if s["name"] == "render bad.mako")
    assert (span["status"], span["attributes"]["error.type"]) == ("ERROR", "ZeroDivisionError")
    assert span["events"][0][1]["exception.message"] == "division by zero"


@pytest.mark.parametrize(
    ("owner", "name"),
    [(engines.work, "watching"), (engines, "_Render"), (engines._Render, "attributes")],
)
async def test_a_fault_costs_a_fact_only(
    signals: Telemetry, folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    def raising(*_: Any, **__: Any) -> Any:
        raise AssertionError

    guard.forget()
    monkeypatch.setattr(owner, name, raising)
    assert await seen(signals, litestar_app(folder, MakoTemplateEngine, "page.mako")) == []
    guard.forget()


def test_engines_are_left_as_they_were() -> None:
    from litestar.plugins import mako

    real = mako.MakoTemplate.render
    templates.install(Settings())
    templates.install(Settings())
    assert mako.MakoTemplate.render is not real
    templates.uninstall()
    templates.uninstall()
    assert mako.MakoTemplate.render is real


def test_an_engine_that_is_not_known(caplog: pytest.LogCaptureFixture) -> None:
    guard.forget()
    templates.install(Settings())

    class MakoTemplate:
        """One without `render`."""

    class Module:
        __name__ = MakoTemplate.__module__

    module: Any = Module()
    module.MakoTemplate = MakoTemplate
    engines._hook(module)
    assert "watching Litestar's template engines failed" in caplog.text
    templates.uninstall()
    engines._hook(module)
    guard.forget()


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Item]] = relationship()


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


async def test_queries_that_a_template_makes(signals: Telemetry, tmp_path: Path) -> None:
    (tmp_path / "orders.html").write_text(
        "{% for order in orders %}\n{% include 'order.html' %}{% endfor %}"
    )
    (tmp_path / "order.html").write_text("\n{{ order['items']|length or order.items|length }}")
    engine = create_engine(f"sqlite:///{tmp_path}/shop.sqlite")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Order(items=[Item(), Item()]) for _ in range(3))
        session.commit()
    pages = environment(tmp_path)

    async def page(request: Request) -> Any:
        with Session(engine) as session:
            orders = session.query(Order).all()
            text = pages.get_template("orders.html").render(orders=orders)
        assert text.split() == ["2", "2", "2"]
        return StreamingResponse([RENDERED])

    queries.install(Settings())
    try:
        await seen(signals, Starlette(routes=[Route("/", page)]))
    finally:
        queries.uninstall()
        engine.dispose()
    lazy = [
        (span["parent"], span["name"], span["attributes"]["code.file.path"], function)
        for span in signals.snapshot()
        if (function := span["attributes"].get("code.function.name", "")).startswith("template")
        and "db.query.text" in span["attributes"]
    ]
    assert len(lazy) == 3
    assert set(lazy) == {
        ("render order.html", "SELECT items", str(tmp_path / "order.html"), "template order.html")
    }
