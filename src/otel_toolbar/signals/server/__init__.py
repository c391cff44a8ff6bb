"""The request: its SERVER span and what went in and out of the app."""

from __future__ import annotations

from .exchange import Exchange
from .framework import Framework, detect
from .lifespan import Startup

__all__ = ["Exchange", "Framework", "Startup", "detect"]
