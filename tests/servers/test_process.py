"""The facts of a process on a real server: told off the path, shown, exported, without a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_toolbar import panels

from .receiver import receiving
from .serving import serving, wait_for

APPS = Path(__file__).parent / "apps"
SECRET = "hunter2-Zk3"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar", "OTEL_TOOLBAR_TOKEN": SECRET}


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn", "granian"])
def test_facts_of_a_running_server(server: str, tmp_path: Path) -> None:
    with serving(
        APPS, tmp_path, server=server, target="secretive:app", environment=OURS
    ) as running:
        kept = {"cookies": dict(running.get(f"/_toolbar?token={SECRET}").cookies)}
        trace_id = running.trace_of(running.get("/items/3", **kept))

        def panel(name: str) -> Any:
            return running.api(f"traces/{trace_id}/panels/{name}", **kept)

        def exported() -> str:
            path = f"/_toolbar/api/traces/{trace_id}/export?format=otlp"
            return running.get(path, **kept).text

        wait_for(lambda: panel("routes")["known"])
        matched = panel("routes")["matched"]
        module = "tests.servers.apps.secretive" if server == "granian" else "secretive"
        assert (matched["path"], matched["endpoint"]["function"]) == (
            "/items/{number}",
            f"{module}.item",
        )
        assert panel("versions")["server"].startswith(server)
        assert panel("versions")["event_loop"]
        wait_for(lambda: '\\"paths\\"' in exported())  # the document, made after a look
        assert SECRET not in exported()
        for name in panels.BUILTIN:
            page = running.get(f"/_toolbar/t/{trace_id}?panel={name}", **kept)
            assert page.status_code == 200
            assert SECRET not in page.text
        assert "otel-toolbar:" not in running.log, running.log
        assert "/items/{number}" in running.get("/openapi.json").text


def test_facts_go_to_the_log_exporter(tmp_path: Path) -> None:
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(APPS, tmp_path, target="secretive:app", environment=environment) as running:
            running.get("/items/3")

            def told() -> bool:
                return "GET /items/{number}" in receiver.names()

            wait_for(lambda: [log for log in receiver.logs if log["event"] == "toolbar.process"])
            wait_for(told)
        events = [log for log in receiver.logs if log["event"] == "toolbar.process"]
        assert len(events) == 1
