"""Every framework on every server, without a line of code: real servers in subprocesses."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from .serving import EXAMPLES, serving, wait_for

SERVERS = ["uvicorn", "hypercorn", "granian"]
ROUTES = {
    "starlette_app": "/json/{id}",
    "litestar_app": "/json/{number}",
    "quart_app": "/json/<int:number>",
    "django_app": "/json/<int:number>",
    "plain_asgi": None,
}
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("app", ROUTES)
def test_small_apps(app: str, server: str, tmp_path: Path) -> None:
    with serving(EXAMPLES / app, tmp_path, server=server, environment=OURS) as running:
        answers = {path: running.get(path) for path in ("/", "/json/7", "/queries", "/stream")}
        assert [answer.status_code for answer in answers.values()] == [200] * 4
        assert int(answers["/json/7"].json()["id"]) == 7
        assert 'data-trace="' in answers["/"].text
        assert running.get("/boom").status_code == 500

        by_id = {trace["trace_id"]: trace for trace in running.traces()}
        json = by_id[running.trace_of(answers["/json/7"])]
        assert json["name"] == f"GET {ROUTES[app] or '/json/7'}"
        assert json["status"] == 200

        trace_id = running.trace_of(answers["/queries"])
        assert by_id[trace_id]["counts"]["queries"] == 7
        assert by_id[trace_id]["counts"]["n_plus_one"] == 1
        spans = running.api(f"traces/{trace_id}/panels/trace")["spans"]
        assert [span["kind"] for span in spans].count("server") == 1
        assert "otel-toolbar:" not in running.log
        assert running.stop() in (0, -15)


@pytest.mark.parametrize("server", [*SERVERS, "uvicorn-uvloop", "uvicorn-reload"])
def test_the_shop(server: str, tmp_path: Path) -> None:
    with serving(EXAMPLES / "shop", tmp_path, server=server, environment=OURS) as running:
        slow, fast = running.get("/orders"), running.get("/orders/fast")
        assert _without_tag(slow.text) == _without_tag(fast.text)
        by_id = {trace["trace_id"]: trace for trace in running.traces()}
        planted, fixed = (by_id[running.trace_of(answer)] for answer in (slow, fast))
        assert (planted["counts"]["queries"], planted["counts"]["n_plus_one"]) == (59, 2)
        assert (fixed["counts"]["queries"], fixed["counts"]["n_plus_one"]) == (3, 0)

        spans = running.api(f"traces/{planted['trace_id']}/panels/trace")["spans"]
        assert [span["kind"] for span in spans].count("server") == 1
        assert {"fastapi.endpoint", "fastapi.dependencies"} <= {span["name"] for span in spans}
        view = running.api(f"traces/{planted['trace_id']}/panels/queries")
        assert "orders.py" in str(view)
        assert "open sesame" not in str(view)
        assert "otel-toolbar:" not in running.log


def test_each_worker_is_watched(tmp_path: Path) -> None:
    """Every worker has its own memory for now: the page says which one it shows."""
    shop = EXAMPLES / "shop"
    with serving(shop, tmp_path, server="uvicorn-workers", environment=OURS) as running:
        pages = [running.get("/_toolbar/").text for _ in range(20)]
        pids = {pid for page in pages for pid in re.findall(r"pid (\d+)", page)}
        answer = running.get("/orders/fast")
        assert 'data-trace="' in answer.text
        trace = f"traces/{running.trace_of(answer)}"
        wait_for(lambda: running.get("/_toolbar/api/" + trace).status_code == 200)
    assert pids


def _without_tag(page: str) -> str:
    return re.sub(r"<script[^>]*_toolbar.*?</noscript>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("server", SERVERS)
def test_an_open_stream_does_not_hold_up_the_end(server: str, tmp_path: Path) -> None:
    """The stream itself would go on for 20 s."""
    folder = EXAMPLES / "starlette_app"
    with (
        serving(folder, tmp_path, server=server, environment=OURS) as running,
        httpx.stream("GET", running.url + "/_toolbar/api/stream", trust_env=False) as stream,
    ):
        assert stream.status_code == 200
        assert running.stop(seconds=12) in (0, -15)
