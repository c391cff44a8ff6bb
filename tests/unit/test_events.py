"""Litestar's hooks, events and exception handlers: real apps, driven with their lifespan."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import pytest
from litestar import Litestar, Request, Response, WebSocket, get, websocket
from litestar.events import SimpleEventEmitter, listener
from litestar.response import Stream
from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_toolbar.model import Log, Trace
from otel_toolbar.panels import events as panel
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.events.view import EventsView
from otel_toolbar.settings import Settings
from otel_toolbar.signals import events
from otel_toolbar.signals.core import functions
from otel_toolbar.signals.core import record as records
from otel_toolbar.signals.events import emitting, hooks, span
from otel_toolbar.store.base import Query
from tests.telemetry import (
    Exchanged,
    Telemetry,
    converse,
    exchange,
    hook_frameworks,
    http_scope,
    made_global,
    said,
    telemetry,
    watched,
    websocket_scope,
)


@cache
def hook() -> None:
    hook_frameworks()
    events.install()


hook()  # before the listeners below are declared: that is where they are wrapped


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    events.install()
    made = telemetry()
    with made_global(made.provider):
        yield made


seen: list[str] = []


@listener("stored", "deleted")
async def index(number: int, *, word: str = "") -> None:
    with trace.get_tracer("app").start_as_current_span("write index"):
        await asyncio.sleep(0)
    seen.append(f"index {number} {word}".strip())


@listener("stored")
def mail(number: int, **_: Any) -> None:
    seen.append(f"mail {number}")


@listener("broken")
async def fails() -> None:
    raise ValueError("password=hunter2-Zk3")


async def before(request: Request[Any, Any, Any]) -> None:
    with trace.get_tracer("app").start_as_current_span("check"):
        seen.append("before")


def after(response: Response[Any]) -> Response[Any]:
    response.headers["x-after"] = "1"
    return response


async def afterwards(request: Request[Any, Any, Any]) -> None:
    seen.append("afterwards")


async def sending(message: Any, scope: Any) -> None:
    if message["type"] == "http.response.start":
        message["headers"].append((b"x-sent", b"1"))


async def noted(error: Exception, scope: Any) -> None:
    seen.append(f"noted {type(error).__name__}")


def teapot(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    return Response("teapot", status_code=418)


async def starts(app: Litestar) -> None:
    seen.append("starts")


def stops() -> None:
    seen.append("stops")


@get("/")
async def root(request: Request[Any, Any, Any]) -> dict[str, int]:
    request.app.emit("stored", 7, word="a")
    return {"n": 1}


@get("/response")
async def response() -> Response[str]:
    return Response("whole")


@get("/lookup")
async def lookup() -> None:
    raise LookupError("no")


@get("/nobody")
async def nobody(request: Request[Any, Any, Any]) -> str:
    try:
        request.app.emit("nothing listens")
    except Exception as error:
        return type(error).__name__
    return "?"


@get("/broken")
async def broken(request: Request[Any, Any, Any]) -> str:
    request.app.emit("broken")
    return "x"


@get("/stream")
async def stream() -> Stream:
    async def chunks() -> AsyncIterator[str]:
        for number in range(5):
            yield str(number)

    return Stream(chunks())


@websocket("/ws")
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    for _ in range(3):
        await socket.send_text("x")
    await socket.close()


def make_app(**more: Any) -> Litestar:
    given: dict[str, Any] = {
        "before_request": before,
        "after_request": after,
        "after_response": afterwards,
        "before_send": [sending],
        "after_exception": [noted],
        "exception_handlers": {LookupError: teapot},
        "on_startup": [starts],
        "on_shutdown": [stops],
        "listeners": [index, mail, fails],
        "openapi_config": None,
        "logging_config": None,
    }
    return Litestar([root, response, lookup, nobody, broken, stream, socket], **(given | more))


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[Any]:
    """The app as a server starts it: its listeners run in a task of the lifespan's."""
    async with app.lifespan():
        yield watched(app)


async def settled() -> None:
    """Until the listeners are through."""
    for _ in range(100):
        await asyncio.sleep(0.001)


async def call(app: Litestar, path: str = "/") -> Exchanged:
    seen.clear()
    async with running(app) as outer:
        done = await exchange(outer, http_scope(path))
        await settled()
    return done


def tree(signals: Telemetry) -> list[tuple[Any, ...]]:
    return [
        (
            each["name"],
            each["parent"],
            each["attributes"].get("litestar.listener", "").rpartition(".")[2],
        )
        for each in signals.snapshot()
    ]


async def test_a_request(signals: Telemetry) -> None:
    done = await call(make_app())
    assert (done.status, done.body) == (200, b'{"n":1}')
    assert dict(done.headers) | {b"x-after": b"1", b"x-sent": b"1"} == dict(done.headers)
    assert sorted(seen) == [
        "afterwards", "before", "index 7 a", "mail 7", "starts", "stops"
    ]  # fmt: skip
    found = tree(signals)
    assert [each for each in found if each[0] != "event stored" and each[1] != "event stored"] == [
        ("event on_startup", None, "starts"),
        ("GET /", None, ""),
        ("event before_request", "GET /", "before"),
        ("check", "event before_request", ""),
        ("emit stored", "GET /", ""),
        ("event after_request", "GET /", "after"),
        ("event before_send", "GET /", "sending"),
        ("event before_send", "GET /", "sending"),
        ("event after_response", "GET /", "afterwards"),
        ("event on_shutdown", None, "stops"),
    ]
    assert sorted(each for each in found if "event stored" in each) == [
        ("event stored", "emit stored", "index"),
        ("event stored", "emit stored", "mail"),
        ("write index", "event stored", ""),
    ]


async def test_attributes(signals: Telemetry) -> None:
    await call(make_app())
    found = {
        (each["name"], each["attributes"].get("litestar.listener", "")): each
        for each in signals.snapshot()
    }
    late = {"toolbar.detached": True}
    index_called = found["event stored", f"{__name__}.index"]
    assert (
        index_called["attributes"] | late
        == {
            "code.file.path": "/tests/unit/test_events.py",
            "code.function.name": f"{__name__}.index",
            "code.line.number": "...",
            "litestar.event.kind": "listener",
            "litestar.event.name": "stored",
            "litestar.listener": f"{__name__}.index",
        }
        | late
    )
    emitted = found["emit stored", ""]
    assert emitted["attributes"] == {
        "code.file.path": "/tests/unit/test_events.py",
        "code.function.name": f"{__name__}.root",
        "code.line.number": "...",
        "code.stacktrace": "...",
        "litestar.event.kind": "emit",
        "litestar.event.name": "stored",
    }
    hooked = found["event after_request", f"{__name__}.after"]["attributes"]
    assert hooked["litestar.event.kind"] == "after_request"
    assert hooked["code.file.path"] == "/tests/unit/test_events.py"


async def test_all_spans_of_a_request_are_in_its_trace(signals: Telemetry) -> None:
    async with running(make_app()) as outer:
        signals.clear()
        await asyncio.gather(*(exchange(outer, http_scope("/")) for _ in range(20)))
        await settled()
        exported = signals.exported()
    traces: dict[int, list[str]] = {}
    for each in exported:
        traces.setdefault(each.context.trace_id, []).append(each.name)
    assert len(traces) == 20
    assert {names.count("event stored") for names in traces.values()} == {2}
    assert {names.count("write index") for names in traces.values()} == {1}
    assert records.current() is None


async def test_an_exception_that_is_handled(signals: Telemetry) -> None:
    done = await call(make_app(), "/lookup")
    assert (done.status, done.body) == (418, b"teapot")
    assert "noted LookupError" in seen
    found = {each["name"]: each["attributes"] for each in signals.snapshot()}
    handled = found["event LookupError"]
    assert handled["litestar.event.kind"] == "exception_handler"
    assert handled["litestar.listener"] == f"{__name__}.teapot"
    assert found["event after_exception"]["litestar.listener"] == f"{__name__}.noted"


async def test_an_event_without_listeners(signals: Telemetry) -> None:
    done = await call(make_app(), "/nobody")
    assert done.body == b"ImproperlyConfiguredException"
    (emitted,) = [each for each in signals.snapshot() if each["name"] == "emit nothing listens"]
    assert emitted["status"] == "ERROR"
    assert emitted["attributes"]["error.type"].endswith("ImproperlyConfiguredException")


async def test_a_listener_that_fails(signals: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    assert (await call(make_app(), "/broken")).status == 200
    assert (
        "Error while executing listener fails: password=hunter2-Zk3" in caplog.text
    )  # the app's log
    (failed,) = [each for each in signals.snapshot() if each["name"] == "event broken"]
    assert failed["status"] == "ERROR"
    assert failed["attributes"]["error.type"] == "ValueError"
    ((name, facts),) = failed["events"]
    assert (name, facts["exception.type"]) == ("exception", "ValueError")
    assert "hunter2" not in facts["exception.message"]


async def test_hooks_that_raise(signals: Telemetry) -> None:
    async def refuses(request: Request[Any, Any, Any]) -> None:
        raise RuntimeError("no")

    def breaks(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
        raise ZeroDivisionError

    app = make_app(before_request=refuses, exception_handlers={RuntimeError: breaks})
    done = await call(app)
    bare = await exchange(
        make_app(before_request=refuses, exception_handlers={RuntimeError: breaks}), http_scope("/")
    )
    assert type(done.error) is type(bare.error)
    found = {each["name"]: each for each in signals.snapshot()}
    assert found["event before_request"]["status"] == "ERROR"
    assert found["event RuntimeError"]["attributes"]["error.type"] == "ZeroDivisionError"


async def test_streams_and_websockets_have_no_span_for_each_message(signals: Telemetry) -> None:
    done = await call(make_app(), "/stream")
    assert done.body == b"01234"
    assert [each[0] for each in tree(signals)].count("event before_send") == 2
    signals.clear()
    async with running(make_app()) as outer:
        signals.clear()
        await converse(outer, websocket_scope("/ws"), said())
        assert [each[0] for each in tree(signals)].count("event before_send") == 2  # accept, close


async def test_a_plain_response_has_its_hook(signals: Telemetry) -> None:
    done = await call(make_app(), "/response")
    assert done.body == b"whole"
    assert ("event after_request", "GET /response", "after") in tree(signals)


async def test_the_app_is_the_same(signals: Telemetry) -> None:
    app = make_app()
    for path in ("/", "/response", "/lookup", "/nobody", "/broken", "/stream"):
        events.uninstall()
        seen.clear()
        async with app.lifespan():
            bare = await exchange(app, http_scope(path))
            await settled()
        bare_seen = sorted(seen)
        events.install()
        done = await call(app, path)
        assert done.messages == bare.messages
        assert sorted(seen) == bare_seen
    assert app.before_send == [sending]
    assert app.after_exception == [noted]
    assert asyncio.iscoroutinefunction(app.before_send[0])


async def test_without_the_toolbar_around_it_hooks_are_passed_on(signals: Telemetry) -> None:
    app = make_app()
    done = await exchange(app, http_scope("/response"))
    assert done.status == 200
    assert {each[0] for each in tree(signals)} == {"check"}


async def test_switched_off(signals: Telemetry) -> None:
    events.uninstall()
    done = await call(make_app())
    assert done.status == 200
    assert {each[0] for each in tree(signals)} == {"GET /", "check", "write index"}


async def test_the_tasks_name_is_litestars(signals: Telemetry) -> None:
    names: list[str] = []

    @listener("named")
    async def tells() -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    for switch in (events.install, events.uninstall):
        switch()
        app = make_app(listeners=[tells])
        async with running(app):
            app.emit("named")
            await settled()
    assert names[0] == names[1]
    assert "wrapped" in names[0]


async def test_another_backend(signals: Telemetry) -> None:
    """Its events are seen; its listeners where it is made of Litestar's own."""

    class Direct(SimpleEventEmitter):
        def emit(self, event_id: str, *args: Any, **kwargs: Any) -> None:
            super().emit(event_id, *args, **kwargs)

    await call(make_app(event_emitter_backend=Direct))
    assert sorted(seen)[2:4] == ["index 7 a", "mail 7"]
    assert [each[0] for each in tree(signals)].count("event stored") == 2


FAULTS = [
    (span, "Call"),
    (span.Call, "end"),
    (span, "watching"),
    (hooks, "_watch_lists"),
    (hooks, "_begins_or_ends"),
    (emitting, "places"),
    (emitting, "_carrying"),
    (emitting.records, "enter"),
]


@pytest.mark.parametrize(("owner", "name"), FAULTS, ids=str)
async def test_a_fault_of_ours_is_litestars_answer(
    owner: Any, name: str, signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    app = make_app()
    async with running(app) as outer:
        seen.clear()
        for path, status, body in (("/", 200, b'{"n":1}'), ("/lookup", 418, b"teapot")):
            with monkeypatch.context() as patched:
                if name == "enter":
                    patched.setattr(emitting, "records", broken_records())
                else:
                    patched.setattr(owner, name, lambda *_, **__: 1 / 0)
                done = await exchange(outer, http_scope(path))
                await settled()
            assert (done.status, done.body) == (status, body)
    assert {"index 7 a", "mail 7", "before", "noted LookupError"} <= set(seen)
    assert "failed; the app is not affected" in caplog.text


def broken_records() -> Any:
    class Broken:
        current = staticmethod(records.current)

        @staticmethod
        def enter(_: Any) -> Any:
            raise RuntimeError

    return Broken


async def test_faults_at_the_edges(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    monkeypatch.setattr(span, "wrapt", Broken())
    monkeypatch.setattr(emitting, "exceptions", Broken())
    monkeypatch.setattr(emitting, "otel_context", Detaches())

    @get("/fresh")  # Litestar keeps what calls `after_request`
    async def fresh() -> None: ...

    app = make_app()
    app.register(fresh)
    async with running(app) as outer:
        for path, status in (("/", 200), ("/fresh", 200), ("/lookup", 418), ("/broken", 200)):
            assert (await exchange(outer, http_scope(path))).status == status
            await settled()
    with monkeypatch.context() as patched:
        patched.setattr(emitting, "wrapt", Broken())

        @listener("edge")
        async def edge() -> None:
            seen.append("edge")

    app = make_app(listeners=[edge])
    async with running(app):
        app.emit("edge")
        await settled()
    assert seen[-2:] == ["edge", "stops"]
    for place in (
        "a call of before_request",
        "a call of after_request",
        "an exception handler of Litestar",
        "listener of an event",
    ):
        assert f"{place} failed; the app is not affected" in caplog.text


class Detaches:
    """Of the context's functions all but the last, which fails."""

    def __getattr__(self, name: str) -> Any:
        if name == "detach":
            raise RuntimeError
        return getattr(otel_context, name)


async def test_the_lifespan_goes_on_without_us(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(span, "awaited", lambda *_: 1 / 0)
    seen.clear()
    async with running(make_app()):
        pass
    assert seen == ["starts", "stops"]
    assert "a hook of the app's lifespan failed" in caplog.text


def test_another_version_of_litestar(caplog: pytest.LogCaptureFixture) -> None:
    hooks.when_imported("colorsys", "no_such_function", lambda *_: None)
    import colorsys  # noqa: F401

    assert "colorsys is not of a version that the toolbar knows" in caplog.text


# The panel


async def view_of(signals: Telemetry, path: str) -> EventsView:
    return panel.PANEL.view(await trace_of(signals, path), Settings())


async def trace_of(signals: Telemetry, path: str) -> Trace:
    async with running(make_app()) as outer:
        signals.clear()
        await exchange(outer, http_scope(path))
        await settled()
        (summary,) = signals.store.list(Query()).traces
        found = signals.store.get(summary.trace_id)
        assert found is not None
        return found


async def test_the_panel(signals: Telemetry) -> None:
    found = await view_of(signals, "/")
    (event,) = found.emitted
    assert (event.name, event.error) == ("stored", "")
    assert event.place is not None
    assert event.place.function == f"{__name__}.root"
    assert sorted(each.function for each in event.listeners) == [
        f"{__name__}.index",
        f"{__name__}.mail",
    ]
    for each in event.listeners:
        assert each.waited is not None
        assert each.waited >= 0
        assert each.place is not None
        assert each.place.short.startswith("unit/test_events.py:")
    assert [each.kind for each in found.calls if each.kind != "listener"] == [
        "before_request", "after_request", "before_send", "before_send", "after_response"
    ]  # fmt: skip
    assert found.litestar
    assert found.total > 0
    assert panel.PANEL.badge(found) == Badge("7")


async def test_the_panel_tells_of_what_failed(signals: Telemetry) -> None:
    logging.getLogger("litestar.events.listener").setLevel(logging.CRITICAL)
    try:
        found = await view_of(signals, "/broken")
    finally:
        logging.getLogger("litestar.events.listener").setLevel(logging.NOTSET)
    (event,) = found.emitted
    assert event.listeners[0].error.startswith("ValueError: ")
    assert panel.PANEL.badge(found).level == "error"


async def test_the_panel_tells_what_is_declared_and_of_an_old_version(signals: Telemetry) -> None:
    facts = {
        "packages": (("litestar", "2.9.1"),),
        "hooks": (
            {"kind": "listener", "name": "stored", **functions.of(functions.listened(index))},
            {"kind": "before_request", "name": "", "function": "elsewhere"},
        ),
    }
    found = await trace_of(signals, "/")
    found = dataclasses.replace(
        found, process=Log("", None, 1, 9, "", facts, event="toolbar.process")
    )
    view = panel.PANEL.view(found, Settings())
    assert [(each.kind, each.calls) for each in view.declared] == [
        ("listener", 1),
        ("before_request", 0),
    ]
    assert (view.version, view.too_old) == ("2.9.1", True)


def test_the_panel_without_litestar() -> None:
    found = panel.PANEL.view(Trace.of("a" * 32, [], 1), Settings())
    assert not found.litestar
    assert panel.PANEL.badge(found) == Badge(None)
