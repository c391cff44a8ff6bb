"""OpenTelemetry distribution for async Python with a debug toolbar in it."""

from __future__ import annotations

__version__ = "0.1.0"
