"""What the toolbar shows of the real shop is what Jaeger and Zipkin have: every span, every attribute.

The shop runs as a user runs it, under `opentelemetry-instrument`. What its own toolbar answers is
noted, the server is ended by SIGTERM, and then Jaeger and Zipkin are asked for the same traces.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from otel_toolbar import panels
from otel_toolbar.model import Trace
from otel_toolbar.settings import Settings
from otel_toolbar.web import api
from otel_toolbar.wire import otlp
from tests.servers.serving import EXAMPLES, NO_PROXY, Server, serving, wait_for

from . import parts

Json = dict[str, Any]
SERVICE = "shop"
ARRIVAL_SECONDS = 20
KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]
STATUSES = ["unset", "ok", "error"]
SECRET = "swordfish-4711-marlin"  # one word of the test's own: it must turn up nowhere
SECRETS = {"authorization": f"Bearer {SECRET}", "x-api-key": SECRET, "cookie": f"session={SECRET}"}
ORDER = {"customer_id": 1, "lines": [{"product_id": 7, "quantity": 2}]}


@dataclass(frozen=True)
class Seen:
    """A trace as the toolbar's own API answers it."""

    trace_id: str
    views: dict[str, Json]
    """Every panel's, by its id."""
    spans: dict[str, Json]
    """The details of every span, by its id."""

    @property
    def server(self) -> Json:
        return only(span for span in self.spans.values() if span["kind"] == "server")

    @property
    def repeats(self) -> set[str]:
        """Ids of the spans that repeat another: the waterfall's N+1 groups without their first."""
        groups: dict[str, list[str]] = {}
        for row in sorted(self.views["trace"]["spans"], key=lambda row: row["start"]):
            if row["n_plus_one"]:
                groups.setdefault(row["n_plus_one"], []).append(row["id"])
        return {span_id for members in groups.values() for span_id in members[1:]}


@dataclass(frozen=True)
class Stored:
    """A span as Jaeger has it, attributes with their types."""

    span_id: str
    parent_id: str | None
    name: str
    kind: str
    status: str
    attributes: Json
    events: list[tuple[str, Json]] = field(default_factory=list)


# --- the parts ---------------------------------------------------------------


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def jaeger(logs: Path) -> Iterator[parts.Jaeger]:
    skip_without("jaeger")
    with parts.jaeger(logs) as started:
        yield started


@pytest.fixture(scope="module")
def zipkin(logs: Path) -> Iterator[parts.Zipkin]:
    skip_without("zipkin")
    with parts.zipkin(logs) as started:
        yield started


@pytest.fixture(scope="module")
def collector(jaeger: parts.Jaeger, zipkin: parts.Zipkin, logs: Path) -> Iterator[parts.Collector]:
    skip_without("collector")
    with parts.collector(jaeger, zipkin, logs) as started:
        yield started


def skip_without(part: parts.Part) -> None:
    if reason := parts.missing(part):
        pytest.skip(reason)


# --- the shop ----------------------------------------------------------------


@pytest.fixture(scope="module")
def visit(collector: parts.Collector, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """The shop's traces that went to the Collector, by what was asked for."""
    folder = tmp_path_factory.mktemp("shop")
    with shop(folder, OTEL_EXPORTER_OTLP_ENDPOINT=collector.otlp_http) as running:
        answers = {
            "slow": running.get("/orders"),
            "fast": running.get("/orders/fast"),
            "order": httpx.post(running.url + "/api/orders", json=ORDER, **NO_PROXY),
            "boom": running.get("/boom"),
            "secrets": running.get(f"/products?q=mug&access_token={SECRET}", headers=SECRETS),
        }
        assert [answer.status_code for answer in answers.values()] == [200, 200, 201, 500, 200]
        return {name: seen(running, answer) for name, answer in answers.items()}


def shop(folder: Path, **environment: str) -> Any:
    ours = {"OTEL_PYTHON_DISTRO": "otel_toolbar", "OTEL_SERVICE_NAME": SERVICE}
    return serving(EXAMPLES / "shop", folder, environment=ours | environment)


def seen(running: Server, answer: httpx.Response) -> Seen:
    trace_id = running.trace_of(answer)
    place = f"traces/{trace_id}"
    summary = wait_for(lambda: ended(running.api(place)))
    views = {
        panel["id"]: running.api(f"{place}/panels/{panel['id']}") for panel in summary["panels"]
    }
    ids = [row["id"] for row in views["trace"]["spans"]]
    return Seen(trace_id, views, {each: running.api(f"{place}/spans/{each}") for each in ids})


def ended(summary: Json) -> Json | None:
    return None if summary["duration"] is None else summary


NAMES = ("slow", "fast", "order", "boom", "secrets")


# --- through the Collector ---------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_jaeger_has_every_span_as_the_toolbar_shows_it(
    jaeger: parts.Jaeger, visit: dict[str, Seen], name: str
) -> None:
    assert_same(spans_in_jaeger(jaeger, visit[name]), visit[name])


@pytest.mark.parametrize("name", NAMES)
def test_zipkin_has_every_span_and_attribute(
    jaeger: parts.Jaeger, zipkin: parts.Zipkin, visit: dict[str, Seen], name: str
) -> None:
    shown = visit[name]
    typed = {span.span_id: span for span in spans_in_jaeger(jaeger, shown)}
    in_zipkin = {span["id"]: span for span in spans_in_zipkin(zipkin, shown)}
    assert in_zipkin.keys() == shown.spans.keys()
    for span_id, span in shown.spans.items():
        found = in_zipkin[span_id]
        assert found.get("parentId") == span["parent"]
        assert found["name"] == span["name"].lower()
        assert found["localEndpoint"]["serviceName"] == SERVICE
        tags, attributes = found["tags"], typed[span_id].attributes
        assert [key for key in attributes if not is_tag(attributes[key], tags.get(key))] == []


FROM_LOGS = ("logs", "errors", "events", "routes", "settings", "versions", "openapi")
"""Panels that are made from log records, too, of which Jaeger keeps none."""


def _of_spans(views: dict[str, Any]) -> dict[str, Any]:
    """What the spans tell; when it was looked at left out."""
    found = copy.deepcopy({panel: view for panel, view in views.items() if panel not in FROM_LOGS})
    del found["websockets"]["now"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_panels_say_the_same_of_jaegers_answer(
    jaeger: parts.Jaeger, visit: dict[str, Seen], name: str
) -> None:
    shown = visit[name]
    spans = otlp.decode(answer_of_jaeger(jaeger, shown))
    trace = Trace.of(shown.trace_id, spans, time.time_ns())
    views = panels.views(panels.load(), trace, Settings())
    found = {view.panel.id: json.loads(api.dumps(view.data)) for view in views}
    assert _of_spans(found) == _of_spans(shown.views)


def test_the_n_plus_one_stands_on_its_spans_in_both(
    jaeger: parts.Jaeger, zipkin: parts.Zipkin, visit: dict[str, Seen]
) -> None:
    slow, fast = visit["slow"], visit["fast"]
    assert len(slow.repeats) > 50
    stored = {span.span_id: span.attributes for span in spans_in_jaeger(jaeger, slow)}
    tags = {span["id"]: span["tags"] for span in spans_in_zipkin(zipkin, slow)}
    assert {key for key, each in stored.items() if each.get("toolbar.n_plus_one")} == slow.repeats
    assert {key for key, each in tags.items() if "toolbar.n_plus_one" in each} == slow.repeats

    server = slow.server["id"]
    assert stored[server]["toolbar.n_plus_one.count"] == 2
    assert tags[server]["toolbar.n_plus_one.count"] == "2"
    assert [
        span.attributes["toolbar.n_plus_one.count"]
        for span in spans_in_jaeger(jaeger, fast)
        if span.kind == "server"
    ] == [0]


def test_jaeger_keeps_the_types(jaeger: parts.Jaeger, visit: dict[str, Seen]) -> None:
    slow = visit["slow"]
    stored = {span.span_id: span.attributes for span in spans_in_jaeger(jaeger, slow)}
    server, repeat = stored[slow.server["id"]], stored[min(slow.repeats)]
    assert {
        "toolbar.queries.count": type(server["toolbar.queries.count"]),
        "toolbar.queries.duration": type(server["toolbar.queries.duration"]),
        "http.request.header.host": type(server["http.request.header.host"]),
        "toolbar.n_plus_one": type(repeat["toolbar.n_plus_one"]),
        "toolbar.n_plus_one.position": type(repeat["toolbar.n_plus_one.position"]),
        "code.line.number": type(repeat["code.line.number"]),
        "db.query.text": type(repeat["db.query.text"]),
    } == {
        "toolbar.queries.count": int,
        "toolbar.queries.duration": float,
        "http.request.header.host": list,
        "toolbar.n_plus_one": bool,
        "toolbar.n_plus_one.position": int,
        "code.line.number": int,
        "db.query.text": str,
    }


def test_the_error_is_on_the_span(jaeger: parts.Jaeger, visit: dict[str, Seen]) -> None:
    spans = spans_in_jaeger(jaeger, visit["boom"])
    server = only(span for span in spans if span.kind == "server")
    assert server.status == "error"
    raised = [facts["exception.type"] for name, facts in server.events if name == "exception"]
    assert [kind.rpartition(".")[2] for kind in raised] == ["PriceUnavailable"]


def test_secrets_are_masked_in_both(
    jaeger: parts.Jaeger, zipkin: parts.Zipkin, visit: dict[str, Seen]
) -> None:
    shown = visit["secrets"]
    spans = spans_in_jaeger(jaeger, shown)
    attributes = only(span for span in spans if span.kind == "server").attributes
    assert attributes["http.request.header.authorization"] == ["Bearer ***"]
    assert attributes["http.request.header.x-api-key"] == ["***"]
    assert attributes["http.request.header.cookie"] == ["session=***"]
    assert attributes["url.query"] == "q=mug&access_token=***"
    everything = [shown.spans, shown.views, answer_of_jaeger(jaeger, shown)]
    assert SECRET not in json.dumps([*everything, spans_in_zipkin(zipkin, shown)])


# --- without a Collector, and in gRPC ----------------------------------------


def test_jaeger_takes_the_same_without_a_collector(jaeger: parts.Jaeger, tmp_path: Path) -> None:
    with shop(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_http) as running:
        shown = seen(running, running.get("/orders/fast"))
        running.stop()
    assert_same(spans_in_jaeger(jaeger, shown), shown)
    # Jaeger takes no logs, which the shop writes: said once.
    assert running.log.count("otel-toolbar:") == running.log.count("takes no logs") == 1
    assert "Traceback" not in running.log


def test_the_collector_takes_the_same_in_grpc(
    jaeger: parts.Jaeger, collector: parts.Collector, tmp_path: Path
) -> None:
    grpc = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_grpc,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",  # by itself only with port 4317
    }
    with shop(tmp_path, **grpc) as running:
        shown = seen(running, running.get("/orders/fast"))
        running.stop()
    assert_same(spans_in_jaeger(jaeger, shown), shown)
    assert_no_complaint(running)


def assert_no_complaint(running: Server) -> None:
    assert "otel-toolbar:" not in running.log
    assert "Traceback" not in running.log


# --- finding them ------------------------------------------------------------


def test_jaeger_finds_the_service_and_its_traces(
    jaeger: parts.Jaeger, visit: dict[str, Seen]
) -> None:
    spans_in_jaeger(jaeger, visit["slow"])

    def services() -> list[str] | None:
        status, answer = parts.fetch(f"{jaeger.url}/api/v3/services")
        return answer["services"] if status == 200 else None

    def found() -> set[str] | None:
        status, answer = parts.fetch(
            # All of them: where coverage is measured, its own SQLite file makes hundreds.
            f"{jaeger.url}/api/v3/traces?query.service_name={SERVICE}&query.num_traces=10000"
            "&query.start_time_min=2000-01-01T00:00:00Z&query.start_time_max=2100-01-01T00:00:00Z"
        )
        spans = otlp_spans(answer["result"]) if status == 200 else []
        return {span["traceId"] for span in spans} or None

    assert SERVICE in arrived(services, lambda names: SERVICE in names)
    assert visit["slow"].trace_id in arrived(found, lambda ids: visit["slow"].trace_id in ids)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"toolbar.n_plus_one": "true"}, 1),
        ({"toolbar.n_plus_one": "true", "toolbar.n_plus_one.position": "5"}, 1),
        ({"toolbar.n_plus_one.position": "1"}, 0),
        ({"toolbar.n_plus_one.count": "2"}, 1),
    ],
)
def test_jaegers_search_page_finds_the_n_plus_one(
    jaeger: parts.Jaeger, visit: dict[str, Seen], tags: dict[str, str], expected: int
) -> None:
    # The page asks the older API; in this release the newer one has no filter by attribute.
    spans_in_jaeger(jaeger, visit["slow"])
    _, answer = parts.fetch(
        f"{jaeger.url}/api/traces?service={SERVICE}&limit=100&lookback=1h"
        f"&tags={quote(json.dumps(tags))}"
    )
    found = [trace["traceID"] for trace in answer["data"]]
    assert found.count(visit["slow"].trace_id) == expected
    assert visit["fast"].trace_id not in found


def test_the_collector_takes_logs(collector: parts.Collector) -> None:
    assert parts.fetch(f"{collector.otlp_http}/v1/logs", {"resourceLogs": []})[0] == 200


def test_jaeger_refuses_logs(jaeger: parts.Jaeger) -> None:
    # Whoever sends straight to Jaeger has to live with this answer.
    assert parts.fetch(f"{jaeger.otlp_http}/v1/logs", {"resourceLogs": []})[0] == 404


# --- reading the answers -----------------------------------------------------


def assert_same(stored: list[Stored], shown: Seen) -> None:
    """Ids, parents, names, kinds, status, every attribute and event."""
    assert {span.span_id: described(span) for span in stored} == {
        key: {
            "parent": span["parent"],
            "name": span["name"],
            "kind": span["kind"],
            "status": span["status"],
            "attributes": rows(span["attributes"]),
            "events": [(event["name"], rows(event["attributes"])) for event in span["events"]],
        }
        for key, span in shown.spans.items()
    }


def described(span: Stored) -> Json:
    return {
        "parent": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "status": span.status,
        "attributes": texts(span.attributes),
        "events": [(name, texts(attributes)) for name, attributes in span.events],
    }


def rows(given: list[Json]) -> dict[str, str]:
    return {row["name"]: row["value"] for row in given}


def texts(attributes: Json) -> dict[str, str]:
    """Attributes as the toolbar writes them."""
    return {key: in_json(value) for key, value in attributes.items()}


def in_json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def answer_of_jaeger(jaeger: parts.Jaeger, shown: Seen) -> Json:
    # Raw: as they came, without Jaeger's corrections for clocks that differ.
    url = f"{jaeger.url}/api/v3/traces/{shown.trace_id}?raw_traces=true"

    def look() -> Json | None:
        status, answer = parts.fetch(url)
        return answer["result"] if status == 200 else None

    return arrived(look, lambda result: len(otlp_spans(result)) >= len(shown.spans))


def spans_in_jaeger(jaeger: parts.Jaeger, shown: Seen) -> list[Stored]:
    return [from_otlp(span) for span in otlp_spans(answer_of_jaeger(jaeger, shown))]


def spans_in_zipkin(zipkin: parts.Zipkin, shown: Seen) -> list[Json]:
    def look() -> list[Json] | None:
        status, answer = parts.fetch(f"{zipkin.url}/api/v2/trace/{shown.trace_id}")
        return answer if status == 200 else None

    return arrived(look, lambda spans: len(spans) >= len(shown.spans))


def arrived(look: Callable[[], Any], complete: Callable[[Any], bool]) -> Any:
    """What `look` finds once it is complete, or after a while whatever is there."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while (found := look()) is None or not complete(found):
        if time.monotonic() > deadline:
            assert found is not None, "the trace did not arrive"
            break
        time.sleep(0.1)
    return found


def otlp_spans(traces: Json) -> list[Json]:
    return [
        span
        for resource in traces["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def from_otlp(span: Json) -> Stored:
    return Stored(
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId"),
        name=span["name"],
        kind=KINDS[span["kind"]],
        status=STATUSES[span["status"].get("code", 0)],
        attributes=otlp_attributes(span),
        events=[(event["name"], otlp_attributes(event)) for event in span.get("events", [])],
    )


def otlp_attributes(owner: Json) -> Json:
    return {each["key"]: otlp_value(each["value"]) for each in owner.get("attributes", [])}


def otlp_value(value: Json) -> object:
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [otlp_value(each) for each in content.get("values", [])]
    # 64-bit integers come as strings, whole doubles without a point.
    return (
        int(content) if kind == "intValue" else float(content) if kind == "doubleValue" else content
    )


def is_tag(value: object, tag: str | None) -> bool:
    """Whether Zipkin's tag, always a string, says what an attribute does."""
    if tag is None or isinstance(value, str):
        return tag == value
    if isinstance(value, float):  # each language writes them in its own way
        return float(tag) == value
    return tag == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def only(found: Any) -> Any:
    (one,) = found
    return one
