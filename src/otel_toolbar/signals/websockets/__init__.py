"""Websocket connections: their states, their messages, and what the handler did because of each."""

from __future__ import annotations

from .connection import Connection
from .connections import Connections

__all__ = ["Connection", "Connections"]
