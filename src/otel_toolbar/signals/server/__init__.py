"""The request: its SERVER span and what went in and out of the app."""

from __future__ import annotations

from otel_toolbar.signals.core.framework import Framework, detect

from .exchange import Exchange, is_watched, outside_of_requests
from .lifespan import Startup
from .websocket import WebsocketExchange

__all__ = [
    "Exchange",
    "Framework",
    "Startup",
    "WebsocketExchange",
    "detect",
    "is_watched",
    "outside_of_requests",
]
