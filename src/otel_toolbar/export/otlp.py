"""A trace as OTLP/JSON: what Jaeger, the Collector and our own import read."""

from __future__ import annotations

import json

from otel_toolbar.model import Trace
from otel_toolbar.wire import otlp


def export(trace: Trace) -> bytes:
    """The trace as one OTLP/JSON message. Running spans have the end time 0.

    Log records stand beside the spans under `resourceLogs`, which readers of traces pass over.
    """
    message = otlp.encode(trace.spans)
    if trace.logs:
        message |= otlp.encode_logs(trace.logs)
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
