"""Light spans stand in for the SDK's: whoever has one in hand sees no difference and breaks nothing."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from decimal import Decimal
from enum import IntEnum
from typing import Any, cast

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_toolbar import export
from otel_toolbar.signals.core import light
from otel_toolbar.signals.core.light import LightSpan
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

hook_frameworks()


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    found = telemetry()
    with made_global(found.provider):
        yield found


async def inside(use: Any) -> Exchanged:
    """Run `use` with the span that is current in an endpoint."""
    app = FastAPI()

    @app.get("/")
    async def endpoint() -> Any:
        span = trace.get_current_span()
        assert isinstance(span, LightSpan)
        return await use(span) if asyncio.iscoroutinefunction(use) else use(span)

    return await exchange(watched(app), http_scope("/"))


@pytest.mark.parametrize("kind", LightSpan.__subclasses__())
def test_it_has_all_that_a_span_has(kind: type[LightSpan]) -> None:
    assert issubclass(kind, trace.Span)
    names = {name for name in vars(trace.Span) if not name.startswith("_")}
    names |= {"__enter__", "__exit__"}
    assert names <= set(dir(kind))
    assert all(getattr(kind, name) is not getattr(trace.Span, name) for name in names)


async def test_others_may_put_something_of_theirs_on_it(signals: Telemetry) -> None:
    def use(span: Any) -> Any:
        span.theirs = 7
        return {"theirs": span.theirs, "known": weakref.ref(span)() is span}

    assert (await inside(use)).body == b'{"theirs":7,"known":true}'


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("repr")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("str")


class Level(IntEnum):
    HIGH = 3


SCOPE = InstrumentationScope("shop")


async def test_what_is_deferred_is_made_when_somebody_reads(signals: Telemetry) -> None:
    made: list[str] = []

    def deferred() -> dict[str, Any]:
        made.append("made")
        return {"common": "deferred", "own": "deferred", "b": 2}

    def use(_: Any) -> None:
        shared = ({"common": "shared", "a": 1},)
        with_all = light.start("x", SpanKind.INTERNAL, {"own": True}, SCOPE, None, shared, deferred)
        with_all.end()
        assert made == []
        assert isinstance(with_all, LightSpan)
        assert with_all.attributes == {"common": "deferred", "own": True, "a": 1, "b": 2}
        assert with_all.attributes == with_all.readable().attributes
        assert made == ["made"]

    await inside(use)


async def test_attributes_that_cannot_be_made_cost_nothing_else(
    signals: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    def use(_: Any) -> None:
        span = light.start(
            "x", SpanKind.INTERNAL, {"a": 1}, SCOPE, deferred=cast(Any, lambda: 1 / 0)
        )
        span.end()

    await inside(use)
    kept = next(span for span in signals.exported() if span.name == "x")
    assert kept.attributes == {"a": 1}
    assert "attributes of a span" in caplog.text


def test_outside_of_requests_all_of_it_is_made_at_once(signals: Telemetry) -> None:
    span: Any = light.start(
        "x", SpanKind.INTERNAL, {"a": 1}, SCOPE, None, ({"b": 2},), lambda: {"c": 3}
    )
    assert dict(span.attributes) == {"a": 1, "b": 2, "c": 3}
    span.end()


def cyclic() -> Any:
    value: list[Any] = []
    value.append({"itself": value})
    return value


ODD = {
    "decimal": Decimal("1.1"),
    "big": 2**70,
    "surrogate": "\ud800",
    "none": None,
    "nested": {"a": [{"b": 2**70, "c": Decimal(1), "\ud800": 1}]},
    "unprintable": Unprintable(),
    "list": [1, "\ud800", None, Unprintable()],
    "cyclic": cyclic(),
    "bytes": b"\xff",
    "set": {1},
    "nan": float("nan"),
    "enum": Level.HIGH,
}


async def test_odd_values_are_exported_and_stored(signals: Telemetry) -> None:
    def use(span: Any) -> None:
        span.set_attributes(ODD)
        span.add_event("\ud800", ODD, 5)
        span.add_link(span.get_span_context(), ODD)
        span.record_exception(UnprintableError())
        span.record_exception(ValueError("x"), {"more": Decimal(1)})
        span.set_status(StatusCode.ERROR, "\ud800")
        span.update_name("\ud800")

    assert (await inside(use)).status == 200
    spans = signals.exported()
    assert len(encode_spans(spans).resource_spans) == 1
    span = next(span for span in spans if span.name == "?")
    assert set(ODD) <= set(span.attributes or ())
    assert (span.attributes or {})["nested"] == {
        "a": ({"b": str(2**70), "c": "<Decimal>", "?": 1},)
    }
    (summary,) = signals.store.list(Query()).traces
    trace_ = signals.store.get(summary.trace_id)
    assert trace_ is not None
    assert export.FORMATS["otlp"].export(trace_)


async def test_it_reads_as_a_span_of_the_sdk_does(signals: Telemetry) -> None:
    def use(span: Any) -> None:
        assert span.status.status_code is StatusCode.UNSET
        assert not span.status.is_ok or span.status.is_unset
        assert (list(span.events), list(span.links)) == ([], [])
        span.add_event("first", {"a": 1})
        span.add_link(span.get_span_context(), {"b": 2})
        span.set_status(Status(StatusCode.ERROR, "why"))
        assert [(event.name, dict(event.attributes)) for event in span.events] == [
            ("first", {"a": 1})
        ]
        assert [dict(link.attributes) for link in span.links] == [{"b": 2}]
        assert span.status.description == "why"
        span.set_status(StatusCode.OK)
        span.set_status(StatusCode.ERROR, "too late")
        assert span.status.status_code is StatusCode.OK
        assert span.instrumentation_scope.name == "fastapi"
        assert span.parent.span_id
        assert span.resource.attributes["service.name"] == "test"
        assert span.end_time is None
        assert "fastapi" in span.to_json()

    assert (await inside(use)).status == 200


async def test_secrets_in_exceptions_and_status_are_masked(signals: Telemetry) -> None:
    def use(span: Any) -> None:
        span.set_status(StatusCode.ERROR, "ValueError: password=hunter2")
        raise ValueError("connect to postgres://joe:hunter2@db failed\n[parameters: ('hunter2',)]")

    assert isinstance((await inside(use)).error, ValueError)
    spans = signals.exported()
    shown = "".join(span.to_json() for span in spans)
    assert "hunter2" not in shown
    assert "postgres://joe:***@db" in shown


async def test_limits_of_the_sdk_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    signals = telemetry()
    signals.provider._span_limits = SpanLimits(
        max_span_attributes=2, max_span_attribute_length=3, max_events=1, max_links=0
    )

    def use(span: Any) -> None:
        for name in "abcd":
            span.set_attribute(name, name * 10)
            span.add_event(name)
            span.add_link(span.get_span_context())

    with made_global(signals.provider):
        assert (await inside(use)).status == 200
    span = next(span for span in signals.exported() if span.events)
    assert dict(span.attributes or {}) == {"c": "ccc", "d": "ddd"}
    assert ([event.name for event in span.events], len(span.links)) == (["d"], 0)


async def test_its_context_may_be_used_in_threads_and_after_the_request(
    signals: Telemetry,
) -> None:
    tracer = trace.get_tracer("app")
    left: list[asyncio.Task[None]] = []

    async def use(span: Any) -> None:
        context = trace.set_span_in_context(span)

        def child() -> None:
            with tracer.start_as_current_span("child", context=context):
                span.set_attribute("thread", True)

        async def later() -> None:
            await asyncio.sleep(0.02)
            assert not span.is_recording()
            span.set_attribute("late", True)
            child()

        thread = threading.Thread(target=child)
        thread.start()
        thread.join()
        left.append(asyncio.create_task(later()))

    assert (await inside(use)).status == 200
    await asyncio.gather(*left)
    spans = signals.exported()
    endpoint = next(span for span in spans if (span.attributes or {}).get("thread"))
    parents = [span.parent.span_id for span in spans if span.name == "child"]
    assert parents == [endpoint.context.span_id] * 2
    assert "late" not in (endpoint.attributes or {})


async def test_it_is_a_context_manager_that_ends_it_once(signals: Telemetry) -> None:
    def use(span: Any) -> None:
        with span:
            pass
        assert not span.is_recording()
        span.end()

    assert (await inside(use)).status == 200
    names = [span.name for span in signals.exported()]
    assert names.count("fastapi.endpoint") == 1


async def test_a_processor_of_others_is_told_the_parents_context(signals: Telemetry) -> None:
    class Strict(SpanProcessor):
        started: list[str] = []  # noqa: RUF012

        def on_start(self, span: Any, parent_context: Any) -> None:  # type: ignore[override]
            assert parent_context is not None
            self.started.append(span.name)

    signals.provider.add_span_processor(Strict())
    assert (await inside(lambda span: None)).status == 200
    assert "fastapi.endpoint" in Strict.started
