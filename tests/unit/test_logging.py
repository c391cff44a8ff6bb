"""The app's own logging, in requests and out of them, and that it goes on as without us."""

from __future__ import annotations

import io
import logging
import logging.handlers
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from _pytest.logging import LogCaptureHandler
from inline_snapshot import snapshot
from opentelemetry import _logs as logs_api
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_toolbar import guard
from otel_toolbar.model import Log
from otel_toolbar.settings import Settings
from otel_toolbar.signals import logs
from otel_toolbar.signals.core import log_processor
from otel_toolbar.signals.core import logs as log_records
from otel_toolbar.signals.logs import described, standard
from otel_toolbar.store.base import Query
from tests.telemetry import Telemetry, exchange, http_scope, made_global, telemetry, watched

log = logging.getLogger("shop.orders")


class Odd:
    def __repr__(self) -> str:
        raise AssertionError("called")


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    made = telemetry()
    log_records.take_with(made.processor.take_logs)
    logs.install()
    with made_global(made.provider):
        yield made
    logs.uninstall()
    log_records.take_with(None)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[io.StringIO]:
    """A handler of the app's that formats, for warnings and above; what it wrote."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.DEBUG)
    yield written
    log.handlers, log.propagate = [], True
    log.setLevel(logging.NOTSET)


async def logged(signals: Telemetry, what: Callable[[], Any], **options: Any) -> list[Log]:
    # pytest puts handlers of its own on loggers that do not propagate; they format everything.
    log.handlers = [each for each in log.handlers if not isinstance(each, LogCaptureHandler)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        what()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    done = await exchange(watched(app, Settings(**options)), http_scope())
    assert (done.status, done.error) == (200, None)
    (summary,) = signals.store.list(Query()).traces
    trace = signals.store.get(summary.trace_id)
    assert trace is not None
    return list(trace.logs)


async def test_a_record_as_a_whole(signals: Telemetry) -> None:
    def work() -> None:
        extra = {"order": 7, "user": {"name": "ada", "password": "hunter2"}, "api_key": 12}
        log.warning("order %d of %s", 7, "ada", extra=extra)

    (record,) = await logged(signals, work)
    attributes = {k: v for k, v in record.attributes.items() if not k.startswith("code.")}
    assert (record.level, record.severity, record.body) == ("WARNING", 13, "order 7 of ada")
    assert attributes == snapshot(
        {
            "toolbar.logger.name": "shop.orders",
            "log.record.template": "order %d of %s",
            "log.record.arguments": ("7", "ada"),
            "log.record.extra.order": 7,
            "log.record.extra.user": "{'name': 'ada', 'password': ***}",
            "log.record.extra.api_key": "***",
        }
    )
    assert record.text("code.file.path") == __file__
    assert record.text("code.function.name") == "work"


async def test_an_exception(signals: Telemetry, quiet: io.StringIO) -> None:
    def fail() -> None:
        try:
            raise ValueError("token=abcdef")
        except ValueError:
            log.exception("failed")
            log.debug("again", exc_info=True)

    formatted, not_formatted = await logged(signals, fail)
    for record in (formatted, not_formatted):
        assert record.text("exception.type") == "ValueError"
        assert record.text("exception.message") == "token=***"
        assert "in fail" in record.text("exception.stacktrace")
        assert "abcdef" not in str(record)
    assert "token=abcdef" in quiet.getvalue()  # the app's own output is the app's own affair


@pytest.mark.parametrize(
    ("message", "given", "body"),
    [
        ("plain", (), "plain"),
        ("%s is odd", (Odd(),), "<tests.unit.test_logging.Odd> is odd"),
        ("%(name)s", ({"name": "ada"},), "ada"),
        ("%(name)s", ({"name": [1, 2]},), "[1, 2]"),
        ("%d", ("text",), "%d ('text')"),
        ("%s %s", ("one",), "%s %s ('one')"),
        ("card %s", (4111111111111111,), "card ***"),
        (Odd(), (), "<tests.unit.test_logging.Odd>"),
        ({"event": "said", "password": "hunter2"}, (), "said"),
    ],
)
async def test_messages_that_no_handler_has_formatted(
    signals: Telemetry, message: Any, given: tuple[Any, ...], body: str
) -> None:
    (record,) = await logged(signals, lambda: log.debug(message, *given))
    assert record.body == body
    assert "hunter2" not in str(record)


@pytest.mark.parametrize(
    ("level", "number"),
    [(0, 0), (5, 1), (10, 5), (11, 6), (19, 8), (20, 9), (30, 13), (40, 17), (50, 21), (99, 24)],
)
def test_severities(level: int, number: int) -> None:
    assert described.severity(level) == number


async def test_what_the_apps_levels_and_filters_hold_back_is_not_seen(signals: Telemetry) -> None:
    def work() -> None:
        log.setLevel(logging.INFO)
        log.debug("below the level")
        with_filter = lambda record: "secret" not in record.getMessage()  # noqa: E731
        log.addFilter(with_filter)
        log.info("a secret word")
        log.removeFilter(with_filter)
        log.info("seen")

    assert [record.body for record in await logged(signals, work)] == ["seen"]


async def test_a_flood_is_counted_and_formatted_no_more(signals: Telemetry) -> None:
    def work() -> None:
        for number in range(1000):
            log.debug("line %d", number)

    records = await logged(signals, work, max_spans=10)
    assert [record.body for record in records] == [f"line {number}" for number in range(10)]
    (summary,) = signals.store.list(Query()).traces
    trace = signals.store.get(summary.trace_id)
    assert trace is not None
    assert trace.main is not None
    assert trace.main.attributes["toolbar.dropped"] == 990


async def test_a_handler_of_the_sdk_is_not_doubled(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    log_processor.stand_first(provider)
    monkeypatch.setattr("opentelemetry._logs._internal._LOGGER_PROVIDER", provider)
    assert logs_api.get_logger_provider() is provider
    with pytest.warns(DeprecationWarning, match="LoggingHandler"):
        log.addHandler(LoggingHandler(logger_provider=provider))
    (record,) = await logged(signals, lambda: log.info("once"))
    assert record.body == "once"
    assert [each.log_record.body for each in exporter.get_finished_logs()] == ["once"]


async def test_logged_after_the_response(signals: Telemetry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        log.info("late")

    await exchange(watched(app), http_scope())
    log.info("of no request")
    (summary,) = signals.store.list(Query()).traces
    assert summary.counts.logs == 1


def test_the_apps_handlers_get_what_they_got_without_us(signals: Telemetry) -> None:
    """Records that go through a queue, and what a failing handler prints."""
    passed: queue.Queue[logging.LogRecord] = queue.Queue()
    log.handlers = [logging.handlers.QueueHandler(passed)]
    log.warning("%s", "queued")
    assert passed.get_nowait().getMessage() == "queued"

    def printed() -> str:
        stream = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            log.handlers = [logging.StreamHandler()]
            log.handlers[0].setFormatter(logging.Formatter("%(missing)s"))
            log.warning("text")
        return stream.getvalue()

    outputs = []
    for switch in (lambda: None, logs.uninstall):
        switch()
        outputs.append(printed())
    logs.install()
    with_us, without_us = outputs
    assert "Call stack" in with_us
    assert with_us == without_us


async def test_a_fault_of_ours(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("ours")

    guard.forget()
    monkeypatch.setattr(standard, "body", fail)
    assert await logged(signals, lambda: [log.info("one"), log.info("two")]) == []
    assert caplog.text.count("a log record failed") == 1


def test_others_around_the_method_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    before = logging.Logger.callHandlers
    logs.install()
    ours = logging.Logger.callHandlers

    def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
        ours(self, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", theirs)
    logs.uninstall()
    assert logging.Logger.callHandlers is theirs
    monkeypatch.undo()
    logs.uninstall()
    assert logging.Logger.callHandlers is before
