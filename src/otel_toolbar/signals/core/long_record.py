"""The record of what may last for days: it keeps the last messages and what belongs to their time.

Memory does not grow with what passes: the oldest message goes when a new one comes, and of what was
done below the messages that went nothing is kept either. Totals are the subject's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .record import Record

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from .light import LightSpan

T = TypeVar("T")

_NEW = 2**63

ROOM = 200
"""Spans, and log records, beyond which those of before the oldest message are let go."""


class LongRecord(Record):
    """See the module. `messages` are the last ones, at most `most`; `spans` all other light spans."""

    __slots__ = ("_full", "_has_dropped", "_running", "messages", "most")

    def __init__(self, limit: int, most: int) -> None:
        super().__init__(limit)
        self.most = most
        self.messages: deque[LightSpan] = deque()
        self._has_dropped = False
        self._running: list[LightSpan] = []
        """Messages older than the last ones that are still being handled."""
        self._full = [ROOM, ROOM, ROOM]
        """How many light spans, SDK spans and log records make it worth looking for old ones."""

    def keep_message(self, span: LightSpan) -> None:
        """Take the span of a message; the oldest goes, with the answers to it."""
        messages = self.messages
        if len(messages) >= self.most:
            oldest = messages.popleft()
            self._has_dropped = True
            if oldest.end_time is None:
                self._running = [each for each in self._running if each.end_time is None]
                self._running.append(oldest)
            else:
                while messages and getattr(messages[0], "above", None) is oldest:
                    messages.popleft()
        messages.append(span)

    def keep(self, span: LightSpan) -> None:
        if len(self.spans) >= self._full[0]:
            self.spans = self._with_room(self.spans, 0, _began)
        super().keep(span)

    def keep_back(self, span: ReadableSpan) -> tuple[()]:
        """Keep an SDK span as long as the messages of its time; nothing is handed on before the end."""
        if len(self.ended) >= self._full[1]:
            self.ended = self._with_room(self.ended, 1, _began)
        if len(self.ended) < self.limit:
            self.ended.append(span)
        else:
            self.dropped += 1
        return ()

    def keep_log(self, log: Any) -> None:
        if self.untold_logs is not None:
            self.untold_logs.append(log)
        super().keep_log(log)

    def has_room_for_log(self) -> bool:
        if len(self.logs) >= self._full[2]:
            self.logs = self._with_room(self.logs, 2, _logged)
        return super().has_room_for_log()

    def _with_room(self, items: list[T], which: int, when: Callable[[T], int]) -> list[T]:
        """What of `items` is kept: that of the last messages' time; when that is too much, the newer half."""
        since = self._since()
        kept = [each for each in items if when(each) >= since]
        if len(kept) >= self.limit:
            self.dropped += len(kept) - self.limit // 2
            kept = kept[len(kept) - self.limit // 2 :]
        self._full[which] = min(self.limit, max(ROOM, 2 * len(kept)))
        return kept

    def shown(self) -> list[LightSpan]:
        since = self._since()
        below = [each for each in self.spans if _began(each) >= since]
        return [*self.shown_messages(), *below]

    def shown_messages(self) -> list[LightSpan]:
        """The last messages, and older ones whose handling goes on. From any thread."""
        running = [each for each in self._running if each.end_time is None]
        return [*running, *_copied(self.messages)]

    def _since(self) -> int:
        """When the oldest of the last messages began; what ended before it has lost its message."""
        try:
            return self.messages[0].start_time if self._has_dropped else 0
        except IndexError:
            return 0


def _copied(messages: deque[LightSpan]) -> list[LightSpan]:
    """Copy what the event loop may be changing."""
    for _ in range(10):
        try:
            return list(messages)
        except RuntimeError:
            continue
    return []


def _began(span: LightSpan | ReadableSpan) -> int:
    """When it started; what still runs is as new as can be."""
    return _NEW if span.end_time is None else span.start_time or 0


def _logged(log: Any) -> int:
    record = getattr(log, "log_record", None)
    return (log.time if record is None else record.timestamp or record.observed_timestamp) or 0
