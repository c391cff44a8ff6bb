"""The logs panel: records in order, by level and logger, each with its span and place."""

from __future__ import annotations

import pytest

from otel_toolbar.model import Kind, Log, Scope, Span, Trace
from otel_toolbar.panels import logs
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.logs.view import Count, LogsView, level
from otel_toolbar.panels.shared import Field, Place
from otel_toolbar.settings import Settings

SECOND = 1_000_000_000
SERVER = Span("a" * 32, "1" * 16, None, "GET /", Kind.SERVER, SECOND, 2 * SECOND)


def log(at: float, severity: int = 9, body: object = "text", **more: object) -> Log:
    return Log("a" * 32, "1" * 16, int(at * SECOND), severity, "", body, **more)  # type: ignore[arg-type]


def view(*records: Log) -> LogsView:
    return logs.PANEL.view(Trace.of("a" * 32, [SERVER], 3 * SECOND, logs=records), Settings())


def test_records_in_order_of_time_with_all_they_say() -> None:
    attributes = {
        "toolbar.logger.name": "shop",
        "code.file.path": "/app/shop.py",
        "code.line.number": 7,
        "code.function.name": "buy",
        "log.record.arguments": ("7",),
        "log.record.extra.order": 7,
        "exception.type": "ValueError",
        "exception.message": "no",
        "exception.stacktrace": "Traceback",
    }
    found = view(log(1.5, 17, "failed", attributes=attributes), log(1.25, 9, {"a": ("b",)}))
    first, second = found.records
    assert (first.position, first.start, first.message, first.place) == (
        1,
        0.25,
        '{"a": ["b"]}',
        None,
    )
    assert (second.level, second.severity, second.logger, second.span) == (
        "error",
        "ERROR",
        "shop",
        "GET /",
    )
    link = "vscode://file/app/shop.py:7"
    assert second.place == Place("/app/shop.py", 7, "buy", link)
    assert (second.arguments, second.fields) == (("7",), (Field("order", "7"),))
    assert (second.exception, second.stacktrace) == ("ValueError: no", "Traceback")
    assert found.levels == (Count("error", 1), Count("info", 1))
    assert logs.PANEL.badge(found) == Badge("2", "error")


def test_another_sdks_record() -> None:
    attributes = {"code.filepath": "app.js", "code.lineno": "12", "code.function": "buy"}
    record = log(1, 13, scope=Scope("winston"), attributes=attributes, event="shop.bought")
    (found,) = view(record).records
    assert found.place == Place("app.js", 12, "buy", "")
    assert (found.logger, found.event, found.level) == ("winston", "shop.bought", "warn")
    assert logs.PANEL.badge(view(record)) == Badge("1", "warn")


def test_nothing_logged() -> None:
    assert logs.PANEL.badge(view()) == Badge(None, "ok")


@pytest.mark.parametrize(
    ("severity", "name"),
    [
        (0, "other"),
        (1, "trace"),
        (5, "debug"),
        (12, "info"),
        (16, "warn"),
        (24, "fatal"),
        (25, "other"),
    ],
)
def test_levels(severity: int, name: str) -> None:
    assert level(severity) == name
