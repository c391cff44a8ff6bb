"""How many connections are watched in detail at a time."""

from __future__ import annotations

from otel_toolbar.settings import Settings


class Connections:
    """Counts the open connections of the process that have spans for their messages."""

    def __init__(self, options: Settings) -> None:
        self.options = options
        self._detailed = 0

    def enter(self) -> bool:
        """True when one more connection may be watched in detail; `leave` gives its place back."""
        if self._detailed >= self.options.websocket_max_connections:
            return False
        self._detailed += 1
        return True

    def leave(self) -> None:
        self._detailed -= 1
