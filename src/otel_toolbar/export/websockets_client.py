"""A Python script that sends what the client of a websocket connection sent, in its rhythm.

It needs the library `websockets` (https://websockets.readthedocs.io), version 14 or later.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_toolbar import semconv
from otel_toolbar.insights import connection, reading
from otel_toolbar.model import Span, Trace

_OF_THE_HANDSHAKE = frozenset(
    {"host", "connection", "upgrade", "user-agent", "content-length", "accept-encoding"}
)
"""Headers that the library writes itself; so it does those that start with `sec-websocket-`."""

_SCRIPT = '''"""Sends what the client sent on {name}. Needs: pip install "websockets>=14"."""

import asyncio

from websockets.asyncio.client import connect

URL = {url}
SUBPROTOCOLS = {subprotocols}
HEADERS = {headers}
MESSAGES = [  # s to wait before it, and the message
{messages}]


async def show(connection):
    async for message in connection:
        print("<", message)


async def main():
    offered = SUBPROTOCOLS or None
    async with connect(URL, subprotocols=offered, additional_headers=HEADERS) as connection:
        showing = asyncio.create_task(show(connection))
        for pause, message in MESSAGES:
            await asyncio.sleep(pause)
            print(">", message)
            await connection.send(message)
        await asyncio.wait([showing], timeout=1)  # for the last answers


asyncio.run(main())
'''


def export(trace: Trace) -> bytes:
    """The script for the trace's first connection; without one it sends nothing."""
    span = next(filter(connection.is_connection, trace.spans), None)
    headers = reading.request_headers(span) if span is not None else {}
    script = _SCRIPT.format(
        name=_comment(span.name if span is not None else "a connection that is not here"),
        url=_literal(_url(span, headers)),
        subprotocols=_listed(connection.offered(span) if span is not None else ()),
        headers=_literal_headers(headers),
        messages=_messages(trace, span),
    )
    return script.encode("utf-8", "replace")


def _url(span: Span | None, headers: dict[str, tuple[str, ...]]) -> str:
    if span is None:
        return "ws://localhost:8000/"
    scheme = "wss" if reading.scheme(span) in ("wss", "https") else "ws"
    host = next(iter(headers.get("host", ())), "") or _address(span)
    query = reading.query_string(span)
    return f"{scheme}://{host}{reading.path(span) or '/'}" + (f"?{query}" if query else "")


def _address(span: Span) -> str:
    port = reading.integer(span, semconv.SERVER_PORT)
    host = reading.text(span, semconv.SERVER_ADDRESS) or "localhost"
    return host if port is None else f"{host}:{port}"


def _messages(trace: Trace, span: Span | None) -> str:
    lines: list[str] = []
    last = span.start if span is not None else trace.start
    for each in trace.spans:
        if not connection.is_message(each) or connection.direction(each) != "receive":
            continue
        line = _message(each)
        if line:
            lines.append(f"    ({max(0, each.start - last) / 1e9:.3f}, {line}\n")
            last = each.start
    return "".join(lines)


def _message(span: Span) -> str:
    """A message as the end of a line; empty for what is no message of the app's."""
    kind = reading.text(span, semconv.WEBSOCKET_MESSAGE_TYPE)
    if kind not in ("", "text", "binary"):
        return ""
    text = reading.text(span, semconv.WEBSOCKET_MESSAGE_TEXT)
    digits = reading.text(span, semconv.WEBSOCKET_MESSAGE_HEX).replace(" ", "")
    if semconv.WEBSOCKET_MESSAGE_TEXT in span.attributes:
        literal = _literal(text)
    elif digits and _is_hex(digits):
        literal = f"bytes.fromhex({_literal(digits)})"
    else:
        size = min(connection.size(span), 2**30)
        literal = f'b"\\0" * {size}' if kind == "binary" else f'"?" * {size}'
        return f"{literal}),  # its content was not recorded"
    cut = span.flag(semconv.WEBSOCKET_MESSAGE_TRUNCATED)
    return f"{literal})," + (f"  # cut: it had {connection.size(span)} bytes" if cut else "")


def _is_hex(digits: str) -> bool:
    try:
        bytes.fromhex(digits)
    except ValueError:
        return False
    return True


def _literal_headers(headers: dict[str, tuple[str, ...]]) -> str:
    pairs = [
        f"    ({_literal(name)}, {_literal(value)}),\n"
        for name, values in headers.items()
        for value in values
        if name not in _OF_THE_HANDSHAKE and not name.startswith("sec-websocket-")
    ]
    return f"[  # secrets are masked: fill them in\n{''.join(pairs)}]" if pairs else "[]"


def _listed(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(_literal, texts)) + "]"


def _literal(text: str) -> str:
    """Text as a Python literal that UTF-8 can hold."""
    return ascii(text) if not text.isprintable() else repr(text)


def _comment(text: str) -> str:
    """Text that can stand in the docstring."""
    return ascii(text.encode("utf-8", "replace").decode())[1:-1].replace('"', "'")
