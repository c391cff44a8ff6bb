"""What is packed and unpacked is what the SDK and light spans said."""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from otel_toolbar.wire import packed, sdk
from tests.telemetry import telemetry


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Number(IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no str")


def spans() -> list[ReadableSpan]:
    signals = telemetry()
    tracer = signals.provider.get_tracer("scope", "1.2")
    remote = trace.SpanContext(1 << 100, 5, True, trace.TraceFlags(1))
    parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with tracer.start_as_current_span(
        "server",
        context=parent,
        kind=trace.SpanKind.SERVER,
        links=[trace.Link(remote, {"why": "because"})],
        attributes={"text": "ä\ud800", "int": 3, "float": 1.5, "yes": True, "list": ["a", "b"]},
    ) as server:
        server.add_event("happened", {"n": 1})
        server.record_exception(ValueError("broken"))
        with tracer.start_as_current_span("child"):
            pass
        server.set_status(trace.StatusCode.ERROR, "bad")
    return signals.exported()


def test_sdk_spans_come_back_as_they_were() -> None:
    given = spans()
    batch = packed.pack(given)
    assert batch.spans() == [sdk.to_model(span) for span in given]
    assert (batch.count, batch.main) == (2, True)
    assert batch.size == len(batch.data)
    assert not packed.pack([span for span in given if span.name == "child"]).main


def test_running_spans_have_no_end() -> None:
    tracer = telemetry().provider.get_tracer("scope")
    span: Any = tracer.start_span("running")
    (found,) = packed.pack([span]).spans()
    assert found.end is None
    assert found.name == "running"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Decimal("1.5"), "<Decimal>"),
        (Odd(), "<Odd>"),
        (Number.ONE, 1),
        (Text("x"), "x"),
        ([1, Decimal(2)], (1, "<Decimal>")),
        ({"a": Odd()}, {"a": "<Odd>"}),
        (None, None),
        (2**80, str(2**80)),
    ],
)
def test_values_of_any_type_are_packed(value: Any, shown: Any) -> None:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from otel_toolbar.signals.core import light, processor, record

    signals = telemetry()
    found = record.Record(10)
    server: Any = signals.provider.get_tracer("x").start_span("server")
    processor.adopt(found, server)
    token = record.enter(found)
    try:
        span: Any = light.start(
            "light", trace.SpanKind.CLIENT, {"k": value}, InstrumentationScope("s")
        )
        span.add_event("e", {"k": value})
        span.end()
        (back,) = packed.pack(light.take([span])).spans()
    finally:
        record.leave(token)
        server.end()
    assert back.attributes["k"] in (shown, value)
    assert not isinstance(back.attributes["k"], (Decimal, Odd, Number, Text))
    assert back.scope.name == "s"
    assert back.resource["service.name"] == "test"


def test_an_sdk_with_other_insides_is_read_by_its_properties() -> None:
    given = spans()
    for span in given:
        del span._attributes
        span._attributes = {"plain": "dict"}
    assert [span.attributes for span in packed.pack(given).spans()] == [{"plain": "dict"}] * 2
