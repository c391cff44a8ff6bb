"""Log records, light ones and the SDK's: in their request, masked, handed on, kept and exported."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import _logs as logs_api
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_toolbar import guard
from otel_toolbar.export import FORMATS
from otel_toolbar.intake import importer
from otel_toolbar.model import Log, Trace
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import log_processor, logs
from otel_toolbar.signals.core.logs import LightLog
from otel_toolbar.store.memory import MemoryStore
from tests.telemetry import Telemetry, exchange, http_scope, made_global, telemetry, watched

SCOPE = InstrumentationScope("app.log", "1")


def said(body: Any, **attributes: Any) -> LightLog:
    return LightLog(9, "INFO", body, attributes, SCOPE)


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    made = telemetry()
    logs.take_with(made.processor.take_logs)
    with made_global(made.provider):
        yield made
    logs.take_with(None)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemoryLogRecordExporter:
    """What an exporter of the app's own logger provider gets."""
    for thread in threading.enumerate():
        if thread.name == "otel-toolbar-facts":
            thread.join(10)  # of a test before this one: what it tells would come here, too
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    log_processor.stand_first(provider)
    monkeypatch.setattr("opentelemetry._logs._internal._LOGGER_PROVIDER", provider)
    return exporter


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def only_trace(signals: Telemetry) -> Trace:
    from otel_toolbar.store.base import Query

    (summary,) = signals.store.list(Query()).traces
    found = signals.store.get(summary.trace_id)
    assert found is not None
    assert summary.counts.logs == len(found.logs)
    return found


async def test_what_is_logged_stands_in_its_request(
    signals: Telemetry, exported: InMemoryLogRecordExporter
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        logs.emit(said("before", place=1))
        with trace.get_tracer("app").start_as_current_span("work"):
            logs.emit(said("within"))
        await answer(send)

    await exchange(watched(app), http_scope())
    found = only_trace(signals)
    work = next(span for span in found.spans if span.name == "work")
    assert [(log.body, log.span_id, log.level, log.severity) for log in found.logs] == [
        ("before", found.main.span_id if found.main else "", "INFO", 9),
        ("within", work.span_id, "INFO", 9),
    ]
    assert found.logs[0].attributes == {"place": 1}
    assert (found.logs[0].scope.name, found.logs[0].resource) == ("app.log", work.resource)
    others = exported.get_finished_logs()
    assert [each.log_record.body for each in others] == ["before", "within"]
    assert {each.log_record.trace_id for each in others} == {int(found.trace_id, 16)}


async def test_more_than_a_request_may_hold_is_counted(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for number in range(10):
            logs.emit(said(number))
        await answer(send)

    await exchange(watched(app, Settings(max_spans=4)), http_scope())
    found = only_trace(signals)
    assert [log.body for log in found.logs] == [0, 1, 2, 3]
    assert found.main is not None
    assert found.main.attributes["toolbar.dropped"] == 6


async def test_others_log_records_are_masked_and_seen_once(
    signals: Telemetry, exported: InMemoryLogRecordExporter
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        logs_api.get_logger("other").emit(
            LogRecord(
                severity_number=SeverityNumber.ERROR,
                body="failed with password=hunter2",
                attributes={"token": "hunter3", "n": 1, "parts": ("a", "b")},
            )
        )
        await answer(send)

    await exchange(watched(app), http_scope())
    (log,) = only_trace(signals).logs
    (other,) = exported.get_finished_logs()
    assert log.body == other.log_record.body == "failed with password=***"
    assert log.attributes == {"token": "***", "n": 1, "parts": "('a', 'b')"}
    assert (log.severity, log.scope.name) == (17, "other")


def test_outside_of_requests(signals: Telemetry, exported: InMemoryLogRecordExporter) -> None:
    logs.emit(said("of no trace"))
    with signals.provider.get_tracer("app").start_as_current_span("work") as span:
        logs.emit(said("of a trace"))
        logs_api.get_logger("other").emit(LogRecord(body="another's"))
    found = signals.store.get(f"{span.get_span_context().trace_id:032x}")
    assert found is not None
    assert [log.body for log in found.logs] == ["of a trace", "another's"]
    bodies = [each.log_record.body for each in exported.get_finished_logs()]
    assert bodies == ["of no trace", "of a trace", "another's"]


async def test_what_is_logged_is_there_while_the_request_runs() -> None:
    signals = telemetry()
    seen: list[Log] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        from otel_toolbar.wire import packed

        logs.emit(said("now"))
        for batch in packed.by_trace(*signals.processor.live()).values():
            seen.extend(batch.logs())
        await answer(send)

    with made_global(signals.provider):
        await exchange(watched(app), http_scope())
    assert [log.body for log in seen] == ["now"]


async def test_a_trace_with_logs_goes_through_a_file(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        logs.emit(said("text", ratio=0.5, parts=("a", 1)))
        logs.emit(LightLog(0, "", {"key": ["value"]}, {}, SCOPE, event="app.event"))
        await answer(send)

    await exchange(watched(app), http_scope())
    found = only_trace(signals)
    store = MemoryStore(Settings())
    message = FORMATS["otlp"].export(found)
    assert importer.load(store, message) == [found.trace_id]
    again = store.get(found.trace_id)
    assert again is not None
    assert (again.logs, again.spans) == (found.logs, found.spans)
    assert found.logs[1].body == {"key": ("value",)}
    assert found.logs[1].event == "app.event"
    only_logs = {"resourceLogs": json.loads(message)["resourceLogs"]}
    assert importer.load(store, json.dumps(only_logs).encode()) == [found.trace_id]


async def test_a_processor_of_others_that_fails(
    signals: Telemetry,
    exported: InMemoryLogRecordExporter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        logs.emit(said("text"))
        await answer(send)

    def fail(*_: Any) -> None:
        raise RuntimeError("exporter down")

    guard.forget()
    monkeypatch.setattr(SimpleLogRecordProcessor, "on_emit", fail)
    done = await exchange(watched(app), http_scope())
    assert (done.status, done.error) == (200, None)
    assert [log.body for log in only_trace(signals).logs] == ["text"]
    assert caplog.text.count("handing on a log record") == 1
