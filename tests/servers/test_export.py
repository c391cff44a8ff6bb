"""What is exported, where to, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_toolbar.distro.distro import defaults

from .receiver import receiving, receiving_grpc
from .serving import serving, wait_for

APPS = Path(__file__).parent / "apps"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_light_spans_are_exported_under_their_parent(tmp_path: Path) -> None:
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(APPS, tmp_path, target="lifespan:app", environment=environment) as running:
            sampled = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            assert running.get("/query", headers=sampled).json() == {"one": 1}
            unsampled = running.get("/query", headers={"traceparent": f"00-{'1' * 32}-{PARENT}-00"})
            assert {"server", "client"} == {
                span["kind"] for span in running.api(f"traces/{'1' * 32}/panels/trace")["spans"]
            }
            assert unsampled.headers["x-trace-id"] == "1" * 32
            running.stop()
        spans = [span for span in receiver.spans if span["trace_id"] == TRACE]
        # A connect is the database's first word, and no query.
        (request,) = [span for span in spans if span["kind"] == "server"]
        (query,) = [span for span in spans if "db.query.text" in span["attributes"]]
        assert request["parent_id"] == PARENT
        assert query["parent_id"] == request["span_id"]
        assert (query["kind"], query["attributes"]["db.system.name"]) == ("client", "sqlite")
        assert request["attributes"]["toolbar.queries.count"] == 1
        assert request["resource"] == query["resource"]
        assert not [span for span in receiver.spans if span["trace_id"] == "1" * 32]


def test_what_is_not_sampled_is_seen_here_and_exported_nowhere(tmp_path: Path) -> None:
    with receiving() as receiver:
        environment = OURS | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0",
        }
        with serving(APPS, tmp_path, target="lifespan:app", environment=environment) as running:
            trace_id = running.trace_of(running.get("/query"))
            spans = running.api(f"traces/{trace_id}/panels/trace")["spans"]
            assert {span["kind"] for span in spans} == {"server", "client"}
            running.stop()
        assert receiver.spans == []


def test_without_an_endpoint_nothing_is_exported_and_nothing_said(tmp_path: Path) -> None:
    with serving(APPS, tmp_path, target="boom:app", environment=OURS) as running:
        running.get("/boom")
        running.stop()
        for word in ("otel", "export", "Configuration of"):
            assert word not in running.log.split("Traceback")[0].lower(), running.log


@pytest.mark.parametrize(
    ("given", "traces", "logs", "protocol"),
    [
        ({}, "none", "none", "http/protobuf"),
        ({"ENDPOINT": "http://c:4318"}, "otlp", "otlp", "http/protobuf"),
        ({"ENDPOINT": "http://c:4317"}, "otlp", "otlp", "grpc"),
        ({"ENDPOINT": "c:4317"}, "otlp", "otlp", "grpc"),
        (
            {"ENDPOINT": "http://c:4317", "PROTOCOL": "http/protobuf"},
            "otlp",
            "otlp",
            "http/protobuf",
        ),
        ({"TRACES_ENDPOINT": "http://c:4317"}, "otlp", "none", "grpc"),
        ({"LOGS_ENDPOINT": "http://c:4318/v1/logs"}, "none", "otlp", "http/protobuf"),
        ({"ENDPOINT": "http://c:notaport"}, "otlp", "otlp", "http/protobuf"),
    ],
)
def test_exporters_follow_the_endpoint(
    given: dict[str, str], traces: str, logs: str, protocol: str
) -> None:
    environ = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in given.items()}
    defaults(environ)
    assert environ["OTEL_TRACES_EXPORTER"] == traces
    assert environ["OTEL_LOGS_EXPORTER"] == logs
    assert environ["OTEL_METRICS_EXPORTER"] == "none"
    assert environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == protocol


def test_what_the_developer_has_set_stays() -> None:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    environ = dict(given)
    defaults(environ)
    assert environ.items() >= given.items()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_logs_are_switched_off_with_one_line_where_nobody_takes_them(
    protocol: str, tmp_path: Path
) -> None:
    opened = receiving({"/v1/logs": 404}) if protocol == "http" else receiving_grpc()
    with opened as receiver:
        environment = OURS | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if protocol == "grpc" else "http/protobuf",
            "OTEL_BLRP_SCHEDULE_DELAY": "50",
        }
        with serving(APPS, tmp_path, target="boom:app", environment=environment) as running:
            running.get("/boom")
            wait_for(lambda: "takes no logs" in running.log, 10, lambda: running.log)
            tried = receiver.requests.count("/v1/logs")
            running.get("/boom")
            running.stop()
        assert running.log.count("otel-toolbar:") == 1, running.log
        assert "Failed to export" not in running.log
        assert receiver.requests.count("/v1/logs") == tried
        assert receiver.named("GET /boom")


def test_logs_arrive_where_they_are_taken(tmp_path: Path) -> None:
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(APPS, tmp_path, target="boom:app", environment=environment) as running:
            running.get("/boom")
            running.stop()
        assert receiver.logs, running.log
