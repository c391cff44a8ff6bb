"""The door for files: OTLP/JSON, whole or one message a line as the file exporters write it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from otel_toolbar.model import Span
from otel_toolbar.store.base import Spans, Store
from otel_toolbar.wire.otlp import OtlpError, decode


def load(store: Store, content: bytes) -> list[str]:
    """Put the spans of a file into `store` and return the ids of their traces.

    All or nothing: with an error, `OtlpError` says where, and nothing has been stored.
    """
    traces: dict[str, list[Span]] = {}
    for message in _messages(content):
        for span in decode(message):
            traces.setdefault(span.trace_id, []).append(span)
    if not traces:
        raise OtlpError("no spans in it: a file of OTLP/JSON traces is expected")
    for trace_id, spans in traces.items():
        store.add(trace_id, Spans(tuple(spans)))
    return list(traces)


def _messages(content: bytes) -> Iterator[Any]:
    try:
        yield json.loads(content)
    except RecursionError:
        raise OtlpError("nested too deep to be OTLP") from None
    except ValueError:
        yield from _lines(content)


def _lines(content: bytes) -> Iterator[Any]:
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise OtlpError(f"line {number} is not JSON: {error}") from None
