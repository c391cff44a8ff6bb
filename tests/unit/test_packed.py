"""What is packed and unpacked is what the SDK and light spans said."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_toolbar.model import Scope
from otel_toolbar.wire import packed
from tests import sdk_spans as sdk
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


class OneOff(InstrumentationScope):
    __slots__ = ("__weakref__",)


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


def test_spans_of_many_threads_with_resources_that_are_new_to_all() -> None:
    """Requests end in several threads at once; what the first of them meets is new to all."""
    at_once, rounds = 8, 200
    given = [
        [
            ReadableSpan(f"{at}", trace.SpanContext(1, 2, False), resource=resource)
            for at in range(at_once)
        ]
        for resource in (Resource({"round": number}) for number in range(rounds))
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(at_once) as threads:
            for number, group in enumerate(given):
                batches = list(threads.map(lambda span: packed.pack([span]), group))
                read = [batch.spans()[0].resource for batch in batches]
                assert read == [{"round": number}] * at_once
    finally:
        sys.setswitchinterval(interval)


def test_a_tracer_made_for_each_request_leaves_nothing_behind() -> None:
    scope = OneOff("app", "1")
    span = ReadableSpan("work", trace.SpanContext(1, 2, False), instrumentation_scope=scope)
    assert packed.pack([span]).spans()[0].scope == Scope("app", "1")
    gone = weakref.ref(scope)
    del scope, span
    gc.collect()
    assert gone() is None


def test_a_span_that_is_written_while_it_is_read() -> None:
    signals = telemetry()
    span = signals.provider.get_tracer("app").start_span("work")
    reading = threading.Event()

    def write() -> None:
        for number in itertools.count():
            span.set_attribute(f"key {number % 100}", number)
            span.add_event("event", {"n": number})
            if reading.is_set():
                return

    writer = threading.Thread(target=write)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        writer.start()
        running = packed.Running([span])
        names = {running.spans()[0].name for _ in range(300)}
    finally:
        reading.set()
        writer.join()
        sys.setswitchinterval(interval)
    assert names == {"work"}
    assert (running.count, running.main) == (1, False)
    assert running.size == packed.pack([span]).size
