"""A trace as OTLP/JSON: what Jaeger, the Collector and our own import read."""

from __future__ import annotations

import json

from otel_toolbar.model import Trace
from otel_toolbar.wire import otlp


def export(trace: Trace) -> bytes:
    """The trace as one OTLP/JSON message. Running spans have the end time 0."""
    return json.dumps(otlp.encode(trace.spans), ensure_ascii=False).encode("utf-8", "replace")
