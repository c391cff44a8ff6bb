"""Tells when a Quart handler takes a websocket message.

Quart receives in a task of its own and puts the messages into a queue, so that `receive` of ASGI does not
say which message the handler is at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from otel_toolbar import guard
from otel_toolbar.signals.core import imports
from otel_toolbar.signals.core import record as records

SUBJECT = "websocket"


class Connection(Protocol):
    """The subject `websocket` of a record."""

    def queues(self) -> None: ...
    def asks(self) -> None: ...
    def takes(self) -> None: ...


def install() -> None:
    """Put the hooks in as soon as Quart is imported."""
    lost = "what a handler does is not put under the message that it does it for"
    imports.wrap("quart.asgi", "ASGIWebsocketConnection.handle_messages", _reading, lost)
    imports.wrap("quart.wrappers.websocket", "Websocket.receive", _receiving, lost)


def _reading(real: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    _tell("queues")
    return real(*args, **kwargs)


async def _receiving(real: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    _tell("asks")
    message = await real(*args, **kwargs)
    _tell("takes")
    return message


def _tell(what: str) -> None:
    try:
        record = records.current()
        found = None if record is None else record.subjects.get(SUBJECT)
        if found is not None:
            getattr(cast(Connection, found), what)()
    except Exception:
        guard.failed("a websocket message of Quart")
