"""EXPLAIN as the page's script asks for it, and what else may ask for it: nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from otel_toolbar.panels import BUILTIN

from .receiver import receiving
from .serving import NO_PROXY, Server, serving

APPS = Path(__file__).parent / "apps"
CANARY = "canary-51f0c9e4"


@pytest.fixture(scope="module")
def exports() -> Iterator[Any]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, exports: Any) -> Iterator[Server]:
    environment = {
        "CANARY": CANARY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": exports.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_PYTHON_LOG_LEVEL": "debug",
        "OTEL_PYTHON_DISTRO": "otel_toolbar",
    }
    folder = tmp_path_factory.mktemp("explain")
    with serving(APPS, folder, target="explained:app", environment=environment) as server:
        yield server


@pytest.fixture
def trace(running: Server) -> str:
    return running.trace_of(running.get("/"))


def queries(running: Server, trace: str) -> dict[str, str]:
    """Span ids by operation."""
    view = running.api(f"traces/{trace}/panels/queries")
    return {query["operation"]: query["id"] for query in view["queries"]}


def headers_of(running: Server) -> dict[str, str]:
    page = running.get("/_toolbar/").text
    found = re.search(r'data-csrf="([^"]+)"', page)
    assert found is not None
    return {
        "Origin": running.url,
        "X-Toolbar-CSRF": found[1],
        "Content-Type": "application/json",
    }


def post(running: Server, trace: str, span: str, **more: Any) -> httpx.Response:
    more.setdefault("headers", headers_of(running))
    more.setdefault("content", b"{}")
    url = f"{running.url}/_toolbar/api/traces/{trace}/queries/{span}/explain"
    return httpx.post(url, **NO_PROXY, **more)


def test_a_plan(running: Server, trace: str) -> None:
    answer = post(running, trace, queries(running, trace)["SELECT"])
    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert plan["system"] == "sqlite"
    assert [node["table"] for node in plan["nodes"]] == ["users"]
    assert [hint["rule"] for hint in plan["hints"]] == ["small_table"]


@pytest.mark.parametrize(
    ("status", "code", "more"),
    [
        (403, "forbidden", {"headers": {}}),
        (403, "forbidden", {"without": "Origin"}),
        (403, "forbidden", {"without": "X-Toolbar-CSRF"}),
        (403, "forbidden", {"type": "text/plain"}),
        (403, "forbidden", {"type": "application/x-www-form-urlencoded"}),
        (403, "forbidden", {"without": "Content-Type"}),
        (415, "not_json", {"without": "Content-Type", "content": b""}),
        (422, "bad_body", {"content": b'{"sql": "SELECT 1"}'}),
        (422, "bad_body", {"content": b'{"statement": "DELETE FROM users"}'}),
        (422, "bad_body", {"content": b'{"analyze": 1}'}),
        (400, "bad_body", {"content": b"[]"}),
        (400, "not_json", {"content": b"SELECT 1"}),
        (400, "not_json", {"content": b"[" * 1000}),
        (413, "too_large", {"content": b" " * 2000}),
    ],
)
def test_who_may_ask(
    running: Server, trace: str, status: int, code: str, more: dict[str, Any]
) -> None:
    headers = more.get("headers", headers_of(running))
    headers.pop(more.get("without"), None)
    if "type" in more:
        headers["Content-Type"] = more["type"]
    content = more.get("content", b"{}")
    span = queries(running, trace)["SELECT"]
    answer = post(running, trace, span, headers=headers, content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_page_of_another_origin_is_not_answered(running: Server, trace: str) -> None:
    headers = headers_of(running) | {"Origin": "http://evil.example"}
    answer = post(running, trace, queries(running, trace)["SELECT"], headers=headers)
    assert answer.status_code == 404
    assert "error" not in answer.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods(running: Server, trace: str, method: str) -> None:
    span = queries(running, trace)["SELECT"]
    url = f"{running.url}/_toolbar/api/traces/{trace}/queries/{span}/explain"
    answer = httpx.request(method, url, headers=headers_of(running), **NO_PROXY)
    assert answer.status_code == 405


def test_what_is_refused(running: Server, trace: str) -> None:
    found = queries(running, trace)
    server_span = running.api(f"traces/{trace}/panels/trace")["spans"][0]["id"]

    def code(trace_id: str, span_id: str, body: bytes = b"{}") -> tuple[int, str]:
        answer = post(running, trace_id, span_id, content=body)
        return answer.status_code, answer.json()["error"]["code"]

    assert code("ab" * 16, found["SELECT"]) == (404, "unknown_trace")
    assert code("x", "y") == (404, "unknown_trace")
    assert code(trace, "ab" * 8) == (404, "unknown_span")
    assert code(trace, "SELECT%201") == (404, "unknown_span")
    assert code(trace, server_span) == (422, "not_a_query")
    assert code(trace, found["DELETE"]) == (422, "not_a_select")
    assert code(trace, found["CREATE"]) == (422, "not_a_select")
    assert code(trace, found["SELECT"], b'{"analyze": true}') == (422, "cannot_analyze")


def test_another_process_made_it(running: Server, trace: str) -> None:
    exported = running.get(f"/_toolbar/api/traces/{trace}/export?format=otlp").text
    process = re.search(r'"toolbar.process.id"[^}]*"stringValue": ?"([0-9a-f]{32})"', exported)
    assert process is not None
    other = exported.replace(process[1], "0" * 32).replace(trace, "cd" * 16)
    url = f"{running.url}/_toolbar/api/import"
    assert httpx.post(url, content=other, headers=headers_of(running), **NO_PROXY).json() == {
        "traces": ["cd" * 16]
    }
    answer = post(running, "cd" * 16, queries(running, trace)["SELECT"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_here")


def test_expired(running: Server, trace: str) -> None:
    span = queries(running, trace)["SELECT"]
    running.get("/?times=500")
    answer = post(running, trace, span)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "expired")


def test_the_secret_is_nowhere(running: Server, trace: str, exports: Any) -> None:
    answer = post(running, trace, queries(running, trace)["SELECT"])
    assert answer.status_code == 200
    seen = [answer.text, running.log, json.dumps(exports.spans, default=str)]
    for panel in BUILTIN:
        seen.append(running.get(f"/_toolbar/api/traces/{trace}/panels/{panel}").text)
        seen.append(running.get(f"/_toolbar/t/{trace}?panel={panel}").text)
    export = f"/_toolbar/api/traces/{trace}/export?format="
    seen += [running.get(export + form).text for form in ("otlp", "har", "speedscope")]
    assert "SELECT id FROM users" in "".join(seen)
    assert not [text for text in seen if CANARY in text]
    assert "EXPLAIN" not in json.dumps(running.traces())
    assert "EXPLAIN" not in json.dumps(exports.spans, default=str)
