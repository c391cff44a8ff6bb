"""Errors, from real apps: what left them, what a framework handled, what was logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace as otel

from otel_toolbar import guard, panels
from otel_toolbar.insights.summary import summarize
from otel_toolbar.model import Event, Kind, Span, Status, Trace
from otel_toolbar.panels import errors
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.errors.view import ErrorsView
from otel_toolbar.settings import Settings, load
from otel_toolbar.signals import logs
from otel_toolbar.signals.core import exceptions
from otel_toolbar.signals.core import logs as log_records
from otel_toolbar.store.base import Query
from otel_toolbar.web import render
from tests.telemetry import (
    Telemetry,
    exchange,
    hook_frameworks,
    http_scope,
    made_global,
    telemetry,
    watched,
)


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    hook_frameworks()
    made = telemetry()
    log_records.take_with(made.processor.take_logs)
    with made_global(made.provider):
        yield made
    log_records.take_with(None)


class NoStockError(Exception):
    pass


def sell(password: str) -> None:
    amount = {"token": "abc", "n": 2}
    raise NoStockError(f"none of {amount['n']} left; password={password}")


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def missing(_: Any) -> None:
        raise HTTPException(404, "no such product")

    async def sold_out(_: Any) -> None:
        sell("hunter2")

    async def broken(_: Any) -> None:
        try:
            sell("hunter2")
        except NoStockError as error:
            raise RuntimeError("shop closed") from error

    async def logged(_: Any) -> JSONResponse:
        try:
            sell("hunter2")
        except NoStockError:
            logging.getLogger("shop").exception("sold out")
        return JSONResponse({})

    def handle(*_: Any) -> JSONResponse:
        return JSONResponse({}, 409)

    routes = [Route(f"/{f.__name__}", f) for f in (missing, sold_out, broken, logged)]
    return Starlette(routes=routes, exception_handlers={NoStockError: handle})


def litestar() -> Any:
    from litestar import Litestar, Response, get
    from litestar.exceptions import NotFoundException

    @get("/missing")
    async def missing() -> None:
        raise NotFoundException("no such product")

    @get("/sold_out")
    async def sold_out() -> None:
        sell("hunter2")

    @get("/broken")
    async def broken() -> None:
        try:
            sell("hunter2")
        except NoStockError as error:
            raise RuntimeError("shop closed") from error

    def handle(*_: Any) -> Response[Any]:
        return Response({}, status_code=409)

    return Litestar([missing, sold_out, broken], exception_handlers={NoStockError: handle})


def quart() -> Any:
    from quart import Quart, abort

    app: Any = Quart(__name__)

    @app.get("/missing")
    async def missing() -> None:
        abort(404, "no such product")

    @app.get("/sold_out")
    async def sold_out() -> None:
        sell("hunter2")

    @app.get("/broken")
    async def broken() -> None:
        try:
            sell("hunter2")
        except NoStockError as error:
            raise RuntimeError("shop closed") from error

    @app.errorhandler(NoStockError)
    async def handle(_: Any) -> Any:
        return {}, 409

    return app


async def seen(signals: Telemetry, app: Any, path: str, status: int) -> ErrorsView:
    done = await exchange(watched(app), http_scope(path))
    assert done.status == status
    (summary,) = [t for t in signals.store.list(Query()).traces if "lifespan" not in t.name]
    found = signals.store.get(summary.trace_id)
    assert found is not None
    return errors.PANEL.view(found, Settings())


def shown(signals: Telemetry) -> str:
    trace_id = signals.store.list(Query()).traces[0].trace_id
    trace = signals.store.get(trace_id)
    assert trace is not None
    options = Settings()
    views = panels.views([errors.PANEL], trace, options)
    context = render.Context("/_toolbar", options)
    return render.trace_page(context, trace, summarize(trace, options), views, {"panel": "errors"})


@pytest.mark.parametrize("app", [starlette, litestar, quart])
class TestFrameworks:
    async def test_an_answer_that_is_an_exception(self, signals: Telemetry, app: Any) -> None:
        found = await seen(signals, app(), "/missing", 404)
        (error,) = found.errors
        assert (error.handled, error.count, found.unhandled) == (True, 1, 0)
        assert "no such product" in error.message
        assert error.place is not None
        assert error.place.function == "missing"
        assert errors.PANEL.badge(found) == Badge("1", "info")

    async def test_a_handler_of_the_apps(self, signals: Telemetry, app: Any) -> None:
        (error,) = (await seen(signals, app(), "/sold_out", 409)).errors
        assert (error.type, error.handled) == ("tests.unit.test_errors.NoStockError", True)
        assert error.message == "none of 2 left; password=***"
        assert error.place is not None
        assert error.place.function == "sell"

    async def test_one_that_nobody_handles(self, signals: Telemetry, app: Any) -> None:
        found = await seen(signals, app(), "/broken", 500)
        (error,) = found.errors
        assert (error.type, error.message, error.handled) == ("RuntimeError", "shop closed", False)
        assert [raised.relation for raised in error.chain] == ["", "cause"]
        assert error.chain[1].message == "none of 2 left; password=***"
        own = [frame for frame in error.chain[0].frames if frame.own]
        assert [frame.code for frame in own] == ['raise RuntimeError("shop closed") from error']
        assert errors.PANEL.badge(found) == Badge("1", "error")
        page = shown(signals)
        assert "raise RuntimeError(&#34;shop closed&#34;) from error" in page
        assert "Caused by tests.unit.test_errors.NoStockError" in page
        assert "hunter2" not in json.dumps([str(span) for span in signals.exported()])


async def test_one_that_is_logged(signals: Telemetry) -> None:
    logs.install()
    try:
        (error,) = (await seen(signals, starlette(), "/logged", 200)).errors
    finally:
        logs.uninstall()
    assert (error.type, error.logged, error.handled) == (
        "tests.unit.test_errors.NoStockError",
        True,
        True,
    )


async def test_locals_on_demand(signals: Telemetry) -> None:
    exceptions.configure(load({"OTEL_TOOLBAR_CAPTURE": "locals"})[0])
    try:
        (error,) = (await seen(signals, starlette(), "/broken", 500)).errors
    finally:
        exceptions.configure(Settings())
    own = next(frame for frame in error.chain[1].frames if frame.place.function == "sell")
    values = {field.name: field.value for field in own.locals}
    assert values == {"password": "***", "amount": "{'token': ***, 'n': 2}"}


async def test_the_same_exception_on_its_way_out_is_one(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        tracer = otel.get_tracer("app")
        with tracer.start_as_current_span("outer"):
            with tracer.start_as_current_span("query"):
                pass
            with tracer.start_as_current_span("inner"):
                raise NoStockError("gone")

    done = await exchange(watched(app), http_scope())
    assert isinstance(done.error, NoStockError)
    found = signals.store.get(signals.store.list(Query()).traces[0].trace_id)
    assert isinstance(found, Trace)
    (error,) = errors.PANEL.view(found, Settings()).errors
    assert (error.count, error.span) == (1, "inner")
    assert [step.name for step in error.before] == ["query"]


async def test_a_fault_of_ours(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    guard.forget()
    monkeypatch.setattr(exceptions, "described", lambda *_: 1 / 0)
    done = await exchange(watched(starlette()), http_scope("/missing"))
    assert done.status == 404
    assert "ZeroDivisionError" in caplog.text


def test_a_capture_that_is_not_known() -> None:
    options, (line,) = load({"OTEL_TOOLBAR_CAPTURE": "everything"})
    assert options.capture == ()
    assert line == "OTEL_TOOLBAR_CAPTURE='everything' is ignored: allowed: locals, templates"


def test_spans_that_only_say_that_they_failed() -> None:
    def span(number: int, parent: int | None, status: Status, *events: Event, **more: Any) -> Span:
        return Span(
            "a" * 32, f"{number:016x}", parent and f"{parent:016x}", f"s{number}", Kind.INTERNAL,
            number, 9, more, status, "refused" if more else "", events,
        )  # fmt: skip

    raised = Event("exception", 8, {"exception.type": "OSError", "exception.message": "down"})
    spans = [
        span(1, None, Status.ERROR, raised),
        span(2, 1, Status.ERROR),
        span(3, 2, Status.ERROR),
        span(4, None, Status.ERROR, **{"error.type": "503"}),
        span(5, None, Status.ERROR),
        span(6, 5, Status.ERROR),
    ]
    found = errors.PANEL.view(Trace.of("a" * 32, spans, 10), Settings())
    assert [(error.type, error.message, error.span) for error in found.errors] == [
        ("OSError", "down", "s3"),
        ("503", "refused", "s4"),
        ("error", "s6", "s6"),
    ]
