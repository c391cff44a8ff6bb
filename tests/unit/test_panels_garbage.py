"""Whatever spans come: no view, badge, summary or page raises, and nothing becomes markup or bad JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_toolbar import panels, semconv
from otel_toolbar.export import FORMATS
from otel_toolbar.insights.summary import summarize
from otel_toolbar.model import Event, Kind, Link, Log, Scope, Span, Status, Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.trace.view import span_view
from otel_toolbar.settings import Settings
from otel_toolbar.web import render
from tests import recorded

EXAMPLES = int(os.environ.get("TOOLBAR_TEST_EXAMPLES", "3000"))
IDS = [f"{number:016x}" for number in range(1, 6)]
CONTEXT = render.Context("/_toolbar", Settings())

texts = st.text(max_size=30) | st.sampled_from(
    [
        "",
        "\ud800",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "'\"><b>",
        "SELECT 1 -- '",
        "/*",
        "'" * 9,
        "²",
    ]
)
scalars = (
    texts
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.binary(max_size=8)
    | st.none()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=5,
)
keys = st.sampled_from([*semconv.ATTRIBUTES]) | st.sampled_from(
    [key + "x" for key in semconv.ATTRIBUTES if key.endswith(".")]
    + ["http.response.header." + name for name in ("set-cookie", "server-timing", "content-type")]
    + ["http.request.header." + name for name in ("cookie", "traceparent", "content_length")]
)
attributes = st.dictionaries(keys | texts, values, max_size=8)
times = st.integers(0, 200) | st.integers(-(2**64), 2**64)

spans = st.builds(
    Span,
    trace_id=st.just("a" * 32),
    span_id=st.sampled_from(IDS),
    parent_id=st.none() | st.sampled_from(IDS),
    name=texts,
    kind=st.sampled_from(Kind),
    start=times,
    end=st.none() | times,
    attributes=attributes,
    status=st.sampled_from(Status),
    status_message=texts,
    events=st.lists(
        st.builds(Event, texts | st.just("exception"), times, attributes), max_size=2
    ).map(tuple),
    links=st.lists(st.builds(Link, texts, texts, attributes), max_size=1).map(tuple),
    scope=st.builds(Scope, texts, texts),
    resource=attributes,
    remote_parent=st.booleans(),
    dropped=st.integers(0, 3),
)


logs = st.builds(
    Log,
    trace_id=st.just("a" * 32),
    span_id=st.none() | st.sampled_from(IDS),
    time=times,
    severity=st.integers(-3, 30),
    level=texts,
    body=values,
    event=texts,
    attributes=attributes,
    scope=st.builds(Scope, texts, texts),
    resource=attributes,
)


facts = st.dictionaries(
    st.sampled_from(
        ["python", "packages", "server", "event_loop", "instrumentations", "routes", "settings"]
        + ["hooks", "openapi", "routes_dropped"]
    ),
    values
    | st.lists(
        st.dictionaries(
            st.sampled_from(
                ["path", "methods", "function", "file", "line", "name", "title", "values", "kind"]
                + ["document", "docs", "docs_kind", "too_large", "active", "note"]
            ),
            values,
            max_size=6,
        )
        | values,
        max_size=3,
    ).map(tuple),
    max_size=6,
)
processes = st.none() | st.builds(
    Log,
    trace_id=st.just(""),
    span_id=st.none(),
    time=times,
    severity=st.integers(-3, 30),
    level=texts,
    body=facts | values,
    event=st.just(semconv.PROCESS_EVENT),
)


def plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value


@settings(max_examples=EXAMPLES // 10, deadline=None)
@given(st.lists(spans, max_size=6), st.lists(logs, max_size=3), times, processes)
def test_no_trace_breaks_a_panel(
    parts: list[Span], said: list[Log], now: int, process: Log | None
) -> None:
    trace = dataclasses.replace(Trace.of("a" * 32, parts, now, logs=said), process=process)
    options = Settings()
    json.dumps(plain(summarize(trace, options)), allow_nan=False)
    found = panels.views(panels.load(), trace, options)
    for view in found:
        assert view.data is not None, view.panel.id
        assert isinstance(view.badge, Badge)
        json.dumps(plain(view.data), allow_nan=False)
        for part in view.panel.parts.values():
            json.dumps(plain(part(trace, options)), allow_nan=False)
    for span in trace.spans:
        json.dumps(plain(span_view(trace, span.span_id, options)), allow_nan=False)
    for view in found:
        query = {"panel": view.panel.id, "span": IDS[0]}
        page = render.trace_page(CONTEXT, trace, summarize(trace, options), found, query)
        page.encode()


OF_TEMPLATES = [key for key in semconv.ATTRIBUTES if key.startswith(("template.", "db.query"))]
ROLES = st.sampled_from(["page", "parent", "include", "block", "macro", "compile", "<template>"])


@settings(max_examples=EXAMPLES // 10, deadline=None)
@given(
    st.lists(
        st.tuples(spans, st.dictionaries(st.sampled_from(OF_TEMPLATES), ROLES | values)), max_size=8
    ),
    times,
)
def test_no_template_breaks_its_panel(parts: list[Any], now: int) -> None:
    of_templates = [
        dataclasses.replace(span, attributes=facts, span_id=f"{place:016x}")
        for place, (span, facts) in enumerate(parts, 1)
    ]
    trace = Trace.of("a" * 32, of_templates, now)
    only = [panel for panel in panels.load() if panel.id == "templates"]
    found = panels.views(only, trace, Settings())
    assert found[0].data is not None
    assert found[0].badge.text != "failed"
    json.dumps(plain(found[0].data), allow_nan=False)
    page = render.trace_page(CONTEXT, trace, summarize(trace, Settings()), found)
    assert "<script>alert" not in page


OF_WEBSOCKETS = [
    key for key in semconv.ATTRIBUTES if key.startswith(("websocket.", "network.", "toolbar.resp"))
] + ["http.response.status_code", "asyncio.task.name", "url.path"]
WORDS = st.sampled_from(
    ["open", "closed", "denied", "network", "transmit", "ping", "[[", "0f", "{}"]
)


@settings(max_examples=EXAMPLES // 10, deadline=None)
@given(
    st.lists(
        st.tuples(spans, st.dictionaries(st.sampled_from(OF_WEBSOCKETS), WORDS | values)),
        max_size=8,
    ),
    times,
)
def test_no_websocket_breaks_its_panel_or_its_script(parts: list[Any], now: int) -> None:
    of_sockets = [dataclasses.replace(span, attributes=facts) for span, facts in parts]
    trace = Trace.of("a" * 32, of_sockets, now)
    summary = summarize(trace, Settings())
    json.dumps(plain(summary), allow_nan=False)
    found = panels.views(panels.load(), trace, Settings())
    for view in found:
        assert view.data is not None, view.panel.id
        json.dumps(plain(view.data), allow_nan=False)
        if view.panel.id in ("websockets", "response", "timing"):
            query = {"panel": view.panel.id}
            render.trace_page(CONTEXT, trace, summary, found, query, [summary]).encode()
    compile(FORMATS["websockets-client"].export(trace), "client.py", "exec")


@pytest.mark.parametrize("panel", panels.BUILTIN)
def test_markup_is_shown_as_text(panel: str) -> None:
    trace = recorded.load("hostile")
    found = panels.views(panels.load(), trace, Settings())
    for span in trace.spans:
        query = {"panel": panel, "span": span.span_id}
        page = render.trace_page(CONTEXT, trace, summarize(trace, Settings()), found, query)
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "49" not in page.replace("0049", "").replace(render.static_version(), "")
