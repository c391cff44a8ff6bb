"""The door for files: OTLP/JSON, whole or one message a line as the file exporters write it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from otel_toolbar.model import Log, Span
from otel_toolbar.store.base import Spans, Store
from otel_toolbar.wire.otlp import OtlpError, decode, decode_logs


def load(store: Store, content: bytes) -> list[str]:
    """Put the spans and log records of a file into `store` and return the ids of their traces.

    All or nothing: with an error, `OtlpError` says where, and nothing has been stored.
    """
    spans: dict[str, list[Span]] = {}
    logs: dict[str, list[Log]] = {}
    processes: list[Log] = []
    for message in _messages(content):
        for span in decode(message):
            spans.setdefault(span.trace_id, []).append(span)
        for log in decode_logs(message):
            if log.trace_id:
                logs.setdefault(log.trace_id, []).append(log)
            else:
                processes.append(log)
    if not spans and not logs:
        raise OtlpError("no spans in it: a file of OTLP/JSON traces is expected")
    for facts in processes:
        store.keep_process(facts)
    trace_ids = list(dict.fromkeys([*spans, *logs]))
    for trace_id in trace_ids:
        store.add(trace_id, Spans(tuple(spans.get(trace_id, ())), tuple(logs.get(trace_id, ()))))
    return trace_ids


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
