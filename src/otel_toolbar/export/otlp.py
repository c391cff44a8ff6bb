"""A trace as OTLP/JSON: what Jaeger, the Collector and our own import read."""

from __future__ import annotations

import json

from otel_toolbar.model import Trace
from otel_toolbar.wire import otlp


def export(trace: Trace) -> bytes:
    """The trace as one OTLP/JSON message. Running spans have the end time 0.

    Log records, and the facts of its process, stand beside the spans under
    `resourceLogs`, which readers of traces pass over.
    """
    message = otlp.encode(trace.spans)
    logs = trace.logs if trace.process is None else (*trace.logs, trace.process)
    if logs:
        message |= otlp.encode_logs(logs)
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
