"""Websockets on real servers with a real client: the close codes, abrupt ends, large and many messages.

The table of close codes in docs/websockets.md is what stands here.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode

from .receiver import receiving
from .serving import NO_PROXY, Server, serving, wait_for

APPS = Path(__file__).parent / "apps"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}
SERVERS = ["uvicorn-websockets", "uvicorn-sansio", "uvicorn-wsproto", "hypercorn", "granian"]
Act = Callable[[ClientConnection], Awaitable[Any]]
Ended = tuple[Any, ...]
"""Code that the client saw (or `http` and the status), then code and initiator on the span."""


def client(running: Server, path: str, **more: Any) -> Any:
    return connect(running.url.replace("http", "ws") + path, proxy=None, max_size=None, **more)


def closes(code: int) -> Act:
    async def act(connection: ClientConnection) -> None:
        await connection.send("hi")
        await connection.recv()
        await connection.close(code)

    return act


async def closes_without_a_code(connection: ClientConnection) -> None:
    connection.protocol.send_close()
    connection.transport.write(b"".join(connection.protocol.data_to_send()))


async def resets(connection: ClientConnection) -> None:
    await connection.send("hi")
    await connection.recv()
    raw = connection.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


async def hangs_up(connection: ClientConnection) -> None:
    await connection.send("hi")
    await connection.recv()
    connection.transport.close()


async def sends_bad_text(connection: ClientConnection) -> None:
    connection.transport.write(Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True))


async def sends_a_bad_frame(connection: ClientConnection) -> None:
    connection.transport.write(b"\xf3\x80\x00\x00\x00\x00")


async def speaks(connection: ClientConnection) -> None:
    await connection.send("x")


async def listens(connection: ClientConnection) -> None: ...


ACTS: dict[str, Act] = {
    **{f"/echo/{code}": closes(code) for code in (1000, 1001, 1008, 1011, 3000, 4999)},
    "/echo/no-code": closes_without_a_code,
    "/echo/reset": resets,
    "/echo/hang-up": hangs_up,
    "/echo/bad-text": sends_bad_text,
    "/echo/bad-frame": sends_a_bad_frame,
    **{f"/close/{code}": listens for code in (1000, 1001, 1008, 1009, 1011, 1012, 3000, 4999)},
    "/boom": speaks,
    "/return": speaks,
    "/denied": listens,
    "/response": listens,
    "/early": listens,
    "/silent": listens,
}
GONE = "gone"
"""The client has gone itself."""

BY_CLIENT: dict[str, Ended] = {
    f"/echo/{code}": (code, code, "client") for code in (1000, 1001, 1008, 1011, 3000, 4999)
}
BY_APP: dict[str, Ended] = {
    f"/close/{code}": (code, code, "server")
    for code in (1000, 1001, 1008, 1009, 1011, 1012, 3000, 4999)
}
DENIED: dict[str, Ended] = {
    "/denied": (("http", 403), None, "server"),
    "/response": (("http", 401), None, "server"),
    "/early": (("http", 500), None, "error"),
    "/silent": (("http", 500), None, "server"),
}
UVICORN = BY_CLIENT | BY_APP | DENIED | {
    "/echo/no-code": (1005, 1005, "client"),
    "/boom": (1006, None, "error"),
    "/return": (1006, None, "server"),
}  # fmt: skip
EXPECTED: dict[str, dict[str, Ended]] = {
    "uvicorn-websockets": UVICORN
    | {
        "/echo/reset": (GONE, 1006, "network"),
        "/echo/hang-up": (GONE, 1006, "network"),
        "/echo/bad-text": (1007, 1006, "network"),
        "/echo/bad-frame": (1002, 1006, "network"),
    },
    "uvicorn-sansio": UVICORN
    | {
        "/echo/reset": (GONE, 1005, "network"),
        "/echo/hang-up": (GONE, 1005, "network"),
        "/echo/bad-text": (1007, 1007, "server"),
        "/echo/bad-frame": (1002, 1002, "server"),
    },
    "uvicorn-wsproto": UVICORN
    | {
        "/echo/reset": (GONE, 1005, "network"),
        "/echo/hang-up": (GONE, 1005, "network"),
        "/echo/bad-text": (1006, 1007, "server"),
        "/echo/bad-frame": (1006, 1002, "server"),
    },
    "hypercorn": {path: (seen, 1006, None) for path, (seen, *_) in BY_CLIENT.items()}
    | BY_APP
    | DENIED
    | {
        "/echo/no-code": (1005, 1006, None),
        "/echo/reset": (GONE, 1006, None),
        "/echo/hang-up": (GONE, 1006, None),
        "/echo/bad-text": (1006, 1006, None),
        "/echo/bad-frame": (1006, 1006, None),
        "/boom": (1011, None, "error"),
        "/return": (1011, None, "server"),
    },
    "granian": BY_CLIENT
    | BY_APP
    | DENIED
    | {
        "/echo/no-code": (1005, 1005, None),
        "/echo/reset": (GONE, 1005, None),
        "/echo/hang-up": (GONE, 1005, None),
        "/echo/bad-text": (1005, 1005, None),
        "/echo/bad-frame": (1005, 1005, None),
        "/boom": (1005, None, "error"),
        "/return": (1005, None, "server"),
        "/early": (("http", 403), None, "error"),
        "/silent": (("http", 403), None, "server"),
    },
}


@pytest.mark.parametrize("server", SERVERS)
def test_close_codes(server: str, tmp_path: Path) -> None:
    with serving(APPS, tmp_path, server=server, target="sockets:app", environment=OURS) as running:
        seen = asyncio.run(_all_ends(running))
        found = wait_for(lambda: _closed(running, len(ACTS)), 10, lambda: running.log)
    assert {path: (seen[path], *found[path]) for path in ACTS} == EXPECTED[server]


async def _all_ends(running: Server) -> dict[str, Any]:
    return {path: await _end(running, path, act) for path, act in ACTS.items()}


async def _end(running: Server, path: str, act: Act) -> Any:
    try:
        async with client(running, path) as connection:
            await act(connection)
            if act in (resets, hangs_up):
                return GONE
            try:
                while True:
                    await asyncio.wait_for(connection.recv(), 10)
            except websockets.ConnectionClosed:
                return int(connection.close_code or 0)
    except websockets.InvalidStatus as answer:
        return "http", answer.response.status_code


def _closed(running: Server, count: int) -> dict[str, Ended] | None:
    spans = connection_spans(running)
    if len(spans) < count or any(facts["websocket.state"] != "closed" for facts in spans):
        return None
    return {
        facts["url.path"]: (
            facts.get("websocket.close.code"),
            facts.get("websocket.close.initiator"),
        )
        for facts in spans
    }


def connection_spans(running: Server) -> list[dict[str, Any]]:
    """The attributes of the SERVER spans of all connections, of which each has one."""
    lines = [line for line in running.traces() if line["kind"] == "websocket"]
    return [server_facts(running, line["trace_id"]) for line in lines]


def server_facts(running: Server, trace_id: str) -> dict[str, Any]:
    exported = running.get(f"/_toolbar/api/traces/{trace_id}/export?format=otlp").json()
    (facts,) = [
        {each["key"]: _value(each["value"]) for each in span["attributes"]} | {"": span["name"]}
        for resource in exported["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        if span["kind"] == 2
    ]
    return facts


def _value(given: dict[str, Any]) -> Any:
    (kind, value), *_ = given.items()
    return int(value) if kind == "intValue" else value


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("starlette", "/rooms/{name}"),
        ("fastapi", "/rooms/{name}"),
        ("litestar", "/rooms/{name}"),
        ("litestar-plugin", "/rooms/{name}"),
        ("quart", "/rooms/<name>"),
        ("contrib", "websocket"),
    ],
)
def test_one_server_span_in_every_framework(kind: str, name: str, tmp_path: Path) -> None:
    environment = OURS | {"ROOMS": kind}
    with serving(APPS, tmp_path, target="rooms:app", environment=environment) as running:

        async def talk() -> None:
            async with client(running, "/rooms/garden") as connection:
                for text in ("one", "two"):
                    await connection.send(text)
                    assert await connection.recv() == text
                (facts,) = connection_spans(running)
                assert facts["websocket.state"] == "open"
                assert facts["websocket.messages.received"] == 2

        asyncio.run(talk())
        wait_for(lambda: connection_spans(running)[0]["websocket.state"] == "closed")
        (facts,) = connection_spans(running)
        assert facts[""] == name
        assert (facts["websocket.messages.received"], facts["websocket.messages.sent"]) == (2, 2)
        assert facts["websocket.close.code"] == 1000
        assert "otel-toolbar" not in running.log


@pytest.mark.parametrize("server", SERVERS)
def test_many_and_large_messages_come_back_in_order(server: str, tmp_path: Path) -> None:
    with serving(APPS, tmp_path, server=server, target="sockets:app", environment=OURS) as running:

        async def talk() -> None:
            async with client(running, "/echo", compression=None) as connection:
                large = ["ä" * 2**19, b"\x00\xff" * 2**19]
                for message in large:
                    await connection.send(message)
                    assert await connection.recv() == message

                async def send() -> None:
                    for number in range(10_000):
                        await connection.send(str(number))

                sending = asyncio.create_task(send())
                for number in range(10_000):
                    if number == 5000:
                        await asyncio.sleep(0.5)  # who does not read holds the app up, not us
                    assert await connection.recv() == str(number)
                await sending

        asyncio.run(talk())
        wait_for(lambda: connection_spans(running)[0]["websocket.state"] == "closed")
        (facts,) = connection_spans(running)
        assert facts["websocket.messages.received"] == facts["websocket.messages.sent"] == 10_002
        text = sum(len(str(number)) for number in range(10_000))
        assert facts["websocket.bytes.received"] == text + 2 * 2**20


@pytest.mark.parametrize("server", SERVERS)
def test_a_half_closed_connection_ends_as_without_us(server: str, tmp_path: Path) -> None:
    """The client has nothing more to say, and goes on listening."""
    messages = [str(number) for number in range(100)]

    async def talk(running: Server) -> tuple[list[Any], int | None]:
        async with client(running, "/echo") as connection:
            for message in messages:
                await connection.send(message)
            echoed = [await connection.recv() for _ in messages]
            connection.transport.write_eof()
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(connection.recv(), 30)
            return echoed, closed.value.rcvd.code if closed.value.rcvd else None

    def ended(instrument: bool) -> tuple[list[Any], int | None]:
        with serving(
            APPS,
            tmp_path,
            server=server,
            target="sockets:app",
            environment=OURS,
            instrument=instrument,
        ) as running:
            found = asyncio.run(talk(running))
            if instrument:
                wait_for(lambda: connection_spans(running)[0]["websocket.state"] == "closed")
            return found

    with_us, without_us = ended(instrument=True), ended(instrument=False)
    assert with_us == without_us
    assert with_us[0] == messages


@pytest.mark.parametrize("server", ["uvicorn-sansio", "uvicorn-websockets", "hypercorn"])
def test_sigterm_with_an_open_connection_ends_promptly_and_loses_nothing(
    server: str, tmp_path: Path
) -> None:
    with receiving() as receiver:
        environment = OURS | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with serving(
            APPS, tmp_path, server=server, target="sockets:app", environment=environment
        ) as running:

            async def talk() -> float:
                async with client(running, "/echo") as connection:
                    await connection.send("hello")
                    await connection.recv()
                    started = time.monotonic()
                    await asyncio.to_thread(running.stop, signal.SIGTERM)
                    return time.monotonic() - started

            assert asyncio.run(talk()) < 12
        spans = receiver.spans
        names = [span["name"] for span in spans]
        assert names.count("websocket send") >= 1
        assert names.count("websocket receive") >= 1
        assert any(span["name"] == "websocket" for span in spans), running.log


def test_messages_reach_an_exporter_while_the_connection_is_open(tmp_path: Path) -> None:
    with receiving() as receiver:
        environment = OURS | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        with serving(APPS, tmp_path, target="sockets:app", environment=environment) as running:

            async def talk() -> None:
                async with client(running, "/echo") as connection:
                    await connection.send('{"password": "hunter2"}')
                    await connection.recv()
                    await asyncio.to_thread(
                        wait_for,
                        lambda: "websocket send" in [span["name"] for span in receiver.spans],
                    )
                    assert "hunter2" not in str(receiver.spans)

            asyncio.run(talk())


def test_events_are_counted_while_they_come(tmp_path: Path) -> None:
    with serving(APPS, tmp_path, target="sockets:app", environment=OURS) as running:
        with httpx.stream("GET", running.url + "/events", **NO_PROXY) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "data: 0", "the first is not held back"
            while next(lines) != "data: 4":
                pass
            facts = server_facts(running, answer.headers["x-trace-id"])
            assert facts["toolbar.response.events"] >= 3
            assert facts["toolbar.response.end"] == "running"
        wait_for(
            lambda: (
                server_facts(running, answer.headers["x-trace-id"])["toolbar.response.end"]
                == "disconnect"
            ),
            10,
        )
