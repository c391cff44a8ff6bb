from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_toolbar.export import otlp as export
from otel_toolbar.intake import importer
from otel_toolbar.model import Event, Kind, Link, Scope, Span, Status, Trace
from otel_toolbar.settings import Settings
from otel_toolbar.store.memory import MemoryStore
from otel_toolbar.wire.otlp import OtlpError, decode, encode

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
scalars = (
    text
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(text, values, max_size=5)
times = st.integers(1, 2**62)


def ids(digits: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**digits - 1).map(lambda number: f"{number:0{digits}x}")


spans = st.builds(
    Span,
    trace_id=ids(32),
    span_id=ids(16),
    parent_id=st.none() | ids(16),
    name=text,
    kind=st.sampled_from(Kind),
    start=times,
    end=st.none() | times,
    attributes=attributes,
    status=st.sampled_from(Status),
    status_message=text,
    events=st.lists(st.builds(Event, text, times, attributes), max_size=2).map(tuple),
    links=st.lists(st.builds(Link, ids(32), ids(16), attributes), max_size=2).map(tuple),
    scope=st.builds(Scope, text, text),
    resource=attributes,
    remote_parent=st.booleans(),
    dropped=st.integers(0, 5),
)


@given(st.lists(spans, max_size=4))
def test_what_is_written_is_read_back(given: list[Span]) -> None:
    message = json.loads(json.dumps(encode(given)))
    assert sorted(decode(message), key=repr) == sorted(given, key=repr)


def message(**span: Any) -> dict[str, Any]:
    whole = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "x"} | span
    return {"resourceSpans": [{"scopeSpans": [{"spans": [whole]}]}]}


def test_missing_parts_have_their_defaults() -> None:
    (span,) = decode(message())
    assert span == Span("a" * 32, "b" * 16, None, "x", Kind.INTERNAL, 0, None)


PLACE = r"message\.resourceSpans\[0\]\.scopeSpans\[0\]\.spans\[0\]"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (message(traceId="a" * 31), rf"{PLACE}\.traceId is not 32 hex digits"),
        (message(traceId="0" * 32), rf"{PLACE}\.traceId is all zero"),
        (message(spanId="../../etc/passwd"), rf"{PLACE}\.spanId is not 16 hex digits"),
        (message(parentSpanId=5), rf"{PLACE}\.parentSpanId is not 16 hex digits"),
        (message(startTimeUnixNano="253402300799000000000"), "is not a time in Unix nanoseconds"),
        (message(startTimeUnixNano=-1), "is not a time"),
        (message(endTimeUnixNano="soon"), "is not a time"),
        (message(attributes={"a": 1}), rf"{PLACE}\.attributes is not a list"),
        (message(attributes=[3]), rf"{PLACE}\.attributes\[0\] is not an object"),
        (message(attributes=[{"key": "a"}] * 10_000), "10000 attributes; at most 1000"),
        (message(attributes=[{"key": "a", "value": {"intValue": "x"}}]), "intValue 'x' is none"),
        (
            message(attributes=[{"key": "a", "value": {"doubleValue": {}}}]),
            "doubleValue {} is none",
        ),
        (
            message(attributes=[{"key": "a", "value": {"bytesValue": "?"}}]),
            r"bytesValue '\?' is none",
        ),
        ([], "message is not an object"),
        ({"resourceSpans": 3}, "resourceSpans is not a list"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(broken: Any, says: str) -> None:
    with pytest.raises(OtlpError, match=says):
        decode(broken)


def test_values_nested_too_deep_are_refused() -> None:
    value: dict[str, Any] = {"intValue": "1"}
    for _ in range(2000):
        value = {"arrayValue": {"values": [value]}}
    with pytest.raises(OtlpError, match="nested more than 10 deep"):
        decode(message(attributes=[{"key": "a", "value": value}]))


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceSpans", "scopeSpans", "spans", "attributes", "value", "traceId", "key"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_like)
def test_garbage_is_an_error_of_ours_or_nothing(garbage: Any) -> None:
    with suppress(OtlpError):
        decode(garbage)


def store() -> MemoryStore:
    return MemoryStore(Settings())


def test_a_file_is_loaded_whole_or_by_lines() -> None:
    for content in (
        json.dumps(message()).encode(),
        b"\n".join(json.dumps(message(spanId=c * 16)).encode() for c in "bc") + b"\n\n",
    ):
        kept = store()
        assert importer.load(kept, content) == ["a" * 32]
        assert kept.get("a" * 32) is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no spans in it"),
        (b"{}", "no spans in it"),
        (json.dumps(message()).encode() + b"\n{broken", "line 2 is not JSON"),
        (b"\xff\xfe\x00", "line 1 is not JSON"),
        (b"<xml/>", "line 1 is not JSON"),
    ],
)
def test_a_file_with_an_error_stores_nothing(content: bytes, says: str) -> None:
    kept = store()
    with pytest.raises(OtlpError, match=says):
        importer.load(kept, content)
    assert kept.health().traces == 0


def test_an_exported_trace_can_be_imported() -> None:
    (span,) = decode(message(startTimeUnixNano="5", endTimeUnixNano="9"))
    kept = store()
    importer.load(kept, export.export(Trace.of(span.trace_id, [span], 10)))
    trace = kept.get(span.trace_id)
    assert trace is not None
    assert trace.spans == (span,)
