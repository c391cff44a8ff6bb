"""A trace as bytes of some format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otel_toolbar.model import Trace

from . import har, otlp, speedscope, websockets_client


@dataclass(frozen=True)
class Format:
    """One way to write a trace down."""

    export: Callable[[Trace], bytes]
    media_type: str
    suffix: str


FORMATS = {
    "otlp": Format(otlp.export, "application/json", "otlp.json"),
    "har": Format(har.export, "application/json", "har"),
    "speedscope": Format(speedscope.export, "application/json", "speedscope.json"),
    "websockets-client": Format(websockets_client.export, "text/x-python", "client.py"),
}
"""By the name that `export?format=` has for it."""
