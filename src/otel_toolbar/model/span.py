"""A span as every door delivers it: the OpenTelemetry data model, plain and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias, Union

Value: TypeAlias = Union[
    str, bool, int, float, bytes, None, "tuple[Value, ...]", "dict[str, Value]"
]
"""An attribute value: OpenTelemetry's AnyValue, arrays as tuples."""

Attributes: TypeAlias = Mapping[str, Value]


class Kind(str, Enum):
    """Span kind, named as in OpenTelemetry."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Status(str, Enum):
    """Span status code."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


@dataclass(frozen=True)
class Event:
    """Something that happened during a span, such as an exception."""

    name: str
    time: int
    """Unix time in ns."""
    attributes: Attributes


@dataclass(frozen=True)
class Link:
    """A reference to a span of this or another trace."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True)
class Scope:
    """The instrumentation that made the span."""

    name: str
    version: str = ""


@dataclass(frozen=True)
class Span:
    """One operation. Ids are lower-case hex, times Unix time in ns."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: Kind
    start: int
    end: int | None
    """None while the span runs."""
    attributes: Attributes = field(default_factory=dict[str, Value])
    status: Status = Status.UNSET
    status_message: str = ""
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    scope: Scope = Scope("")
    resource: Attributes = field(default_factory=dict[str, Value])
    remote_parent: bool = False
    """The parent is a span of another process, so this span is the local root."""
    dropped: int = 0
    """Attributes, events and links that the SDK did not keep."""

    @property
    def running(self) -> bool:
        return self.end is None

    def duration_at(self, now: int) -> int:
        """Duration in ns; of a running span, until `now` (Unix time in ns)."""
        return max(0, (now if self.end is None else self.end) - self.start)

    def text(self, key: str, default: str = "") -> str:
        """The attribute as text, `default` when it is absent."""
        value = self.attributes.get(key)
        return default if value is None else value if isinstance(value, str) else str(value)

    def number(self, key: str) -> float | None:
        """The attribute as a number, None when it is absent or is none."""
        value = self.attributes.get(key)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def integer(self, key: str) -> int | None:
        """The attribute as an integer, None when it is absent or is none."""
        number = self.number(key)
        return None if number is None or number != number or abs(number) > 2**63 else int(number)

    def flag(self, key: str) -> bool:
        """True when the attribute is the boolean True."""
        return self.attributes.get(key) is True

    def below(self, prefix: str) -> dict[str, Value]:
        """The attributes under `prefix`, keys without it."""
        cut = len(prefix)
        return {
            key[cut:]: value for key, value in self.attributes.items() if key.startswith(prefix)
        }
