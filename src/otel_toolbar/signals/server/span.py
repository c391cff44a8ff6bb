"""The SERVER span of a request that no framework makes one for: the SDK's own, started with less work.

`Tracer.start_span` is a tenth of what watching a JSON request costs; most of it goes into cleaning values
that are clean, and into options that this span does not use (measured). Where the SDK's insides are not
as they are known here, it is asked all the same.
"""

# The SDK's insides are what this is about.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# ruff: noqa: SLF001

from __future__ import annotations

import threading
import time
from functools import lru_cache
from typing import Any

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace import _Span as SpanOfTracers
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from otel_toolbar.signals.core import current
from otel_toolbar.signals.core.light import TAKES_ALL
from otel_toolbar.signals.core.processor import RecordEverything, set_clean


def start(
    tracer: trace.Tracer,
    name: str,
    context: Context,
    attributes: dict[str, AttributeValue],
    start_time: int,
) -> Span:
    """What `tracer.start_span` makes of it, as a SERVER span; `attributes` need no cleaning."""
    if type(tracer) is Tracer and _is_as_known(tracer) and tracer._is_enabled():
        return _started(tracer, name, context, attributes, start_time)
    return tracer.start_span(
        name, context=context, kind=SpanKind.SERVER, attributes=attributes, start_time=start_time
    )


def _started(
    tracer: Tracer,
    name: str,
    context: Context,
    attributes: dict[str, AttributeValue],
    start_time: int,
) -> Span:
    above, ids = current.span_in(context), tracer.id_generator
    parent = None if above is trace.INVALID_SPAN else above.get_span_context()
    if parent is not None and parent.is_valid:
        trace_id, random = parent.trace_id, parent.trace_flags.random_trace_id
    else:
        parent, trace_id, random = None, ids.generate_trace_id(), ids.is_trace_id_random()
    sampled: Any = _always(tracer.sampler, parent) or tracer.sampler.should_sample(
        context, trace_id, name, SpanKind.SERVER, attributes, ()
    )
    decision = sampled.decision
    own = SpanContext(
        trace_id,
        ids.generate_span_id(),
        False,
        _FLAGS[decision is Decision.RECORD_AND_SAMPLE, random],
        sampled.trace_state,
    )
    at_end = tracer._tracer_metrics.start_span(parent, decision)
    if decision is Decision.DROP:
        return trace.NonRecordingSpan(own)
    span = ServerSpan(tracer, name, own, parent, start_time, at_end)
    given = sampled.attributes
    if sampled is _SAMPLED or given == attributes:
        set_clean(span, attributes)
    else:  # the sampler has added to them
        span.set_attributes(given)
    span._span_processor.on_start(span, parent_context=context)
    return span


_SAMPLED = SamplingResult(Decision.RECORD_AND_SAMPLE)


def _always(sampler: Sampler, parent: SpanContext | None) -> SamplingResult | None:
    """What comes of a trace that begins here with a sampler that takes all such; None: it has to be asked."""
    takes_all = type(sampler) is RecordEverything and sampler.takes_all
    return _SAMPLED if takes_all and parent is None else None


_FLAGS = {
    (sampled, random): TraceFlags(
        sampled * TraceFlags.SAMPLED | random * TraceFlags.RANDOM_TRACE_ID
    )
    for sampled in (False, True)
    for random in (False, True)
}


class ServerSpan(SpanOfTracers):
    """The SDK's span, with all that its own `__init__` would put on it."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        start_time: int,
        record_end_metrics: Any,
    ) -> None:
        limits = tracer._span_limits
        self._name = name
        self._context = context
        self._kind = SpanKind.SERVER
        self._instrumentation_info = tracer.instrumentation_info
        self._instrumentation_scope = tracer._instrumentation_scope
        self._parent = parent
        self._start_time = start_time
        self._end_time = None
        self._resource = tracer.resource
        self._status = _UNSET
        self._sampler = tracer.sampler
        self._trace_config = None
        self._record_exception = True
        self._set_status_on_exception = True
        self._span_processor = tracer.span_processor
        self._limits = limits
        self._lock = threading.Lock()
        self._attributes = BoundedAttributes(
            limits.max_span_attributes, None, False, limits.max_span_attribute_length
        )
        self._events = self._new_events()
        self._links = self._new_links(())
        self._record_end_metrics = record_end_metrics

    def end(self, end_time: int | None = None) -> None:
        """End it as the SDK does; where our processor is the only one, without the copy that others get.

        Ours looks at a span while it is called, and asks for nothing in `_on_ending`.
        """
        processors: Any = getattr(self._span_processor, "_span_processors", ())
        alone = len(processors) == 1 and hasattr(processors[0], TAKES_ALL)
        if not alone or self._end_time is not None:
            super().end(end_time)
            return
        with self._lock:
            if self._end_time is not None:  # another thread was quicker
                return
            self._end_time = time.time_ns() if end_time is None else end_time
            self._attributes._immutable = True
        if self._record_end_metrics:
            self._record_end_metrics()
        processors[0].on_end(self)


_UNSET = Status(StatusCode.UNSET)


@lru_cache(maxsize=1)
def _is_as_known(tracer: Tracer) -> bool:
    """True where the SDK puts on its spans just what `ServerSpan` does, and has what `_started` asks."""
    try:
        if not callable(tracer._tracer_metrics.start_span):
            return False
        if not callable(tracer.id_generator.is_trace_id_random):
            return False
        nowhere = trace.INVALID_SPAN_CONTEXT
        theirs = SpanOfTracers("", nowhere, resource=tracer.resource, limits=tracer._span_limits)
        ours = ServerSpan(tracer, "", nowhere, None, 0, None)
        return vars(ours).keys() == vars(theirs).keys()
    except Exception:  # an SDK that is built otherwise
        return False
