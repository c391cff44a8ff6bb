"""Tasks, blocking calls and lag on every server and loop, each in its own process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .serving import Server, serving, wait_for

APP = Path(__file__).parents[1] / "tasks"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}
SERVERS = ["uvicorn", "uvicorn-uvloop", "hypercorn", "granian"]


def spans_of(server: Server, trace_id: str) -> list[dict[str, Any]]:
    sent = server.api(f"traces/{trace_id}/export?format=otlp")
    return [
        span | {"attributes": {each["key"]: each["value"] for each in span["attributes"]}}
        for resource in sent["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def number(span: dict[str, Any], key: str) -> float:
    (value,) = span["attributes"][key].values()
    return float(value)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_request_that_blocks_and_those_beside_it(kind: str, tmp_path: Path) -> None:
    with serving(APP, tmp_path, server=kind, environment=OURS) as server:
        with ThreadPoolExecutor(12) as pool:
            nested = pool.submit(server.get, "/nested").result()
            waiting = [pool.submit(server.get, "/wait") for _ in range(10)]
            blocked = pool.submit(server.get, "/block?seconds=0.2").result()
            others = [each.result() for each in waiting]
        assert {each.status_code for each in (nested, blocked, *others)} == {200}

        spans = wait_for(lambda: spans_of(server, server.trace_of(blocked)))
        (found,) = [span for span in spans if span["name"].startswith("blocking")]
        assert found["name"] == "blocking block"
        assert found["attributes"]["code.file.path"]["stringValue"].endswith("tests/tasks/app.py")
        took = (int(found["endTimeUnixNano"]) - int(found["startTimeUnixNano"])) / 1e9
        assert took >= 0.2
        stolen = found["attributes"].get("asyncio.blocking.stolen.duration", {}).values()
        assert took - sum(map(float, stolen)) < 2, "what the machine took is told"

        roots = [
            next(span for span in spans_of(server, server.trace_of(each)) if span["kind"] == 2)
            for each in others
        ]
        assert all(number(root, "toolbar.blocking.count") == 0 for root in roots)
        # On a slow machine any of them may hold others up for some ms; only one blocks.
        lag = "toolbar.event_loop.lag.other.duration"
        held_up = [r for r in roots if lag in r["attributes"] and number(r, lag) > 0.1]
        assert held_up
        for root in held_up:
            named = root["attributes"]["toolbar.event_loop.lag.other.trace_id"]["stringValue"]
            assert named == server.trace_of(blocked)

        names = [span["name"] for span in spans_of(server, server.trace_of(nested))]
        assert names.count("task fetch_price") == 5
        assert names.count("task reserve_stock") == 3
        assert names.count("thread read_file") == 2
        assert "blocking render_invoice" in names
        assert "otel-toolbar:" not in server.log, server.log


@pytest.mark.parametrize("kind", SERVERS)
def test_frameworks_tasks_are_told_from_the_apps(kind: str, tmp_path: Path) -> None:
    with serving(APP, tmp_path, server=kind, target="app:layered", environment=OURS) as server:
        answer = server.get("/many/20")
        streamed = server.get("/stream")
        assert streamed.text == "012"
        spans = wait_for(lambda: spans_of(server, server.trace_of(answer)))
        tasks = [span for span in spans if span["name"].startswith("task ")]
        mine = [s for s in tasks if s["name"] == "task many.<locals>.one"]
        assert len(mine) == 20
        for span in tasks:
            file = span["attributes"]["code.file.path"]["stringValue"]
            assert file.endswith("tests/tasks/app.py") == (span in mine)
        assert "otel-toolbar:" not in server.log, server.log
