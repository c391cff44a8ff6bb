"""A log record as every door delivers it: the OpenTelemetry data model, plain and frozen."""

from __future__ import annotations

from dataclasses import dataclass, field

from .span import Attributes, Scope, Value


@dataclass(frozen=True)
class Log:
    """One log record or event. Ids are lower-case hex, times Unix time in ns."""

    trace_id: str
    """Empty for what belongs to no trace, such as the facts of a process."""
    span_id: str | None
    """The span that was current; None when only the trace is known."""
    time: int
    severity: int
    """OpenTelemetry's severity number: 1 to 24 (5 debug, 9 info, 13 warn, 17 error); 0: not said."""
    level: str
    """The source's own name of the severity, such as WARNING."""
    body: Value
    event: str = ""
    """Name of the event; empty for an ordinary log record."""
    attributes: Attributes = field(default_factory=dict[str, Value])
    scope: Scope = field(default_factory=lambda: Scope(""))
    resource: Attributes = field(default_factory=dict[str, Value])

    def text(self, key: str, default: str = "") -> str:
        """The attribute as text, `default` when it is absent."""
        value = self.attributes.get(key)
        return default if value is None else value if isinstance(value, str) else str(value)
