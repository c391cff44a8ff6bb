"""The SERVER span that we start ourselves is in all what the SDK's tracer would have started."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ReadableSpan,
    Span,
    SpanLimits,
    SpanProcessor,
    TracerProvider,
    _Span,  # pyright: ignore[reportPrivateUsage]
)
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import AttributeValue

from otel_toolbar.model import Kind
from otel_toolbar.signals.core.processor import RecordEverything, ToolbarProcessor
from otel_toolbar.signals.server import span as server_span
from otel_toolbar.wire import packed

Start = Callable[[trace.Tracer, str, Context, dict[str, AttributeValue], int], trace.Span]
GIVEN: dict[str, AttributeValue] = {
    "http.request.method": "GET",
    "url.path": "/" + "a" * 100,
    "server.port": 80,
}


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    server_span._is_as_known.cache_clear()
    yield
    server_span._is_as_known.cache_clear()


def by_the_tracer(
    tracer: trace.Tracer, name: str, context: Context, attributes: Any, start_time: int
) -> trace.Span:
    return tracer.start_span(
        name, context=context, kind=SpanKind.SERVER, attributes=attributes, start_time=start_time
    )


class Counting(IdGenerator):
    def __init__(self, random: bool) -> None:
        self._ids = itertools.count(1)
        self._random = random

    def generate_span_id(self) -> int:
        return next(self._ids)

    def generate_trace_id(self) -> int:
        return next(self._ids) << 64

    def is_trace_id_random(self) -> bool:
        return self._random


class Adding(Sampler):
    """Adds an attribute and a trace state, and takes one away."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        _, _, _, _, attributes, _ = args
        kept = {key: value for key, value in attributes.items() if key != "server.port"}
        state = TraceState([("vendor", "1")])
        return SamplingResult(Decision.RECORD_AND_SAMPLE, kept | {"sampler.rule": 7}, state)

    def get_description(self) -> str:
        return "Adding"


class Noting(SpanProcessor):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        above = trace.get_current_span(parent_context).get_span_context()
        self.told.append(("start", dict(span.attributes or {}), span.is_recording(), above))
        span.set_attribute("by.a.processor", True)

    def on_end(self, span: ReadableSpan) -> None:
        self.told.append(("end", json.loads(span.to_json())))


def context_of(parent: SpanContext | None) -> Context:
    return Context() if parent is None else trace.set_span_in_context(NonRecordingSpan(parent))


def everything(
    start: Start, sampler: Sampler, parent: SpanContext | None, limits: SpanLimits, random: bool
) -> dict[str, Any]:
    """All that can be seen of a span while it runs and when it has ended."""
    provider = TracerProvider(
        sampler=sampler,
        resource=Resource({"service.name": "shop"}),
        span_limits=limits,
        id_generator=Counting(random),
        shutdown_on_exit=False,
    )
    noting = Noting()
    provider.add_span_processor(noting)
    tracer = provider.get_tracer("ours", "1", "https://schema.test")
    span: Any = start(tracer, "GET", context_of(parent), dict(GIVEN), 5)
    context = span.get_span_context()
    seen: dict[str, Any] = {"context": tuple(context), "recording": span.is_recording()}
    for number in range(4):
        span.set_attribute(f"later.{number}", number)
        span.add_event("it happened", {"n": number}, 6)
        span.add_link(SpanContext(9, 9 + number, False))
    span.update_name("GET /")
    span.set_status(trace.StatusCode.ERROR, "no")
    if isinstance(span, Span):
        fields = {key: type(value).__name__ for key, value in vars(span).items()}
        same = ("_resource", "_sampler", "_span_processor", "_limits", "_instrumentation_scope")
        seen["fields"] = fields
        seen["same"] = [
            vars(span)["_resource"] is provider.resource,
            *(vars(span)[key] is getattr(tracer, key.lstrip("_"), None) for key in same[1:3]),
            vars(span)["_limits"] is limits,
            vars(span)["_instrumentation_scope"].schema_url,
        ]
    span.end(7)
    seen["after"] = span.is_recording()
    seen["told"] = noting.told
    return seen


NONE = SpanLimits()
TIGHT = SpanLimits(max_span_attributes=4, max_events=2, max_links=3, max_span_attribute_length=10)
REMOTE = SpanContext(
    11 << 64, 12, True, TraceFlags(TraceFlags.SAMPLED), TraceState([("vendor", "2")])
)
UNSAMPLED = SpanContext(11 << 64, 12, True, TraceFlags(TraceFlags.RANDOM_TRACE_ID))
LOCAL = SpanContext(11 << 64, 12, False, TraceFlags(3))


@pytest.mark.parametrize("limits", [NONE, TIGHT], ids=["no limits", "tight limits"])
@pytest.mark.parametrize("parent", [None, REMOTE, UNSAMPLED, LOCAL], ids=repr)
@pytest.mark.parametrize(
    "sampler",
    [
        ALWAYS_ON,
        DEFAULT_ON,
        ALWAYS_OFF,
        Adding(),
        *(RecordEverything(each) for each in (ALWAYS_ON, DEFAULT_ON, ALWAYS_OFF, Adding())),
    ],
    ids=lambda sampler: f"{type(sampler).__name__} {sampler.get_description()}",
)
@pytest.mark.parametrize("random", [True, False])
def test_it_is_what_the_tracer_makes(
    sampler: Sampler, parent: SpanContext | None, limits: SpanLimits, random: bool
) -> None:
    ours = everything(server_span.start, sampler, parent, limits, random)
    theirs = everything(by_the_tracer, sampler, parent, limits, random)
    assert ours == theirs


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("start", [server_span.start, by_the_tracer])
def test_it_ends_as_the_sdks_do(
    start: Start, others: int, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[ReadableSpan] = []
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(ToolbarProcessor(lambda spans, _: taken.extend(spans)))
    for _ in range(others):
        provider.add_span_processor(SpanProcessor())
    span: Any = start(provider.get_tracer("ours"), "GET", Context(), dict(GIVEN), 5)
    span.add_event("seen", {"a": 1}, 6)
    span.add_link(LOCAL)
    span.set_status(StatusCode.ERROR, "broken")
    span.end(7)
    assert not span.is_recording()
    assert not caplog.records
    span.end(8)
    span.set_attribute("late", True)
    assert [record.getMessage() for record in caplog.records] == [
        "Calling end() on an ended span.",
        "Setting attribute on ended span.",
    ]
    (ended,) = packed.pack(taken).spans()
    assert (ended.name, ended.start, ended.end, ended.kind) == ("GET", 5, 7, Kind.SERVER)
    assert ended.attributes == GIVEN
    assert [(event.name, event.time) for event in ended.events] == [("seen", 6)]
    assert [link.span_id for link in ended.links] == [f"{LOCAL.span_id:016x}"]
    assert ended.status_message == "broken"


def test_it_is_started_the_short_way() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("ours")
    span = server_span.start(tracer, "GET", Context(), dict(GIVEN), 5)
    assert isinstance(span, server_span.ServerSpan)
    assert isinstance(span, Span)


def test_an_sdk_that_puts_more_on_its_spans_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    real = _Span.__init__

    def another(self: Any, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        self._new_field = 1

    monkeypatch.setattr(_Span, "__init__", another)
    span = server_span.start(TracerProvider().get_tracer("ours"), "GET", Context(), dict(GIVEN), 5)
    assert type(span) is _Span
    assert dict(span.attributes or {}) == GIVEN


def test_an_sdk_without_what_is_read_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(server_span.ServerSpan, "_new_links", fail)
    span = server_span.start(TracerProvider().get_tracer("ours"), "GET", Context(), dict(GIVEN), 5)
    assert type(span) is _Span


def test_another_tracer_is_asked() -> None:
    span = server_span.start(trace.NoOpTracer(), "GET", Context(), dict(GIVEN), 5)
    assert not span.is_recording()


def test_a_tracer_that_is_switched_off_starts_none() -> None:
    tracer: Any = TracerProvider(shutdown_on_exit=False).get_tracer("ours")
    tracer._tracer_config.is_enabled = False
    context = context_of(REMOTE)
    span = server_span.start(tracer, "GET", context, dict(GIVEN), 5)
    assert not span.is_recording()
    assert span.get_span_context() == REMOTE


@pytest.mark.parametrize("start", [server_span.start, by_the_tracer])
def test_the_sdks_own_metrics_count_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    reader = InMemoryMetricReader()
    provider = TracerProvider(
        sampler=ALWAYS_ON, meter_provider=MeterProvider([reader]), shutdown_on_exit=False
    )
    tracer = provider.get_tracer("ours")
    first = start(tracer, "GET", Context(), dict(GIVEN), 5)
    start(tracer, "GET", Context(), dict(GIVEN), 5)
    first.end()
    data = json.loads(reader.get_metrics_data().to_json())  # pyright: ignore[reportOptionalMemberAccess]
    (scope,) = data["resource_metrics"][0]["scope_metrics"]
    counted = {
        metric["name"]: [point["value"] for point in metric["data"]["data_points"]]
        for metric in scope["metrics"]
    }
    assert counted == {"otel.sdk.span.started": [2], "otel.sdk.span.live": [1]}
