"""The script that an exported connection becomes, run against a real server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_toolbar.export import FORMATS
from otel_toolbar.model import Trace
from tests import sockets

websockets = pytest.importorskip("websockets.asyncio.server", reason="websockets is missing")

CONTENT = {
    0: {"websocket.message.type": "text", "websocket.message.text": 'quo"tes \\ \n \u00e9 {x}'},
    2: {"websocket.message.type": "binary", "websocket.message.hex": "00 ff 10"},
    4: {"websocket.message.type": "binary", "websocket.message.size": 7},
    6: {"websocket.message.type": "ping", "websocket.message.size": 2},
    8: {"websocket.message.type": "text", "websocket.message.text": "cut",
        "websocket.message.truncated": True, "websocket.message.size": 90},
    10: {"websocket.message.type": "binary", "websocket.message.hex": "no hex"},
}  # fmt: skip


def script(trace: Trace) -> str:
    return FORMATS["websockets-client"].export(trace).decode()


async def test_it_sends_what_the_client_sent(tmp_path: Path) -> None:
    got: list[object] = []
    asked: list[object] = []

    async def handler(connection: Any) -> None:
        request = connection.request
        assert request is not None
        asked.extend([request.path, connection.subprotocol, request.headers["x-room"]])
        async for message in connection:
            got.append(message)
            await connection.send("thanks")

    async with websockets.serve(handler, "127.0.0.1", 0, subprotocols=["chat.v1"]) as server:
        port = server.sockets[0].getsockname()[1]
        host = (f"127.0.0.1:{port}",)
        headers = {"http.request.header.host": host, "http.request.header.x-room": ("blue",)}
        trace = sockets.connection(12, step=5, content=CONTENT)  # type: ignore[arg-type]
        trace.spans[0].attributes.update(headers)  # type: ignore[attr-defined]
        file = tmp_path / "client.py"
        file.write_text(script(trace), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(file),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, problems = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, problems) == (0, b"")
    assert asked == ["/chat/blue?since=12", "chat.v1", "blue"]
    assert got == ['quo"tes \\ \n \u00e9 {x}', b"\x00\xff\x10", b"\0" * 7, "cut", b""]
    assert out.count(b"thanks") == 5


def test_what_was_not_recorded_is_said() -> None:
    text = script(sockets.connection(12, content=CONTENT))  # type: ignore[arg-type]
    assert "# cut: it had 90 bytes" in text
    assert "# its content was not recorded" in text
    assert "secrets are masked" in text


@pytest.mark.parametrize("name", ['"""; import os', "\ud800", "a\nb", "\\"])
def test_no_name_breaks_out_of_the_script(name: str) -> None:
    trace = sockets.connection(1, websocket_x=name)
    from dataclasses import replace

    attributes = {**trace.spans[0].attributes, "url.path": name, "url.query": name}
    main = replace(trace.spans[0], name=name, attributes=attributes)
    compiled = compile(
        script(Trace.of(trace.trace_id, [main, *trace.spans[1:]], trace.now)), "x", "exec"
    )
    assert "os" not in compiled.co_names


def test_a_trace_without_a_connection_makes_a_script_that_sends_nothing() -> None:
    text = script(Trace.of("a" * 32, [], 0))
    compile(text, "x", "exec")
    assert "MESSAGES = [  # s to wait before it, and the message\n]" in text
