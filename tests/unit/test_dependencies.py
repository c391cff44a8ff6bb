"""Dependencies of real FastAPI and Litestar apps: value, time, nesting, teardown, faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Security
from litestar import Litestar, get
from litestar.di import NamedDependency, Provide
from opentelemetry import trace

from otel_toolbar.model import Trace
from otel_toolbar.panels import dependencies as panel
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.dependencies.view import DependenciesView
from otel_toolbar.settings import Settings
from otel_toolbar.signals import dependencies
from otel_toolbar.signals.dependencies import fastapi as of_fastapi
from otel_toolbar.signals.dependencies import litestar as of_litestar
from otel_toolbar.signals.dependencies import span as spans
from otel_toolbar.store.base import Query
from tests.telemetry import (
    Exchanged,
    Telemetry,
    exchange,
    hook_frameworks,
    http_scope,
    made_global,
    telemetry,
    watched,
)


@cache
def hook() -> None:
    hook_frameworks()
    dependencies.install()


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    hook()
    made = telemetry()
    with made_global(made.provider):
        yield made


class Session:
    def __repr__(self) -> str:
        raise AssertionError("nothing of the app's is called")


async def token() -> str:
    return "hunter2-Zk3"


async def user(token: Annotated[str, Depends(token)]) -> dict[str, str]:
    with trace.get_tracer("app").start_as_current_span("load user"):
        return {"name": "ann", "password": "hunter2-Zk3"}


def session() -> Iterator[Session]:
    yield Session()
    with trace.get_tracer("app").start_as_current_span("commit"):
        pass


async def audit(user: Annotated[Any, Depends(user)]) -> AsyncIterator[int]:
    yield 3


class Page:
    def __init__(self, page: int = 1) -> None:
        self.page = page


def counted() -> int:
    return 7


async def refuse() -> None:
    raise HTTPException(403, "no")


def fastapi_app() -> FastAPI:
    app = FastAPI()

    @app.get("/", dependencies=[Depends(counted)])
    async def root(
        user: Annotated[Any, Depends(user)],
        audit: Annotated[Any, Depends(audit)],
        session: Annotated[Any, Depends(session)],
        page: Annotated[Page, Depends()],
        again: Annotated[int, Depends(counted, use_cache=False)],
    ) -> dict[str, int]:
        return {"page": page.page}

    @app.get("/none")
    async def none() -> int:
        return 1

    @app.get("/refused")
    async def refused(
        user: Annotated[Any, Depends(user)], no: Annotated[Any, Depends(refuse)]
    ) -> int:
        return 1

    return app


def tree(signals: Telemetry) -> list[tuple[Any, ...]]:
    """Name, parent, value and what is more of each span but FastAPI's own."""
    return [
        (
            each["name"],
            each["parent"],
            each["attributes"].get("dependency.value"),
            each["attributes"].get("dependency.cached", False),
        )
        for each in signals.snapshot()
        if not each["name"].startswith(("fastapi.", "GET"))
    ]


async def call(app: Any, path: str = "/", **more: Any) -> Exchanged:
    return await exchange(watched(app), http_scope(path, **more))


async def test_fastapi(signals: Telemetry) -> None:
    done = await call(fastapi_app(), query_string=b"page=4")
    assert (done.status, done.body) == (200, b'{"page":4}')
    solved = "fastapi.dependencies"
    assert tree(signals) == [
        ("dependency counted", solved, "7", False),
        ("dependency user", solved, "{'name': 'ann', 'password': ***}", False),
        ("dependency token", "dependency user", "***", False),
        ("load user", "dependency user", None, False),
        ("dependency audit", solved, "3", False),
        ("dependency user", "dependency audit", "{'name': 'ann', 'password': ***}", True),
        ("dependency token", "dependency user", "***", True),
        ("dependency session", solved, f"<{__name__}.Session>", False),
        ("dependency page", solved, f"<{__name__}.Page>", False),
        ("dependency again", solved, None, False),
        ("dependency teardown session", "GET /", None, False),
        ("commit", "dependency teardown session", None, False),
        ("dependency teardown audit", "GET /", None, False),
    ]
    (first,) = [each for each in signals.snapshot() if each["name"] == "dependency session"]
    assert first == {
        "name": "dependency session",
        "kind": "INTERNAL",
        "parent": solved,
        "attributes": {
            "code.file.path": "/tests/unit/test_dependencies.py",
            "code.function.name": f"{__name__}.session",
            "code.line.number": "...",
            "dependency.framework": "fastapi",
            "dependency.name": "session",
            "dependency.phase": "setup",
            "dependency.value": f"<{__name__}.Session>",
        },
    }


async def test_fastapi_refuses(signals: Telemetry) -> None:
    done = await call(fastapi_app(), "/refused")
    assert (done.status, done.error) == (403, None)
    failed = signals.snapshot()
    (refused,) = [each for each in failed if each["name"] == "dependency no"]
    assert refused["attributes"]["error.type"] == "fastapi.exceptions.HTTPException"
    assert all("status" not in each for each in failed if each["name"].startswith("dependency"))


async def test_endpoints_without_dependencies_and_requests_unseen(signals: Telemetry) -> None:
    assert (await call(fastapi_app(), "/none")).status == 200
    assert tree(signals) == []
    signals.clear()
    assert (await exchange(fastapi_app(), http_scope("/"))).status == 200  # no toolbar around it
    assert not [each for each in tree(signals) if each[0].startswith("dependency")]


async def test_overrides_and_security(signals: Telemetry) -> None:
    app = fastapi_app()

    async def other() -> str:
        return "other"

    @app.get("/secure")
    async def secure(who: Annotated[str, Security(token, scopes=["a"])]) -> str:
        return who

    app.dependency_overrides[token] = other
    done = await call(app, "/secure")
    assert done.body == b'"other"'
    ((name, _, value, _),) = tree(signals)
    assert (name, value) == ("dependency who", "other")


FAULTS = [
    (spans, "Injected"),
    (spans.Injected, "end"),
    (spans.Injected, "cached"),
    (of_fastapi, "Teardown"),
    (of_fastapi, "possible"),
]


@pytest.mark.parametrize(("owner", "name"), FAULTS, ids=str)
async def test_a_fault_of_ours_is_fastapis_answer(
    owner: Any, name: str, signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    if name == "possible":
        monkeypatch.setattr(of_fastapi, "light", None)
    elif name == "Injected":
        monkeypatch.setattr(of_fastapi, "Injected", lambda *_, **__: 1 / 0)
    else:
        monkeypatch.setattr(owner, name, lambda *_, **__: 1 / 0)
    done = await call(fastapi_app(), query_string=b"page=4")
    assert (done.status, done.body) == (200, b'{"page":4}')
    assert "failed; the app is not affected" in caplog.text


def test_another_version_of_fastapi(caplog: pytest.LogCaptureFixture) -> None:
    of_fastapi._hook(object())
    of_fastapi._hook_routing(object())
    assert caplog.text.count("is not of a version that the toolbar knows") == 2


# Litestar


async def ltoken() -> str:
    return "hunter2-Zk3"


async def luser(token: NamedDependency[str]) -> dict[str, str]:
    return {"name": "ann", "password": token}


def lsync() -> int:
    return 3


async def lsession() -> AsyncIterator[Session]:
    yield Session()
    with trace.get_tracer("app").start_as_current_span("commit"):
        pass


def lsync_session() -> Iterator[int]:
    yield 1


async def lfails() -> int:
    raise ValueError("no")


@get("/")
async def lroot(
    user: NamedDependency[Any], n: NamedDependency[int], session: NamedDependency[Any],
    plain: NamedDependency[int],
) -> dict[str, int]:  # fmt: skip
    return {"n": n}


@get("/fails", dependencies={"bad": Provide(lfails)})
async def lbroken(bad: NamedDependency[int]) -> int:
    return bad


async def lswallows() -> AsyncIterator[int]:
    try:
        yield 1
    except ValueError:
        with trace.get_tracer("app").start_as_current_span("rollback"):
            pass


def lbreaks() -> Iterator[int]:
    try:
        yield 1
    except ValueError as error:
        raise RuntimeError("teardown") from error


def lpasses() -> Iterator[int]:
    yield 1


async def lapasses() -> AsyncIterator[int]:
    yield 1


def lagain() -> Iterator[int]:
    try:
        yield 1
    except ValueError:
        yield 2


async def laagain() -> AsyncIterator[int]:
    try:
        yield 1
    except ValueError:
        yield 2


@get(
    "/raises",
    dependencies={
        "a": Provide(lswallows),
        "b": Provide(lpasses),
        "c": Provide(lapasses),
        "d": Provide(lagain),
        "e": Provide(laagain),
    },
)
async def lraises(
    a: NamedDependency[int], b: NamedDependency[int], c: NamedDependency[int],
    d: NamedDependency[int], e: NamedDependency[int],
) -> int:  # fmt: skip
    raise ValueError("no")


@get("/teardown-raises", dependencies={"a": Provide(lbreaks)})
async def lteardown(a: NamedDependency[int]) -> int:
    raise ValueError("no")


def litestar_app() -> Litestar:
    return Litestar(
        [lroot, lbroken, lraises, lteardown],
        dependencies={
            "token": Provide(ltoken),
            "user": Provide(luser),
            "n": Provide(lsync, sync_to_thread=True),
            "session": Provide(lsession),
            "plain": Provide(lsync_session),
        },
        openapi_config=None,
        logging_config=None,
    )


async def test_litestar(signals: Telemetry) -> None:
    done = await call(litestar_app())
    assert (done.status, done.body) == (200, b'{"n":3}')
    found = {each["name"]: each for each in signals.snapshot()}
    assert {name: each["attributes"].get("dependency.value") for name, each in found.items()} == {
        "GET /": None,
        "dependency token": "***",
        "dependency user": "{'name': 'ann', 'password': ***}",
        "dependency n": "3",
        "dependency session": f"<{__name__}.Session>",
        "dependency plain": "1",
        "dependency teardown lsession": None,
        "dependency teardown lsync_session": None,
        "commit": None,
    }
    assert found["dependency user"] == {
        "name": "dependency user",
        "kind": "INTERNAL",
        "parent": "GET /",
        "attributes": {
            "code.file.path": "/tests/unit/test_dependencies.py",
            "code.function.name": f"{__name__}.luser",
            "code.line.number": "...",
            "dependency.framework": "litestar",
            "dependency.name": "user",
            "dependency.phase": "setup",
            "dependency.requires": ["token"],
            "dependency.value": "{'name': 'ann', 'password': ***}",
        },
    }
    assert found["dependency n"]["attributes"]["code.function.name"] == f"{__name__}.lsync"
    assert found["commit"]["parent"] == "dependency teardown lsession"


async def test_litestar_fails(signals: Telemetry) -> None:
    done = await call(litestar_app(), "/fails")
    assert done.status == 500
    (bad,) = [each for each in signals.snapshot() if each["name"] == "dependency bad"]
    assert bad["status"] == "ERROR"
    assert bad["attributes"]["error.type"] == "ValueError"


async def test_litestars_teardown_after_a_failure(signals: Telemetry) -> None:
    done = await call(litestar_app(), "/raises")
    found = {each["name"]: each for each in signals.snapshot()}
    bare = await exchange(litestar_app(), http_scope("/raises"))
    assert (done.status, done.body) == (bare.status, bare.body)
    for name in ("lswallows", "lpasses", "lapasses", "lagain", "laagain"):
        torn_down = found[f"dependency teardown {name}"]
        assert "error.type" not in torn_down["attributes"]  # what it was given is no fault of its
        assert torn_down["attributes"]["code.function.name"] == name
    assert found["rollback"]["parent"] == "dependency teardown lswallows"


async def test_litestars_teardown_fails(signals: Telemetry) -> None:
    done = await call(litestar_app(), "/teardown-raises")
    assert done.status == 500
    (failed,) = [e for e in signals.snapshot() if e["name"] == "dependency teardown lbreaks"]
    assert (failed["status"], failed["attributes"]["error.type"]) == ("ERROR", "RuntimeError")


@pytest.mark.parametrize("fault", ["_Thrown", "Injected", "_Called"])
async def test_a_fault_at_a_teardown_after_a_failure(
    fault: str, signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(of_litestar, fault, lambda *_, **__: 1 / 0)
    done = await call(litestar_app(), "/raises")
    bare = await exchange(litestar_app(), http_scope("/raises"))
    assert (done.status, done.body) == (bare.status, bare.body)
    assert "teardown of a dependency failed; the app is not affected" in caplog.text


async def test_litestar_unseen(signals: Telemetry) -> None:
    assert (await exchange(litestar_app(), http_scope("/"))).status == 200
    assert not [each for each in tree(signals) if each[0].startswith("dependency")]


@pytest.mark.parametrize("fault", ["Injected", "end", "_timed"])
async def test_a_fault_of_ours_is_litestars_answer(
    fault: str, signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    owner = spans.Injected if fault == "end" else of_litestar
    monkeypatch.setattr(owner, fault, lambda *_, **__: 1 / 0)
    done = await call(litestar_app())
    assert (done.status, done.body) == (200, b'{"n":3}')
    assert "failed; the app is not affected" in caplog.text


def test_another_version_of_litestar() -> None:
    of_litestar._hook_model(object())


# The panel


async def view_of(signals: Telemetry, app: Any) -> DependenciesView:
    await call(app)
    (summary,) = signals.store.list(Query()).traces
    found = signals.store.get(summary.trace_id)
    assert found is not None
    return panel.PANEL.view(found, Settings())


async def test_the_panel_for_fastapi(signals: Telemetry) -> None:
    found = await view_of(signals, fastapi_app())
    assert [(each.position, each.name, each.depth, each.cached) for each in found.dependencies] == [
        (1, "counted", 0, False),
        (2, "user", 0, False),
        (3, "token", 1, False),
        (4, "audit", 0, False),
        (5, "user", 1, True),
        (6, "token", 2, True),
        (7, "session", 0, False),
        (8, "page", 0, False),
        (9, "again", 0, False),
    ]
    user, session = found.dependencies[1], found.dependencies[6]
    assert user.value == "{'name': 'ann', 'password': ***}"
    assert user.place is not None
    assert user.place.short.startswith("unit/test_dependencies.py:")
    assert user.duration is not None
    assert 0 <= user.own <= user.duration
    assert session.teardown is not None
    assert (user.teardown, found.count) == (None, 7)
    assert found.teardown > 0
    assert panel.PANEL.badge(found) == Badge("7")


async def test_the_panel_for_litestar(signals: Telemetry) -> None:
    found = await view_of(signals, litestar_app())
    needs = {each.name: each.requires for each in found.dependencies}
    assert needs == {"token": (), "user": ("token",), "n": (), "session": (), "plain": ()}


def test_the_panel_without_any() -> None:
    found = panel.PANEL.view(Trace.of("a" * 32, [], 1), Settings())
    assert panel.PANEL.badge(found) == Badge(None)
