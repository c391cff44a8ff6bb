"""How the facts of a process travel: told once and when they change, kept, exported, read in again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_toolbar import export, panels, semconv
from otel_toolbar.distro import facts as of_distro
from otel_toolbar.distro import runtime as runtimes
from otel_toolbar.distro.asgi import ToolbarApp
from otel_toolbar.distro.distro import ToolbarDistro
from otel_toolbar.distro.runtime import Runtime
from otel_toolbar.insights import process
from otel_toolbar.intake import importer
from otel_toolbar.model import Kind, Log, Span, Trace
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import log_processor, logs
from otel_toolbar.signals.process import Reporter, openapi, reporter
from otel_toolbar.store.base import Query, Spans
from otel_toolbar.store.memory import MAX_PROCESSES, MemoryStore
from tests.telemetry import Telemetry, exchange, http_scope, made_global, telemetry, watched

PROCESS = "p" * 32


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "DELAY", 0)
    monkeypatch.setattr(reporter, "PAUSE", 0)


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    made = telemetry()
    made.provider._update_resource(made.provider.resource.create({semconv.PROCESS_ID: PROCESS}))
    logs.take_with(made.processor.take_logs)
    with made_global(made.provider):
        yield made
    logs.take_with(None)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemoryLogRecordExporter:
    """What an exporter of the app's own logger provider gets."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    log_processor.stand_first(provider)
    monkeypatch.setattr("opentelemetry._logs._internal._LOGGER_PROVIDER", provider)
    return exporter


def app() -> FastAPI:
    made = FastAPI(title="Shop")
    made.state.secret_key = "hunter2"

    @made.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    return made


def made_reporter() -> Reporter:
    return Reporter(
        lambda: {semconv.PROCESS_ID: PROCESS}, lambda: {"instrumentations": []}, {"A": 1}
    )


async def only_trace(signals: Telemetry, served: Any, path: str = "/items/7") -> Trace:
    await exchange(watched(served), http_scope(path))
    (summary,) = signals.store.list(Query()).traces
    trace = signals.store.get(summary.trace_id)
    assert trace is not None
    return trace


async def test_told_once_and_put_on_every_trace_of_the_process(
    signals: Telemetry, exported: InMemoryLogRecordExporter
) -> None:
    served, told = app(), made_reporter()
    told.serves(served, "uvloop.Loop")
    told.wait()
    told.serves(served)
    told.tell()
    trace = await only_trace(signals, served)
    assert trace.process is not None
    assert (trace.process.event, trace.process.trace_id) == ("toolbar.process", "")
    assert trace.process_id == PROCESS
    assert sorted(process.facts(trace)) == [
        "event_loop", "instrumentations", "packages", "python", "routes", "server", "settings",
    ]  # fmt: skip
    assert process.facts(trace)["event_loop"] == "uvloop.Loop"
    (record,) = exported.get_finished_logs()
    assert record.log_record.event_name == "toolbar.process"
    assert not record.log_record.trace_id
    body: Any = record.log_record.body
    assert body["settings"][0]["title"] == "FastAPI app"
    assert "hunter2" not in str(record.log_record.body)


async def test_the_document_is_made_again_only_for_other_routes(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    real = openapi.facts

    def counted(apps: Any, *, make: bool) -> Any:
        made.append(make)
        return real(apps, make=make)

    monkeypatch.setattr(openapi, "facts", counted)
    served, told = app(), made_reporter()
    told.serves(served)
    told.wait()
    for _ in range(3):
        told.look()
        told.wait()
    assert made == [False, True]
    served.get("/later")(lambda: None)
    told.look()
    told.wait()
    assert made == [False, True, True]


async def test_told_again_when_somebody_looks_and_it_has_changed(signals: Telemetry) -> None:
    served, told = app(), made_reporter()
    told.look()  # before anything is served there is nothing to tell
    assert told._thread is None
    told.serves(served)
    told.wait()
    trace = await only_trace(signals, served)
    assert process.documents(trace) == ()
    before = len(process.routes(trace))

    @served.get("/later")
    async def later() -> None: ...

    told.look()
    told.wait()
    looked = signals.store.get(trace.trace_id)
    assert looked is not None
    assert len(process.routes(looked)) == before + 1
    (document,) = process.documents(looked)
    assert document.parsed is not None
    assert {"/items/{number}", "/later"} == set(document.parsed["paths"])
    assert served.openapi_schema is None
    kept = looked.process
    told.look()
    told.wait()
    again = signals.store.get(trace.trace_id)
    assert again is not None
    assert again.process is kept, "nothing has changed"


def test_a_look_is_not_worth_more_than_one_check_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporter, "PAUSE", 1000)
    told = made_reporter()
    told.serves(app())
    told.wait()
    first = told._thread
    told.look()
    told.wait()
    second = told._thread
    assert second is not first, "the first look waits for nothing"
    told.look()
    assert told._thread is second


async def test_the_first_look_may_come_while_facts_are_gathered(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, told = app(), made_reporter()
    real = told._gathered

    def gathered() -> dict[str, Any]:
        found = real()
        told.look()
        return found

    monkeypatch.setattr(told, "_gathered", gathered)
    told.serves(served)
    told.wait()
    assert len(process.documents(await only_trace(signals, served))) == 1


def test_few_apps_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "MAX_APPS", 1)
    told = made_reporter()
    told.serves(app())
    told.serves(app())
    assert len(told._apps) == 1
    told.wait()


@pytest.mark.parametrize(
    "fault",
    ["versions.facts", "routes.facts", "configuration.facts", "hooks.facts", "openapi.facts"],
)
async def test_a_fault_of_one_costs_no_other(
    fault: str,
    signals: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(f"otel_toolbar.signals.process.{fault}", lambda *_, **__: 1 / 0)
    served, told = app(), made_reporter()
    told.serves(served)
    told.wait()
    trace = await only_trace(signals, served)
    assert len(process.facts(trace)) >= 3
    assert "of the process failed" in caplog.text


def test_a_fault_in_telling(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(logs, "emit_of_process", lambda *_: 1 / 0)
    told = made_reporter()
    told.serves(app())
    told.wait()
    assert "facts of the process failed" in caplog.text


# The whole layer.


@pytest.mark.parametrize("fault", ["serves", "look"])
async def test_a_fault_leaves_the_answers_alone(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Reporter, fault, lambda *_: 1 / 0)
    whole = ToolbarApp(app(), Runtime(Settings()))
    assert (await exchange(whole, http_scope("/items/7"))).status == 200
    assert (await exchange(whole, http_scope("/_toolbar/api/traces"))).status == 200
    assert caplog.text.count("Reported once") == 1


async def test_the_first_request_and_the_start_have_the_facts_told() -> None:
    runtime = Runtime(Settings())
    assert runtime.facts is not None
    served = app()
    whole = ToolbarApp(served, runtime)
    for _ in range(2):
        await exchange(whole, http_scope("/items/7"))
    assert runtime.facts._apps == [served]
    assert runtime.facts._loop.startswith("asyncio.")
    runtime.facts.wait()
    runtime.start_afresh()
    assert runtime.facts._apps == []
    await exchange(whole, http_scope("/items/7"))
    assert runtime.facts._apps == [served], "a forked process tells its own"
    runtime.facts.wait()

    started = ToolbarApp(served, Runtime(Settings()))
    waiting = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await started({"type": "lifespan", "state": {}}, receive, send)
    assert [each["type"] for each in sent][:1] == ["lifespan.startup.complete"]
    assert started._runtime.facts is not None
    assert started._runtime.facts._apps == [served]
    started._runtime.facts.wait()


@pytest.mark.parametrize(
    "options", [Settings(enabled="false"), Settings(signals=("-process",))], ids=["off", "left out"]
)
async def test_nothing_is_told_where_it_is_not_wanted(options: Settings) -> None:
    runtime = Runtime(options)
    assert runtime.facts is None
    whole = ToolbarApp(app(), runtime)
    assert (await exchange(whole, http_scope("/items/7"))).status == 200
    await exchange(whole, http_scope("/_toolbar/api/traces"))


# Which instrumentations are active.


def noted(options: Settings | None = None) -> dict[tuple[str, str], tuple[bool, str]]:
    runtime = Runtime(options or Settings())
    for cached in (of_distro._entries, of_distro._conflict, of_distro._missing):
        cached.cache_clear()
    told = of_distro.instrumentations(runtime, runtimes.SIGNALS, runtimes.OFF)
    return {
        (each["by"], each["name"]): (each["active"], each["note"])
        for each in told["instrumentations"]
    }


def test_our_own_signals() -> None:
    import sqlalchemy  # noqa: F401

    found = noted(Settings(signals=("-logs",)))
    assert found["otel-toolbar", "queries"] == (True, "")
    assert found["otel-toolbar", "logs"][1] == "switched off: OTEL_TOOLBAR_SIGNALS chooses"
    assert found["otel-toolbar", "loads"][1] == "off unless named: OTEL_TOOLBAR_SIGNALS chooses"
    assert found["otel-toolbar", "events"][0] is ("litestar" in sys.modules)


DRIVERS = ("sqlalchemy", "asyncpg", "psycopg", "pymysql", "aiosqlite", "sqlite3")


def test_signals_that_see_nothing_name_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (*DRIVERS, "redis", "litestar", "aiocache", "httpx", "aiohttp", "saq"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    def told(name: str) -> tuple[bool, str]:
        return noted()["otel-toolbar", name]

    not_imported = "the app has not imported "
    assert told("queries") == (False, not_imported + " or ".join(DRIVERS))
    assert told("cache") == (False, f"{not_imported}litestar or aiocache or redis")
    assert told("jobs") == (False, f"{not_imported}saq")
    for module, name in (("redis", "cache"), ("httpx", "http"), ("asyncpg", "queries")):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
        assert told(name) == (True, "")  # the tests have its instrumentation
    monkeypatch.setattr(of_distro, "_installed", frozenset)
    assert told("cache") == (False, "redis is seen with pip install 'otel-toolbar[redis]'")
    monkeypatch.setitem(sys.modules, "aiohttp", ModuleType("aiohttp"))
    extras = [
        f"{each} is seen with pip install 'otel-toolbar[{each}]'" for each in ("httpx", "aiohttp")
    ]
    assert told("http") == (False, "; ".join(extras))
    monkeypatch.setitem(sys.modules, "litestar", ModuleType("litestar"))
    assert told("cache") == (True, "")


def test_extras_of_what_is_run_from_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> list[str]:
        raise of_distro.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(of_distro.metadata, "requires", not_there)
    of_distro._extras.cache_clear()
    try:
        assert of_distro._how("opentelemetry-instrumentation-redis") == (
            "pip install opentelemetry-instrumentation-redis"
        )
    finally:
        of_distro._extras.cache_clear()


def test_every_extra_for_a_library_is_named_where_it_is_missing() -> None:
    through = {package for each in of_distro._THROUGH.values() for package in each.values()}
    brought = {each for each in of_distro._extras() if each.startswith("opentelemetry-instrument")}
    assert brought == through
    assert set(of_distro._LIBRARIES) < set(runtimes.SIGNALS)


def test_why_those_of_others_are_not_active(monkeypatch: pytest.MonkeyPatch) -> None:
    name = ("opentelemetry-instrumentation-fastapi", "fastapi")
    assert noted()[name] == (False, "another distribution runs, and it decides")
    monkeypatch.setattr(ToolbarDistro, "runs", True)
    assert "otel-toolbar's own stands in its place" in noted()[name][1]
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "a, fastapi")
    assert noted()[name] == (False, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names it")
    monkeypatch.delenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
    monkeypatch.setattr(ToolbarDistro, "loaded", {"fastapi"})
    assert noted()[name] == (True, "")
    monkeypatch.setattr(ToolbarDistro, "loaded", set())
    monkeypatch.setattr(of_distro, "REPLACED", frozenset())
    assert "could not be loaded" in noted()[name][1]
    monkeypatch.setattr(of_distro, "get_dist_dependency_conflicts", lambda _: "needs fastapi 9")
    assert noted()[name] == (False, "needs fastapi 9")


def test_those_that_wait_for_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    name = ("opentelemetry-instrumentation-redis", "redis")
    monkeypatch.setattr(ToolbarDistro, "runs", True)
    monkeypatch.setattr(ToolbarDistro, "loaded", set())
    monkeypatch.delitem(sys.modules, "redis", raising=False)
    assert noted()[name] == (False, "the app has not imported redis")
    off = Settings(signals=("-cache",))
    assert noted(off)[name] == (False, "not loaded: the signal cache is switched off")
    monkeypatch.setitem(sys.modules, "redis", ModuleType("redis"))
    assert "could not be loaded" in noted()[name][1]
    monkeypatch.setattr(ToolbarDistro, "loaded", {"redis"})
    assert noted()[name] == (True, "")


def test_what_could_be_installed() -> None:
    package = "opentelemetry-instrumentation-urllib3"
    assert noted()[package, "urllib3"] == (False, f"not installed: pip install {package}")
    for name in ("sqlalchemy", "django", "tortoiseorm"):
        assert (f"opentelemetry-instrumentation-{name}", name) not in noted()


def test_an_sdk_without_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.bootstrap_gen", None)
    assert all("pip install" not in note for _, note in noted().values())


# Kept, exported, imported.


def facts(process_id: object = PROCESS, at: int = 5, body: Any = None) -> Log:
    resource: Any = {"toolbar.process.id": process_id}
    body = body if body is not None else {"python": {"version": "3.11"}}
    return Log("", None, at, 9, "INFO", body, "toolbar.process", resource=resource)


def store_with(process_id: str = PROCESS, **options: Any) -> tuple[MemoryStore, str]:
    store = MemoryStore(Settings(**options))
    trace_id = "a" * 32
    resource: Any = {"toolbar.process.id": process_id}
    span = Span(trace_id, "1" * 16, None, "GET /", Kind.SERVER, 1, 2, resource=resource)
    store.add(trace_id, Spans((span,)))
    return store, trace_id


def kept(store: MemoryStore, trace_id: str) -> Log | None:
    trace = store.get(trace_id)
    assert trace is not None
    return trace.process


def test_the_newest_facts_are_kept() -> None:
    store, trace_id = store_with()
    assert kept(store, trace_id) is None
    for each in (facts(at=5), facts(at=7), facts(at=6), facts("other", at=9), facts(3), facts("")):
        store.keep_process(each)
    found = kept(store, trace_id)
    assert found is not None
    assert found.time == 7
    store.clear()
    store.add(trace_id, Spans((Span(trace_id, "1" * 16, None, "GET /", Kind.SERVER, 1, 2),)))
    assert kept(store, trace_id) is None, "a trace of a process that does not say which it is"


def test_the_facts_of_processes_are_bounded() -> None:
    store, trace_id = store_with()
    store.keep_process(facts())
    for number in range(MAX_PROCESSES):
        store.keep_process(facts(f"other {number}"))
    assert kept(store, trace_id) is None
    small, trace_id = store_with(store_max_bytes=80_000)
    small.keep_process(facts(body={"openapi": "x" * 20_000}))
    assert kept(small, trace_id) is None
    small.keep_process(facts())
    assert kept(small, trace_id) is not None


async def test_a_file_has_them_and_shows_the_same(signals: Telemetry) -> None:
    served, told = app(), made_reporter()
    told.serves(served)
    told.wait()
    told.look()
    told.wait()
    trace = await only_trace(signals, served)
    content = export.FORMATS["otlp"].export(trace)
    assert b"hunter2" not in content
    imported = MemoryStore(Settings())
    (trace_id,) = importer.load(imported, content)
    read = imported.get(trace_id)
    assert read is not None
    assert read.process == trace.process
    for panel in panels.load():
        if panel.id in ("routes", "settings", "versions", "openapi"):
            assert panel.view(read, Settings()) == panel.view(trace, Settings()), panel.id
    message = json.loads(content)
    assert "traceId" not in message["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
