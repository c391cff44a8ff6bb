"""What a trace is. Standard library only, so that every door and every panel can share it."""

from __future__ import annotations

from .log import Log
from .span import Event, Kind, Link, Scope, Span, Status, Value
from .trace import Trace

__all__ = ["Event", "Kind", "Link", "Log", "Scope", "Span", "Status", "Trace", "Value"]
