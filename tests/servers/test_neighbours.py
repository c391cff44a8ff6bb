"""Beside other distros, other people's telemetry, and an app that sets up its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .serving import Server, serving

APPS = Path(__file__).parent / "apps"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}
QUIET = {
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}


def spans_of(running: Server, path: str = "/hello") -> Sequence[dict[str, Any]]:
    """The spans of a request, of which exactly one is the server's."""
    answer = running.get(path)
    assert answer.status_code == 200, running.log
    spans = running.api(f"traces/{running.trace_of(answer)}/panels/trace")["spans"]
    assert [span["kind"] for span in spans].count("server") == 1, spans
    return spans


@pytest.mark.parametrize(
    "target",
    [
        "own_provider:app",
        "logfire_app:app",
        "contrib_fastapi:app",
        "contrib_asgi:app",
        "litestar_plugin:app",
    ],
)
def test_others_make_no_second_server_span(target: str, tmp_path: Path) -> None:
    with serving(APPS, tmp_path, target=target, environment=OURS) as running:
        names = {span["name"] for span in spans_of(running)}
        if target in ("own_provider:app", "logfire_app:app"):
            assert "work" in names
        if target == "own_provider:app":
            assert ["work", "INTERNAL"] in running.get("/exported").json()
        assert "Traceback" not in running.log


@pytest.mark.parametrize("chosen", [{"OTEL_PYTHON_DISTRO": "distro"}, {}])
def test_another_distro_runs(chosen: dict[str, str], tmp_path: Path) -> None:
    with serving(APPS, tmp_path, target="lifespan:app", environment=QUIET | chosen) as running:
        assert {span["kind"] for span in spans_of(running, "/query")} == {"server", "client"}
        said = "so its exporter defaults hold" in running.log
        assert not (chosen and said), "who has chosen a distro knows"
        assert running.log.count("otel-toolbar:") == said, running.log


@pytest.mark.parametrize("when", ["before", "after"])
def test_wrap_leaves_the_provider_to_the_app(when: str, tmp_path: Path) -> None:
    with serving(
        APPS, tmp_path, target="own_provider:app", environment={"WRAP": when}, instrument=False
    ) as running:
        assert "work" in {span["name"] for span in spans_of(running)}
        exported = running.get("/exported").json()
        assert ["work", "INTERNAL"] in exported
        assert ["GET /hello", "SERVER"] in exported
        assert "otel" not in running.log.lower(), running.log


def test_wrap_after_logfire(tmp_path: Path) -> None:
    with serving(
        APPS, tmp_path, target="logfire_app:app", environment={"WRAP": "1"}, instrument=False
    ) as running:
        assert "work" in {span["name"] for span in spans_of(running)}
        assert "Traceback" not in running.log


def test_wrap_by_hand(tmp_path: Path) -> None:
    with serving(APPS, tmp_path, target="by_hand:app", instrument=False) as running:
        answer = running.get("/hello")
        assert answer.text.count("data-trace=") == 1
        trace = running.get(f"/debug/api/traces/{running.trace_of(answer)}/panels/trace").json()
        assert [span["kind"] for span in trace["spans"]].count("server") == 1
        assert running.get("/_toolbar/").status_code == 404
        assert "otel" not in running.log.lower(), running.log


def test_wrap_under_opentelemetry_instrument(tmp_path: Path) -> None:
    environment = OURS | {"OTEL_TOOLBAR_PATH": "/debug"}
    with serving(APPS, tmp_path, target="by_hand:app", environment=environment) as running:
        assert running.get("/hello").text.count("data-trace=") == 1
        assert running.get("/debug/").status_code == 200
        assert "otel" not in running.log.lower(), running.log


def test_the_middleware_by_hand_asks_for_the_token(tmp_path: Path) -> None:
    environment = {"BY_HAND": "middleware"}
    with serving(
        APPS, tmp_path, target="by_hand:app", environment=environment, instrument=False
    ) as running:
        assert "data-trace=" not in running.get("/hello").text
        assert running.get("/_toolbar/").status_code == 404
        token = {"x-toolbar-token": "secret"}
        answer = running.get("/hello", headers=token)
        assert answer.text.count("data-trace=") == 1
        traces = running.traces(headers=token)
        assert {trace["name"] for trace in traces} >= {"GET /hello"}


def test_the_middleware_steps_aside_under_opentelemetry_instrument(tmp_path: Path) -> None:
    environment = OURS | {"BY_HAND": "middleware", "OTEL_TOOLBAR_TOKEN": "secret"}
    with serving(APPS, tmp_path, target="by_hand:app", environment=environment) as running:
        answer = running.get("/hello", headers={"x-toolbar-token": "secret"})
        assert answer.text.count("data-trace=") == 1
        assert "otel" not in running.log.lower(), running.log
