"""A response whose body comes in parts: when, how many, and how it ended. Nothing of it is held back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.util.types import AttributeValue

from otel_toolbar import semconv

from . import attributes

_FIELD = re.compile(rb"^(?:data|event|id|retry)[:\r\n]", re.MULTILINE)
_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r")
MAX_EVENT = 65_536
"""Bytes of a part that are searched for events; the rest of a longer one is not looked at."""


class Stream:
    """See the module. `started` is the request's start, Unix time in ns."""

    def __init__(self, started: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        kind = attributes.header(headers, b"content-type") or ""
        self._of_events = kind.strip().lower().startswith("text/event-stream")
        self._started = started
        self._last = 0
        self._gaps = 0
        self._longest = 0
        self._between = 0
        self._events = 0
        self._open = False
        """A line of an event has come, and not yet the blank line that ends it."""
        self._tail = b""
        self._end = "running"

    def part(self, message: Mapping[str, Any]) -> None:
        """A part of the body is being sent."""
        body = message.get("body") or b""
        if not body:
            return
        now = time.time_ns()
        if self._last:
            gap = max(0, now - self._last)
            self._gaps += 1
            self._between += gap
            self._longest = max(self._longest, gap)
        self._last = now
        if self._of_events:
            self._count(bytes(body[:MAX_EVENT]))

    def ended(self, how: str) -> None:
        """The first end counts: `complete`, `disconnect`, `error` or `unfinished`."""
        if self._end == "running":
            self._end = how

    def facts(self) -> dict[str, AttributeValue]:
        """What the SERVER span says of it by now. From any thread."""
        facts: dict[str, AttributeValue] = {
            semconv.RESPONSE_STREAMED: True,
            semconv.STREAM_END: self._end,
            semconv.STREAM_LAST_BYTE: max(0, self._last - self._started) / 1e9,
        }
        if self._gaps:
            facts[semconv.STREAM_GAP_MAX] = self._longest / 1e9
            facts[semconv.STREAM_GAP_MEAN] = self._between / self._gaps / 1e9
        if self._of_events:
            facts[semconv.STREAM_EVENTS] = self._events
        return facts

    def _count(self, body: bytes) -> None:
        """Count the events that a part ends. A blank line may be split between two parts."""
        body = self._tail + body
        *blocks, rest = _BLANK.split(body)
        for block in blocks:
            if self._open or _FIELD.search(block + b"\n"):
                self._events += 1
            self._open = False
        # Of what is left only the last bytes are kept: whether it is an event is known already.
        self._open = self._open or _FIELD.search(rest) is not None
        self._tail = rest[-8:] if not self._open else rest[-3:]
