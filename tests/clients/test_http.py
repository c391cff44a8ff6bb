"""Outgoing HTTP calls to a real server: what their spans say, and that the app gets what it gets without us."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from inline_snapshot import snapshot
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from otel_toolbar.insights import repeats
from otel_toolbar.signals import http as hooks
from otel_toolbar.store.base import Query
from tests.clients.conftest import Server, during_a_request
from tests.telemetry import Telemetry

SECRET = "hunter2hunter2"
VARYING_HEADERS = (
    "r.date",
    "r.server",
    "r.user-agent",
    "r.host",
    "r.accept-encoding",
    "r.traceparent",
)
VOLATILE = {"server.port", "network.peer.port", "toolbar.http.url.fingerprint"}


def calls(signals: Telemetry) -> list[dict[str, Any]]:
    return [span for span in signals.snapshot() if span["kind"] == "CLIENT"]


def stable(spans: list[dict[str, Any]], server: Server) -> list[dict[str, Any]]:
    """Without what differs from run to run."""
    for span in spans:
        for key, value in span["attributes"].items():
            if key in VOLATILE or key.endswith(VARYING_HEADERS):
                span["attributes"][key] = "..."
            elif isinstance(value, str):
                span["attributes"][key] = value.replace(server.url, "http://server")
    return spans


async def test_what_an_httpx_call_says(signals: Telemetry, server: Server) -> None:
    async def work() -> Any:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"{server.url}/items?token={SECRET}",
                content=b'{"a":1}',
                headers={
                    "Authorization": f"Bearer {SECRET}",
                    "Content-Type": "application/json",
                    "X-Plain": "yes",
                },
            )
            return answer.json()

    assert await during_a_request(work) == {"path": "/items"}
    assert stable(calls(signals), server) == snapshot(
        [
            {
                "name": "POST",
                "kind": "CLIENT",
                "parent": "GET",
                "attributes": {
                    "code.file.path": "/tests/clients/test_http.py",
                    "code.function.name": "tests.clients.test_http.work",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "http.request.body.size": 7,
                    "http.request.header.accept": ["*/*"],
                    "http.request.header.accept-encoding": "...",
                    "http.request.header.authorization": ["Bearer ***"],
                    "http.request.header.connection": ["keep-alive"],
                    "http.request.header.content-length": ["7"],
                    "http.request.header.content-type": ["application/json"],
                    "http.request.header.host": "...",
                    "http.request.header.user-agent": "...",
                    "http.request.header.x-plain": ["yes"],
                    "http.request.method": "POST",
                    "http.response.body.size": 18,
                    "http.response.header.content-length": ["18"],
                    "http.response.header.date": "...",
                    "http.response.header.server": "...",
                    "http.response.header.set-cookie": ["session=***; Path=/"],
                    "http.response.status_code": 200,
                    "network.peer.address": "127.0.0.1",
                    "network.peer.port": "...",
                    "network.protocol.version": "1.1",
                    "server.address": "127.0.0.1",
                    "server.port": "...",
                    "toolbar.http.url.fingerprint": "...",
                    "url.full": "http://server/items?token=***",
                },
            }
        ]
    )
    assert SECRET not in "".join(span.to_json() for span in signals.exported())


async def test_what_an_aiohttp_call_says(signals: Telemetry, server: Server) -> None:
    async def work() -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.url}/items?token={SECRET}", json={"a": 1}) as answer,
        ):
            return await answer.json(content_type=None)

    assert await during_a_request(work) == {"path": "/items"}
    assert stable(calls(signals), server) == snapshot(
        [
            {
                "name": "POST",
                "kind": "CLIENT",
                "parent": "GET",
                "attributes": {
                    "code.file.path": "/tests/clients/test_http.py",
                    "code.function.name": "tests.clients.test_http.work",
                    "code.line.number": "...",
                    "code.stacktrace": "...",
                    "http.request.body.size": 8,
                    "http.request.header.accept": ["*/*"],
                    "http.request.header.accept-encoding": "...",
                    "http.request.header.content-length": ["8"],
                    "http.request.header.content-type": ["application/json"],
                    "http.request.header.host": "...",
                    "http.request.header.traceparent": "...",
                    "http.request.header.user-agent": "...",
                    "http.request.method": "POST",
                    "http.response.body.size": 18,
                    "http.response.header.content-length": ["18"],
                    "http.response.header.date": "...",
                    "http.response.header.server": "...",
                    "http.response.header.set-cookie": ["session=***; Path=/"],
                    "http.response.status_code": 200,
                    "server.address": "127.0.0.1",
                    "server.port": "...",
                    "toolbar.http.url.fingerprint": "...",
                    "url.full": "http://server/items?token=***",
                },
            }
        ]
    )
    assert SECRET not in "".join(span.to_json() for span in signals.exported())


def test_sync_httpx_streaming_redirects_and_errors(signals: Telemetry, server: Server) -> None:
    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        with client.stream("GET", f"{server.url}/chunked") as answer:
            assert b"".join(answer.iter_bytes()) == b"onetwo"
        assert client.get(f"{server.url}/redirect").json() == {"path": "/end"}
        with pytest.raises(httpx.HTTPStatusError):
            client.get(f"{server.url}/503").raise_for_status()
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"{server.url}/slow", timeout=0.05)
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get("http://127.0.0.1:1/")
    found = [
        (
            span["attributes"]["url.full"].replace(server.url, ""),
            span["attributes"].get("http.response.status_code"),
            span["attributes"].get("http.response.body.size"),
            span["attributes"].get("error.type"),
        )
        for span in calls(signals)
    ]
    assert found == [
        ("/chunked", 200, None, None),
        ("/redirect", 302, 0, None),
        ("/end", 200, 16, None),
        ("/503", 503, 16, "503"),
        ("/slow", None, None, "ReadTimeout"),
        ("http://127.0.0.1:1/", None, None, "ConnectError"),
    ]


async def test_aiohttp_errors(signals: Telemetry, server: Server) -> None:
    async def work() -> None:
        timeout = aiohttp.ClientTimeout(total=0.05)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://127.0.0.1:1/")
            with pytest.raises(asyncio.TimeoutError):
                await session.get(f"{server.url}/slow", timeout=timeout)
            async with session.get(f"{server.url}/redirect") as answer:
                assert answer.status == 200

    await during_a_request(work)
    refused, late, redirected = calls(signals)
    assert (refused["status"], late["status"]) == ("ERROR", "ERROR")
    assert redirected["attributes"]["http.response.body.size"] == 16


async def test_the_trace_goes_on(signals: Telemetry, server: Server) -> None:
    async def work() -> None:
        async with httpx.AsyncClient(trust_env=False) as client, aiohttp.ClientSession() as session:
            await client.get(server.url)
            async with session.get(server.url):
                pass

    await during_a_request(work)
    spans = {f"{span.context.span_id:016x}": span for span in signals.exported()}
    for sent in server.seen:
        found = {name.lower(): value for name, value in sent.items()}["traceparent"].split("-")
        assert spans[found[2]].kind.name == "CLIENT"
        assert f"{spans[found[2]].context.trace_id:032x}" == found[1]


async def test_requests_is_shown_with_its_place(signals: Telemetry, server: Server) -> None:
    async def work() -> int:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{server.url}/x?api_key={SECRET}").status_code

    assert await during_a_request(work) == 200
    (span,) = calls(signals)
    assert span["attributes"]["code.function.name"] == "tests.clients.test_http.work"
    assert SECRET not in repr(span)


async def test_the_same_url_again(signals: Telemetry, server: Server) -> None:
    """URLs that differ in a secret only are not the same."""

    async def work() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            for token in ("one", "one", "other"):
                await client.get(f"{server.url}/me?token={token}")
            for _ in range(2):
                await client.post(f"{server.url}/me")

    await during_a_request(work)
    (trace_id,) = [found.trace_id for found in signals.store.list(Query()).traces]
    trace = signals.store.get(trace_id)
    assert trace is not None
    (again,) = repeats.called_again(trace)
    assert [span.attributes["url.full"] for span in again.spans] == [
        f"{server.url}/me?token=***"
    ] * 2


async def test_headers_that_contrib_captures_are_masked(
    signals: Telemetry, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only ours: what contrib is told to capture by the environment, too."""
    prefix = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_"
    monkeypatch.setenv(f"{prefix}REQUEST", ".*")
    monkeypatch.setenv(f"{prefix}RESPONSE", ".*")
    HTTPXClientInstrumentor().uninstrument()
    HTTPXClientInstrumentor().instrument(tracer_provider=signals.provider)
    with httpx.Client(
        trust_env=False, headers={"X-Api-Key": SECRET}, cookies={"session": SECRET}
    ) as client:
        client.get(server.url)
    (span,) = calls(signals)
    assert span["attributes"]["http.request.header.x_api_key"] == ["***"]
    assert SECRET not in repr(span)


async def test_a_fault_in_any_hook_leaves_the_app_alone(
    signals: Telemetry,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(hooks, "_fingerprint", broken)
    monkeypatch.setattr(hooks, "_of_response", broken)

    async def work() -> list[int]:
        async with (
            httpx.AsyncClient(trust_env=False) as client,
            aiohttp.ClientSession() as session,
            session.get(server.url) as answer,
        ):
            return [(await client.get(server.url)).status_code, answer.status]

    assert await during_a_request(work) == [200, 200]
    assert len([each for each in caplog.records if each.name == "otel_toolbar"]) == 4


async def test_hooks_of_the_app_are_called_too(signals: Telemetry, server: Server) -> None:
    seen: list[str] = []

    async def theirs(_span: Any, request: Any) -> None:
        await asyncio.sleep(0)
        seen.append(f"async {request.method.decode()}")

    HTTPXClientInstrumentor().uninstrument()
    HTTPXClientInstrumentor().instrument(
        tracer_provider=signals.provider,
        request_hook=lambda _span, request: seen.append(request.method.decode()),
        async_request_hook=theirs,
        async_response_hook=lambda *_: seen.append(
            "not a coroutine function: contrib leaves it out"
        ),
    )
    with httpx.Client(trust_env=False) as client:
        client.get(server.url)
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(server.url)
    assert seen == ["GET", "async GET"]
    assert all("toolbar.http.url.fingerprint" in span["attributes"] for span in calls(signals))


async def test_switched_off(signals: Telemetry, server: Server) -> None:
    hooks.uninstall()
    async with httpx.AsyncClient(trust_env=False) as client, aiohttp.ClientSession() as session:
        await client.get(server.url)
        async with session.get(server.url):
            pass
    assert not any("toolbar.http.url.fingerprint" in span["attributes"] for span in calls(signals))


def test_an_unknown_version_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    from otel_toolbar.signals.core import contrib

    with caplog.at_level(logging.WARNING, "otel_toolbar"):
        contrib.when_instrumented("opentelemetry.instrumentation.httpx", "NoSuchInstrumentor", {})
    assert "not of a version that the toolbar knows" in caplog.text


def test_a_fault_while_instrumenting(
    signals: Telemetry, caplog: pytest.LogCaptureFixture, server: Server
) -> None:
    from otel_toolbar.signals.core import contrib

    def broken() -> None:
        raise RuntimeError("ours")

    contrib.when_instrumented(
        "opentelemetry.instrumentation.httpx", "HTTPXClientInstrumentor", {}, broken
    )
    HTTPXClientInstrumentor().uninstrument()
    HTTPXClientInstrumentor().instrument(tracer_provider=signals.provider)
    with httpx.Client(trust_env=False) as client:
        client.get(server.url)
    assert "toolbar.http.url.fingerprint" in calls(signals)[0]["attributes"]
    assert "hooks of opentelemetry.instrumentation.httpx failed" in caplog.text
    # What this test has put around it goes again.
    wrapper: Any = HTTPXClientInstrumentor.__dict__["_instrument"]
    HTTPXClientInstrumentor._instrument = wrapper.__wrapped__
